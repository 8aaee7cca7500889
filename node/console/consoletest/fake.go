// Package consoletest has a rack that exists nowhere, for tests of the console, of
// its client and of the commands, and to look at the page.
package consoletest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"bramble/gpio"
	"bramble/node/console"
)

// Fake is a rack that exists nowhere: a console.RackSource, a console.Control and a
// console.Lab. Its figures change only with Tick, so that a test sees what it
// expects.
type Fake struct {
	console.Broadcaster

	mu    sync.Mutex // guards what follows
	now   time.Time
	ticks int
	rack  []fakeBoard
	calls []string // "kill board-3", in order
}

type fakeBoard struct {
	name   string
	state  string
	faults gpio.FaultSet
	locate bool
	load   float64
	arcs   []float64 // where its points on the ring are, in turns
}

// fakePoints is the number of points on the ring of each board of a Fake;
// fakeCapacity is the number of hits per second that one of its boards can serve.
const (
	fakePoints   = 24
	fakeCapacity = 400
)

// NewFake makes a rack of boards "board-1" to "board-n" that all serve.
func NewFake(n int) *Fake {
	f := &Fake{now: time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)}
	random := rand.New(rand.NewPCG(29, 2))
	for i := range n {
		b := fakeBoard{name: fmt.Sprintf("board-%d", i+1), state: "serving"}
		for range fakePoints {
			b.arcs = append(b.arcs, random.Float64())
		}
		f.rack = append(f.rack, b)
	}
	f.Tick()
	return f
}

// Tick moves the rack's clock by a second and its figures with it.
func (f *Fake) Tick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(time.Second)
	f.ticks++
	for i := range f.rack {
		t := float64(f.ticks)
		f.rack[i].load = 0.45 + 0.3*math.Sin(t/9) + 0.2*math.Sin(t/4+float64(i)*2)
	}
}

// Set puts a board into a state, with faults, and publishes an event. It ignores
// unknown boards.
func (f *Fake) Set(board, state string, faults ...gpio.FaultCode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rack {
		if f.rack[i].name == board {
			f.rack[i].state, f.rack[i].faults = state, gpio.NewFaultSet(faults...)
			f.Publish(console.Event{At: f.now, Kind: "state", Board: board, Text: board + " is now " + state})
		}
	}
}

// Rename gives a board another name.
func (f *Fake) Rename(board, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rack {
		if f.rack[i].name == board {
			f.rack[i].name = name
		}
	}
}

