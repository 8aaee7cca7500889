package front

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
)

func TestAStateKnowsItsAge(t *testing.T) {
	for _, sweep := range []uint32{0, 5, 1<<27 - 2, 1<<27 - 1} {
		w := packState(stateReading, sweep) | probedBit
		if stateOf(w) != stateReading || sweepsSince(w, sweep) != 0 || sweepsSince(w, sweep+3) != 3 {
			t.Errorf("since sweep %d: state %d, %d and %d sweeps", sweep, stateOf(w), sweepsSince(w, sweep), sweepsSince(w, sweep+3))
		}
	}
}

// stateNames are the names of the states in DESIGN.md.
func stateNames() []string {
	return []string{
		stateNew: "New", stateHandshake: "Handshake", stateIdle: "Idle", stateReading: "Reading", stateAnswering: "Answering",
		stateFlushing: "Flushing", stateBorrowed: "Borrowed", stateNetHTTP: "NetHTTP", stateNetHTTPIdle: "NetHTTPIdle",
		stateHTTP2Idle: "HTTP2Idle", stateLingering: "Lingering", stateClosing: "Closing", stateGone: "Gone",
	}
}

// The diagram in DESIGN.md has the arrows of mayFollow, and no others.
func TestTheDiagramIsTheCode(t *testing.T) {
	names, code := stateNames(), map[string]bool{}
	for s := range stateCount {
		for _, next := range s.mayFollow() {
			code[fmt.Sprintf("%s --> %s", names[s], names[next])] = true
		}
	}
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	diagram := map[string]bool{}
	for _, arrow := range regexp.MustCompile(`(?m)^    (\w+ --> \w+)`).FindAllStringSubmatch(string(text), -1) {
		diagram[arrow[1]] = true
	}
	if want, got := slices.Sorted(maps.Keys(code)), slices.Sorted(maps.Keys(diagram)); !slices.Equal(got, want) {
		t.Errorf("DESIGN.md draws\n%q, and the code has\n%q", got, want)
	}
}

func TestNoStateBeginsAfterTheSweep(t *testing.T) {
	f := &Front{conns: new(connTable)}
	c := &conn{front: f, fd: -1}
	f.conns.add(c)
	was := c.state.Load()
	if !c.enter(stateAnswering) || c.beginClosing(was, 1) {
		t.Fatal("the sweep ends a connection that has moved on")
	}
	if !c.beginClosing(c.state.Load(), 1) || c.enter(stateIdle) || c.currentState() != stateClosing {
		t.Errorf("after the sweep it is in state %d", c.currentState())
	}
	if !c.markGone() || c.markGone() {
		t.Error("it does not leave once")
	}
	if c.forceClosing(2); c.currentState() != stateGone || c.enter(stateIdle) {
		t.Errorf("once gone it is in state %d", c.currentState())
	}
}
