package lab

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bramble/gpio"
	"bramble/node/console"
	"bramble/node/console/client"
)

// fakeConsole is a board's console. Its stream sends its messages and then is
// silent until it ends.
type fakeConsole struct {
	name     string
	down     bool // nothing listens
	refuse   error
	messages []client.Message

	mu    sync.Mutex // guards asked
	asked []string
}

func (f *fakeConsole) note(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
	if f.down {
		return &client.Error{Text: "nobody there", Kind: client.ErrUnreachable}
	}
	return f.refuse
}

func (f *fakeConsole) Ready(context.Context) (bool, string, error) { return true, "", nil }

func (f *fakeConsole) Purge(context.Context, console.PurgeRequest) (console.PurgeResult, error) {
	return console.PurgeResult{Applied: []string{f.name}}, f.note("purge")
}

func (f *fakeConsole) Drain(_ context.Context, board string, _ bool) error {
	return f.note("drain " + board)
}

func (f *fakeConsole) Locate(_ context.Context, board string, _ bool) error {
	return f.note("locate " + board)
}

func (f *fakeConsole) Follow(ctx context.Context, silence time.Duration, got func(client.Message)) error {
	if err := f.note("follow"); err != nil {
		return err
	}
	for _, m := range f.messages {
		got(m)
	}
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeConsole) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

// known returns the lab's statuses of boards in these states.
func known(t *testing.T, since time.Time, states ...runState) []boardStatus {
	t.Helper()
	p, err := NewPlan(len(states), "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	var list []boardStatus
	for i, s := range states {
		one := boardStatus{addrs: p.Boards[i], state: s, since: since}
		if s == running || s == paused {
			one.pid = 100 + i
		}
		list = append(list, one)
	}
	return list
}

func TestMergeReport(t *testing.T) {
	now := time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)
	vitals := console.VitalsView{ResponsesPerSecond: 7, MemoryBytes: 1}
	report := console.RackView{
		At: now.Add(-time.Second), Observer: "board-1", Notices: []string{"Look here."},
		Ring: []console.RingArc{{From: 0, To: 1, Board: "board-1"}},
		Boards: []console.BoardView{
			{Name: "board-1", State: "serving", Self: true, Vitals: vitals, HTTPURL: "http://elsewhere"},
			{Name: "board-2", State: "serving", Vitals: vitals, RingShare: 0.5, Faults: []string{"peer lost"}},
			{Name: "board-3", State: "dead"},
			{Name: "board-4", State: "dead"},
			{Name: "board-6", State: "serving", Vitals: vitals},
			{Name: "stranger", State: "serving"},
		},
	}
	list := known(t, now.Add(-time.Minute), running, paused, running, running, running, dead)
	list[3].since = now.Add(-time.Second) // just revived: the others have not noticed
	got := mergeReport(report, true, list, "v1", now)
	want := []struct {
		name, state string
		pid         int
		hits        float64
		lamp        gpio.Health
	}{
		{"board-1", "serving", 100, 7, gpio.Stopped},
		{"board-2", "paused", 101, 0, gpio.Stopped},
		{"board-3", "dead", 102, 0, gpio.Stopped},     // it runs, but its rack has given it up
		{"board-4", "starting", 103, 0, gpio.Stopped}, // revived
		{"board-5", "starting", 104, 0, gpio.Stopped}, // nobody has heard of it yet
		{"board-6", "dead", 0, 0, gpio.Stopped},       // killed, and the others have not noticed
		{"stranger", "serving", 0, 0, gpio.Stopped},
	}
	if len(got.Boards) != len(want) {
		t.Fatalf("there are %d boards, want %d", len(got.Boards), len(want))
	}
	for i, w := range want {
		b := got.Boards[i]
		if b.Name != w.name || b.State != w.state || b.PID != w.pid || b.Vitals.ResponsesPerSecond != w.hits || b.Self {
			t.Errorf("board %d is %+v, want %+v", i, b, w)
		}
	}
	if b := got.Boards[1]; b.Faults != nil || b.RingShare != 0.5 || b.Panel.Health.Name != "dark" {
		t.Errorf("a paused board shows %+v", b)
	}
	if b := got.Boards[0]; b.HTTPURL != "http://127.0.0.1:9001" || b.ConsoleURL != "http://127.0.0.1:9007" {
		t.Errorf("the lab's own addresses do not count: %+v", b)
	}
	if b := got.Boards[4]; b.Panel.Summary != "starting" {
		t.Errorf("a board that starts shows %q", b.Panel.Summary)
	}
	if !got.CanLab || !got.CanSteer || got.Observer != "board-1" || got.Version != "v1" || len(got.Ring) != 1 ||
		!reflect.DeepEqual(got.Notices, report.Notices) || !got.At.Equal(report.At) {
		t.Errorf("the view is %+v", got)
	}

	got = mergeReport(report, false, known(t, now, dead, stopped), "v1", now)
	if got.Observer != "lab" || got.Ring != nil || len(got.Boards) != 2 || got.Boards[1].State != "stopped" ||
		!reflect.DeepEqual(got.Notices, []string{"No board of the lab runs: revive one."}) {
		t.Errorf("without a running board: %+v", got)
	}
	got = mergeReport(report, false, known(t, now, running), "v1", now)
	if len(got.Notices) != 1 || !strings.Contains(got.Notices[0], "has reported the state") {
		t.Errorf("before the first report: %q", got.Notices)
	}
}

func TestSourceFollowsTheNextBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		event := func(at time.Duration, text string) client.Message {
			return client.Message{Event: &console.Event{At: start.Add(at), Text: text}}
		}
		rack := func(by string) client.Message {
			return client.Message{Rack: &console.RackView{Observer: by}}
		}
		one := &fakeConsole{name: "board-1", messages: []client.Message{rack("board-1"), event(0, "all told"), event(time.Millisecond, "news")}}
		two := &fakeConsole{name: "board-2", down: true}
		three := &fakeConsole{name: "board-3", messages: []client.Message{
			rack("board-3"), event(-time.Second, "known already"), event(time.Hour, "more news")}}
		states := known(t, start, running, running, running)
		v := &labSource{
			version: "v1", events: new(console.Broadcaster), statuses: func() []boardStatus { return states },
			consoles: map[string]boardConsole{"board-1": one, "board-2": two, "board-3": three},
		}
		heard, unsubscribe := v.Subscribe()
		defer unsubscribe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); v.run(ctx) }()
		synctest.Wait()
		if s := v.RackView(); s.Observer != "board-1" {
			t.Errorf("the first observer is %s", s.Observer)
		}
		// board-1 is killed: the lab stops following it at once. board-2 does not
		// answer, board-3 does.
		states = known(t, start, dead, running, running)
		v.leaveIfStopped("board-1")
		time.Sleep(3 * retryInterval)
		synctest.Wait()
		if s := v.RackView(); s.Observer != "board-3" || s.Boards[0].State != "dead" {
			t.Errorf("the next observer is %s, and board-1 is %s", s.Observer, s.Boards[0].State)
		}
		var texts []string
		for len(heard) > 0 {
			texts = append(texts, (<-heard).Text)
		}
		if want := []string{"all told", "news", "more news"}; !reflect.DeepEqual(texts, want) {
			t.Errorf("the events are %q, want %q", texts, want)
		}
		// An action goes to the board that is followed; a board that does not answer
		// is skipped.
		if res, err := v.Purge(ctx, console.PurgeRequest{All: true}); err != nil || res.Applied[0] != "board-3" {
			t.Errorf("a purge: %+v, %v", res, err)
		}
		three.refuse = &client.Error{Text: "no such board", Kind: console.ErrUnknownBoard}
		if err := v.Drain(ctx, "board-9", false); !errors.Is(err, console.ErrUnknownBoard) {
			t.Errorf("a refusal: %v", err)
		}
		if got := two.calls(); len(got) != 1 {
			t.Errorf("board-2 was called %q, though board-3 had answered", got)
		}
		three.refuse, three.down = nil, true
		if _, err := v.Purge(ctx, console.PurgeRequest{All: true}); !errors.Is(err, console.ErrUnavailable) {
			t.Errorf("a purge without a board that answers: %v", err)
		}
		states = known(t, start, dead, dead, dead)
		v.leaveIfStopped("board-2")
		v.leaveIfStopped("board-3")
		if _, err := v.Purge(ctx, console.PurgeRequest{All: true}); err == nil || err.Error() != "no board of the lab runs: revive one" {
			t.Errorf("a purge without boards: %v", err)
		}
		time.Sleep(maxViewAge)
		if s := v.RackView(); s.Observer != "lab" || s.Boards[2].State != "dead" {
			t.Errorf("without boards the rack is %+v", s)
		}
		cancel()
		<-done
	})
}

func TestPausedBoardIsNotShownAsGone(t *testing.T) {
	for state, want := range map[runState]string{paused: "dark: the board is paused", stopped: "dark: nothing runs here"} {
		known := []boardStatus{{addrs: BoardAddrs{Name: "board-1"}, state: state}}
		if got := mergeReport(console.RackView{}, false, known, "v", time.Now()).Boards[0].Panel.Summary; got != want {
			t.Errorf("%s: the panel shows %q, not %q", state, got, want)
		}
	}
}