// Calls returns the calls so far, in order: "kill board-3",
// "drain board-1", "undrain board-1", "purge tag news".
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// RackView implements console.RackSource.
func (f *Fake) RackView() console.RackView {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := console.RackView{At: f.now, Version: "fake", Observer: "lab", Ring: f.buildRing()}
	for i, fb := range f.rack {
		b := console.BoardView{
			Name: fb.name, State: fb.state, Faults: fb.faults.Words(),
			HTTPURL:    fmt.Sprintf("http://127.0.0.1:%d", 8081+i),
			ConsoleURL: fmt.Sprintf("http://127.0.0.1:%d", 9081+i),
		}
		for _, a := range s.Ring {
			if a.Board == fb.name {
				b.RingShare += a.To - a.From
			}
		}
		in := gpio.Input{Faults: fb.faults, Locate: fb.locate}
		if isRunning(fb.state) {
			in.Health = parseHealth(fb.state)
			b.PID = 4000 + i
			b.Vitals = console.VitalsView{MemoryBytes: 24e6 + int64(i)*1.1e6, CacheBytes: min(31e6+int64(i)*2e6, 64e6), CacheBudgetBytes: 64e6,
				UptimeSeconds: int64(f.ticks)}
		}
		if fb.state == "serving" || fb.state == "draining" {
			in.Load = fb.load
			b.Vitals.ResponsesPerSecond = math.Round(fb.load * fakeCapacity)
			b.Vitals.HitRatio, b.Vitals.CPUCores = 0.97, fb.load*0.8
			b.Vitals.Connections = int64(fb.load * 300)
		}
		b.Panel = gpio.Render(in, gpio.DefaultLamps)
		s.Boards = append(s.Boards, b)
	}
	slices.SortFunc(s.Boards, func(a, b console.BoardView) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// isRunning reports whether a board in this state answers.
func isRunning(state string) bool {
	return state != "dead" && state != "stopped" && state != "left" && state != "paused"
}

// parseHealth converts the name of a state.
func parseHealth(state string) gpio.Health {
	for h := gpio.Stopped; h <= gpio.Drained; h++ {
		if h.String() == state {
			return h
		}
	}
	return gpio.Stopped
}

// buildRing returns the arcs of the boards that serve; mu is held.
func (f *Fake) buildRing() []console.RingArc {
	type point struct {
		at    float64
		board string
	}
	var points []point
	for _, b := range f.rack {
		if b.state == "serving" {
			for _, at := range b.arcs {
				points = append(points, point{at, b.name})
			}
		}
	}
	if len(points) == 0 {
		return nil
	}
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	var arcs []console.RingArc
	add := func(from, to float64, board string) {
		if n := len(arcs); n > 0 && arcs[n-1].Board == board {
			arcs[n-1].To = to
			return
		}
		arcs = append(arcs, console.RingArc{From: from, To: to, Board: board})
	}
	from := 0.0
	for _, p := range points {
		add(from, p.at, p.board)
		from = p.at
	}
	add(from, 1, points[0].board)
	return arcs
}

// setState records a call and puts a board into a state.
func (f *Fake) setState(call, board, state, kind string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call+" "+board)
	for i := range f.rack {
		if f.rack[i].name == board {
			f.rack[i].state = state
			f.Publish(console.Event{At: f.now, Kind: kind, Board: board, Text: board + " is now " + state})
			return nil
		}
	}
	return fmt.Errorf("%w: this rack has no board %q", console.ErrUnknownBoard, board)
}

// Purge implements console.Control: boards that serve apply it, the others are
// absent.
func (f *Fake) Purge(_ context.Context, p console.PurgeRequest) (console.PurgeResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what := "all"
	switch {
	case p.URL != "":
		what = "url " + p.URL
	case p.Tag != "":
		what = "tag " + p.Tag
	}
	f.calls = append(f.calls, "purge "+what)
	var res console.PurgeResult
	for _, b := range f.rack {
		if b.state == "serving" {
			res.Applied = append(res.Applied, b.name)
		} else {
			res.Absent = append(res.Absent, b.name)
		}
	}
	f.Publish(console.Event{At: f.now, Kind: "purge", Text: "purged " + what})
	return res, nil
}

// Drain implements console.Control.
func (f *Fake) Drain(_ context.Context, board string, undo bool) error {
	if undo {
		return f.setState("undrain", board, "serving", "state")
	}
	return f.setState("drain", board, "drained", "state")
}

// Locate implements console.Control.
func (f *Fake) Locate(_ context.Context, board string, undo bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rack {
		if f.rack[i].name == board {
			f.rack[i].locate = !undo
			f.calls = append(f.calls, "locate "+board)
			return nil
		}
	}
	return fmt.Errorf("%w: this rack has no board %q", console.ErrUnknownBoard, board)
}

// Do implements console.Lab.
func (f *Fake) Do(_ context.Context, board, action string) error {
	switch action {
	case "stop":
		return f.setState(action, board, "stopped", "left")
	case "kill":
		return f.setState(action, board, "dead", "died")
	case "pause":
		return f.setState(action, board, "paused", "lab")
	case "revive":
		return f.setState(action, board, "serving", "returned")
	}
	return fmt.Errorf("%w: a lab cannot %s a board", console.ErrBadRequest, action)
}
