// Package consoletest has a rack that exists nowhere, for tests of the console, of
// its client and of the commands, and to look at the page.
package consoletest

import (
	"context"
	"fmt"
	"math"
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
}

// fakePoints is the number of arcs on the ring of each board of a Fake;
// fakeCapacity is the number of hits per second that one of its boards can serve.
const (
	fakePoints   = 24
	fakeCapacity = 400
)

// NewFake makes a rack of boards "board-1" to "board-n" that all serve.
func NewFake(n int) *Fake {
	f := &Fake{now: time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)}
	for i := range n {
		f.rack = append(f.rack, fakeBoard{name: fmt.Sprintf("board-%d", i+1), state: "serving"})
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

// changeBoard notes a call, if there is one, and changes a board with the lock held.
func (f *Fake) changeBoard(board, call string, change func(*fakeBoard)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if call != "" {
		f.calls = append(f.calls, call+" "+board)
	}
	at := slices.IndexFunc(f.rack, func(b fakeBoard) bool { return b.name == board })
	if at < 0 {
		return fmt.Errorf("%w: this rack has no board %q", console.ErrUnknownBoard, board)
	}
	change(&f.rack[at])
	return nil
}

// Set puts a board into a state, with faults, and publishes an event. It ignores
// unknown boards.
func (f *Fake) Set(board, state string, faults ...gpio.FaultCode) {
	_ = f.changeBoard(board, "", func(b *fakeBoard) {
		b.state, b.faults = state, gpio.NewFaultSet(faults...)
		f.Publish(console.Event{At: f.now, Kind: "state", Board: board, Text: board + " is now " + state})
	})
}

// Rename gives a board another name.
func (f *Fake) Rename(board, name string) {
	_ = f.changeBoard(board, "", func(b *fakeBoard) { b.name = name })
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
	healths := map[string]gpio.Health{ // by the states in which a board answers
		"starting": gpio.Starting, "joining": gpio.Joining, "serving": gpio.Serving, "draining": gpio.Draining, "drained": gpio.Drained,
	}
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
		if health, isRunning := healths[fb.state]; isRunning {
			in.Health = health
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

// buildRing returns the arcs of the boards that serve, in turn around the ring; mu is held.
func (f *Fake) buildRing() (arcs []console.RingArc) {
	var serving []string
	for _, b := range f.rack {
		if b.state == "serving" {
			serving = append(serving, b.name)
		}
	}
	count := fakePoints * len(serving)
	if len(serving) == 1 {
		count = 1
	}
	for i := range count {
		arcs = append(arcs, console.RingArc{From: float64(i) / float64(count), To: float64(i+1) / float64(count), Board: serving[i%len(serving)]})
	}
	return arcs
}

// setState records a call and puts a board into a state.
func (f *Fake) setState(call, board, state, kind string) error {
	return f.changeBoard(board, call, func(b *fakeBoard) {
		b.state = state
		f.Publish(console.Event{At: f.now, Kind: kind, Board: board, Text: board + " is now " + state})
	})
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
	return f.changeBoard(board, "", func(b *fakeBoard) {
		b.locate = !undo
		f.calls = append(f.calls, "locate "+board)
	})
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
