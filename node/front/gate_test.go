package front

import (
	"testing"
	"time"
)

func TestTheGateLetsSoManyThrough(t *testing.T) {
	g := newGate(1)
	if got := g.enter(nil); got != passageAtOnce {
		t.Fatalf("the first comes through as %v", got)
	}
	gone := make(chan struct{})
	close(gone)
	if got := g.enter(gone); got != passageNone {
		t.Errorf("who has gone comes through as %v", got)
	}
	later := make(chan passage)
	for range waitersPerPlace {
		go func() { later <- g.enter(nil) }()
	}
	until(t, "all wait", func() bool { return g.waiting.Load() == waitersPerPlace })
	if got := g.enter(nil); got != passageNone {
		t.Errorf("one too many comes through as %v", got)
	}
	if !g.sheds(kindSent) {
		t.Error("while as many wait as may, another is let in")
	}
	for range waitersPerPlace {
		g.leave()
		if got := <-later; got != passageLater {
			t.Errorf("who waited comes through as %v", got)
		}
	}
	g.leave()
	if got := g.enter(nil); got != passageAtOnce {
		t.Errorf("then one comes through as %v", got)
	}
	if g.waiting.Load() != 0 || g.shed.Load() != 3 {
		t.Errorf("%d wait, %d were refused", g.waiting.Load(), g.shed.Load())
	}
}

func TestTheGateCountsUploadsAndConnections(t *testing.T) {
	g := newGate(8)
	for i := range 3 {
		if got := g.enterUpload(); got != (i < 2) {
			t.Errorf("upload %d: %v", i, got)
		}
	}
	g.leaveUpload()
	if !g.enterUpload() {
		t.Error("after one has gone there is no room")
	}
	for i := range 33 {
		if got, crowded := g.enterGiven(), g.crowded(); got != (i < 32) || crowded != (i >= 16) {
			t.Errorf("connection %d: %v, crowded: %v", i, got, crowded)
		}
	}
	open := newGate(0)
	for range 100 {
		if open.enter(nil) != passageAtOnce || !open.enterUpload() || !open.enterGiven() || open.crowded() || open.sheds(kindAsked) {
			t.Fatal("a gate without bounds refuses")
		}
		open.leave()
	}
}

func TestUnderPressureTheGateSheds(t *testing.T) {
	g := newGate(0)
	g.feel(0.5)
	shed := 0
	for range 100 {
		if g.sheds(kindAsked) {
			shed++
		}
		if g.sheds(kindSent) {
			t.Fatal("an order is shed")
		}
	}
	if shed < 40 || shed > 60 {
		t.Errorf("%d of 100 are shed", shed)
	}
}

func TestABodyHasToComeAtItsPace(t *testing.T) {
	began := time.Unix(1000, 0)
	p := pace{behind: 5 * time.Second, rate: 1000, whole: time.Minute}
	for got, want := range map[int64]time.Duration{
		0: 5 * time.Second, 500: 5500 * time.Millisecond, 10_000: 15 * time.Second, 1 << 40: time.Minute,
	} {
		if until := p.until(began, got).Sub(began); until != want {
			t.Errorf("after %d bytes more must come by %v, want %v", got, until, want)
		}
	}
	if until := (pace{time.Second, 1, 1 << 62}).until(began, 1<<33); !until.After(began) {
		t.Errorf("a huge body is due at %v", until)
	}
}
