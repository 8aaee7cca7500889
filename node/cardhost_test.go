package node

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"bramble/cluster"
	"bramble/node/host"
)

// fakeHost is a CardHost with a settable clock.
type fakeHost struct{ set bool }

func (f *fakeHost) LostData() string             { return "" }
func (f *fakeHost) ClockIsSet() bool             { return f.set }
func (f *fakeHost) TimeServers() int             { return 3 }
func (f *fakeHost) Notices() []string            { return []string{"its card is old"} }
func (f *fakeHost) API(BoardHandle) http.Handler { return http.NotFoundHandler() }

func TestHaltEndsADrainedBoard(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state cluster.State
		since time.Duration // ago; 0: not requested
		ends  bool
	}{
		{"not requested", cluster.Drained, 0, false},
		{"still draining", cluster.Draining, time.Second, false},
		{"drained", cluster.Drained, time.Second, true},
		{"clients that do not leave", cluster.Draining, maxHaltWait, true},
	} {
		b := &board{lifecycle: lifecycle{ended: make(chan error, 1)}}
		b.state.set(tt.state)
		if tt.since > 0 {
			b.haltRequestedAt.Store(time.Now().Add(-tt.since).UnixNano())
		}
		b.completeHaltIfDrained()
		b.completeHaltIfDrained() // a second reason does not block
		select {
		case why := <-b.ended:
			if !tt.ends || !errors.Is(why, ErrHalt) || b.state.get() != cluster.Drained {
				t.Errorf("%s: it ends by %v in state %v", tt.name, why, b.state.get())
			}
		default:
			if tt.ends {
				t.Errorf("%s: it does not end", tt.name)
			}
		}
	}
}

func TestBoardOnAFullCardEndsWhenSpaceIsFreed(t *testing.T) {
	b := &board{lifecycle: lifecycle{ended: make(chan error, 1)}}
	tries := 0
	b.awaitDiskSpace(t.Context(), time.Millisecond, func() error {
		if tries++; tries < 3 {
			return errors.New("no space left")
		}
		return nil
	})
	if why := <-b.ended; !errors.Is(why, ErrSpaceFreed) || tries != 3 {
		t.Errorf("after %d tries it ends by %v", tries, why)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	b.awaitDiskSpace(stopped, time.Hour, func() error { return nil })
	if len(b.ended) != 0 {
		t.Error("a stopping board reports ErrSpaceFreed")
	}
}

func TestDrainedUntilTheEnd(t *testing.T) {
	for state, want := range map[cluster.State]bool{
		cluster.Serving: false, cluster.Draining: false, cluster.Drained: true, cluster.Stopping: true,
	} {
		b := &board{}
		b.state.set(state)
		if got := (BoardHandle{b}).Drained(); got != want {
			t.Errorf("%v: drained is %t", state, got)
		}
	}
}

func TestClockIsSet(t *testing.T) {
	host := &fakeHost{}
	card, shared := &board{setup: setup{Options: Options{CardHost: host}}}, &board{}
	if !shared.clockIsSet() {
		t.Error("this machine's clock counts as not set")
	}
	if card.clockIsSet() {
		t.Error("a card's clock is set before a server was believed")
	}
	if host.set = true; !card.clockIsSet() {
		t.Error("a card's clock stays unset")
	}
}

func TestPiHealthIsAFault(t *testing.T) {
	if f := piFaults(host.PiHealth{}); f != 0 {
		t.Errorf("a healthy board has %v", f)
	}
	h := host.PiHealth{PowerLow: true, TooHot: true, Card: "is read-only: change it"}
	if f := piFaults(h); f != cluster.PowerLow|cluster.TooHot|cluster.CardFailing {
		t.Errorf("all at once are %v", f)
	}
	got := piNotices("till", h)
	if len(got) != 3 || got[2] != "The card of till is read-only: change it." {
		t.Errorf("the notices are %q", got)
	}
	in := vitalsToPanel(cluster.Vitals{State: cluster.Serving, Faults: piFaults(h)})
	if in.Faults.String() != "card failing, power low, too hot" {
		t.Errorf("the lamps show %v", in.Faults)
	}
}
