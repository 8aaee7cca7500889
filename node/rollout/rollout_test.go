package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fakeRack is a rack of fake boards, and what was done to it, in order.
type fakeRack struct {
	boards []*fakeBoard
	did    []string
}

// fakeBoard drains in 3 s and is back in 30 s, unless a test changes that.
type fakeBoard struct {
	rack *fakeRack
	name string
	s    State

	drainedAt, backAt time.Time // zero: it does neither
	next              string    // the version that it comes back with
	dead              bool      // it does not come back
	clings            bool      // its clients do not leave
	stateErr          error
	sendErr           error
	commitErr         error
}

func newRack(version string, names ...string) *fakeRack {
	r := &fakeRack{}
	for i, name := range names {
		r.boards = append(r.boards, &fakeBoard{rack: r, name: name, next: "new", s: State{Version: version, Ready: true, Leading: i == 0}})
	}
	return r
}

func (f *fakeBoard) note(what string) { f.rack.did = append(f.rack.did, f.name+" "+what) }

func (f *fakeBoard) Name() string { return f.name }

func (f *fakeBoard) State(context.Context) (State, error) {
	now := time.Now()
	if !f.backAt.IsZero() {
		if now.Before(f.backAt) || f.dead {
			return State{}, errors.New("no answer")
		}
		f.backAt = time.Time{}
		f.s = State{Version: f.next, Trial: f.next == "new", Ready: true}
	}
	if !f.drainedAt.IsZero() && now.After(f.drainedAt) && !f.clings {
		f.s.Drained = true
	}
	return f.s, f.stateErr
}

func (f *fakeBoard) Drain(_ context.Context, undo bool) error {
	if undo {
		f.note("undrained")
		f.s.Ready, f.s.Drained, f.drainedAt = true, false, time.Time{}
		return nil
	}
	for _, other := range f.rack.boards {
		if other != f && !other.s.Ready {
			return fmt.Errorf("a second board is missing: %s", other.name)
		}
	}
	f.note("drained")
	f.s.Ready, f.s.NotReadyReason, f.drainedAt = false, "it is draining", time.Now().Add(3*time.Second)
	return nil
}

func (f *fakeBoard) Send(context.Context) error {
	f.note("sent")
	return f.sendErr
}

func (f *fakeBoard) StartTrial(context.Context) error {
	f.note("tried")
	f.backAt, f.drainedAt = time.Now().Add(30*time.Second), time.Time{}
	return nil
}

func (f *fakeBoard) Commit(context.Context) error {
	f.note("committed")
	if f.commitErr == nil {
		f.s.Trial = false
	}
	return f.commitErr
}

// roll runs a rollout in fake time.
func (f *fakeRack) roll(t *testing.T, dry bool) (said string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		roll := Roll{Version: "new", Timeouts: DefaultTimeouts(), DryRun: dry,
			Logf: func(format string, args ...any) { said += fmt.Sprintf(format+"\n", args...) }}
		for _, b := range f.boards {
			roll.Boards = append(roll.Boards, b)
		}
		err = roll.Run(t.Context())
	})
	return said, err
}

func TestBoardsAreUpdatedOneByOneAndTheLeaderLast(t *testing.T) {
	r := newRack("old", "a", "b", "c")
	said, err := r.roll(t, false)
	if err != nil {
		t.Fatal(err)
	}
	want := "b drained, b sent, b tried, b committed, c drained, c sent, c tried, c committed, a drained, a sent, a tried, a committed"
	if got := strings.Join(r.did, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.HasSuffix(said, "a runs new\n") {
		t.Errorf("output:\n%s", said)
	}
	r.did = nil
	if said, err = r.roll(t, false); err != nil || len(r.did) > 0 || !strings.HasSuffix(said, "every board runs new already\n") {
		t.Errorf("a second rollout does %v and says\n%s%v", r.did, said, err)
	}
}

func TestDryRun(t *testing.T) {
	r := newRack("old", "a", "b")
	said, err := r.roll(t, true)
	if err != nil || len(r.did) > 0 || said != "b would be updated to new\na would be updated to new\n" {
		t.Errorf("it does %v, says\n%s%v", r.did, said, err)
	}
}

func TestClientsThatStayDoNotStopARollout(t *testing.T) {
	r := newRack("old", "a", "b", "c")
	r.boards[1].clings = true
	said, err := r.roll(t, false)
	if err != nil || !strings.Contains(said, "b: it still has clients") || r.boards[1].s.Version != "new" {
		t.Errorf("b runs %s; the rollout says\n%s%v", r.boards[1].s.Version, said, err)
	}
}

func TestFailuresThatStopARollout(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fakeRack)
		kind   error
		did    string
	}{
		{"it rolls back to the old version", func(r *fakeRack) { r.boards[1].next = "old" }, ErrRolledBack, "b drained, b sent, b tried"},
		{"it does not come back", func(r *fakeRack) { r.boards[1].dead = true }, ErrNotReturned, "b drained, b sent, b tried"},
		{"it cannot be written", func(r *fakeRack) { r.boards[1].sendErr = errors.ErrUnsupported }, errors.ErrUnsupported, "b drained, b sent, b undrained"},
		{"another board is not healthy", func(r *fakeRack) { r.boards[2].s.Ready = false }, ErrRackUnhealthy, ""},
		{"a board has no card", func(r *fakeRack) { r.boards[1].stateErr = ErrNoCard }, ErrNoCard, ""},
		{"another board does not answer", func(r *fakeRack) { r.boards[2].backAt = time.Now().Add(time.Hour); r.boards[2].dead = true }, ErrRackUnhealthy, ""},
		{"another update is on trial", func(r *fakeRack) { r.boards[2].s = State{Version: "other", Trial: true, Ready: true} }, ErrRackUnhealthy, ""},
		{"it cannot be committed", func(r *fakeRack) { r.boards[1].commitErr = errors.ErrUnsupported }, errors.ErrUnsupported, "b drained, b sent, b tried, b committed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRack("old", "a", "b", "c")
			tt.change(r)
			_, err := r.roll(t, false)
			if !errors.Is(err, tt.kind) {
				t.Errorf("the error is %v", err)
			}
			if got := strings.Join(r.did, ", "); got != tt.did {
				t.Errorf("it did %q, want %q", got, tt.did)
			}
		})
	}
}

func TestARolloutResumes(t *testing.T) {
	for name, change := range map[string]func(*fakeRack){
		"one was not committed":  func(r *fakeRack) { r.boards[1].s = State{Version: "new", Trial: true, Ready: true} },
		"one was left drained":   func(r *fakeRack) { r.boards[1].s = State{Version: "old", Drained: true, NotReadyReason: "drained"} },
		"one is done, the first": func(r *fakeRack) { r.boards[0].s = State{Version: "new", Ready: true} },
	} {
		r := newRack("old", "a", "b", "c")
		change(r)
		if _, err := r.roll(t, false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, b := range r.boards {
			if b.s.Version != "new" || b.s.Trial {
				t.Errorf("%s: %s ends as %+v", name, b.name, b.s)
			}
		}
	}
}
