package front

import (
	"testing"
	"time"
)

func TestTheGateLetsSoManyThrough(t *testing.T) {
	g := newGate(1)
	first, waited := g.acquire(nil)
	if first == nil || waited {
		t.Fatalf("the first comes through as %v, %v", first, waited)
	}
	gone := make(chan struct{})
	close(gone)
	if got, _ := g.acquire(gone); got != nil {
		t.Error("who has gone comes through")
	}
	later := make(chan *slot)
	for range waitersPerSlot {
		go func() {
			p, waited := g.acquire(nil)
			if !waited {
				t.Error("one did not wait")
			}
			later <- p
		}()
	}
	until(t, "all wait", func() bool { return g.waiting.Load() == waitersPerSlot })
	if got, _ := g.acquire(nil); got != nil {
		t.Error("one too many comes through")
	}
	if !g.shouldShed(kindSubmit) {
		t.Error("while as many wait as may, another is let in")
	}
	for range waitersPerSlot {
		first.release()
		if first = <-later; first == nil {
			t.Fatal("who waited does not come through")
		}
	}
	first.release()
	first.release() // a second time does nothing
	if got, waited := g.acquire(nil); got == nil || waited {
		t.Errorf("then one comes through as %v, %v", got, waited)
	}
	if g.waiting.Load() != 0 || g.shed.Load() != 3 {
		t.Errorf("%d wait, %d were refused", g.waiting.Load(), g.shed.Load())
	}
}

func TestTheGateCountsUploadsAndConnections(t *testing.T) {
	g := newGate(8)
	for i := range 3 {
		if got := g.acquireUpload(); got != (i < 2) {
			t.Errorf("upload %d: %v", i, got)
		}
	}
	g.releaseUpload()
	if !g.acquireUpload() {
		t.Error("after one has gone there is no room")
	}
	// None is silent, so that none can make way.
	for i := range 33 {
		if got, crowded := g.acquireHandoff(), g.isCrowded(); got != (i < 32) || crowded != (i >= 16) {
			t.Errorf("connection %d: %v, crowded: %v", i, got, crowded)
		}
	}
	open := newGate(0)
	for range 100 {
		p, waited := open.acquire(nil)
		if p == nil || waited || !open.acquireUpload() || !open.acquireHandoff() || open.isCrowded() || open.shouldShed(kindBrowse) {
			t.Fatal("a gate without bounds refuses")
		}
		p.release()
	}
}

func TestUnderPressureTheGateSheds(t *testing.T) {
	g := newGate(0)
	g.recordPressure(0.5)
	shed := 0
	for range 100 {
		if g.shouldShed(kindBrowse) {
			shed++
		}
		if g.shouldShed(kindSubmit) {
			t.Fatal("an order is shed")
		}
	}
	if shed < 40 || shed > 60 {
		t.Errorf("%d of 100 are shed", shed)
	}
}

func TestABodyHasToComeAtItsPace(t *testing.T) {
	began := time.Unix(1000, 0)
	p := bodyPace{maxLag: 5 * time.Second, rate: 1000, total: time.Minute}
	for got, want := range map[int64]time.Duration{
		0: 5 * time.Second, 500: 5500 * time.Millisecond, 10_000: 15 * time.Second, 1 << 40: time.Minute,
	} {
		if until := p.deadline(began, got).Sub(began); until != want {
			t.Errorf("after %d bytes more must come by %v, want %v", got, until, want)
		}
	}
	if until := (bodyPace{time.Second, 1, 1 << 62}).deadline(began, 1<<33); !until.After(began) {
		t.Errorf("a huge body is due at %v", until)
	}
}

func TestWhoHasBeenSilentLongestMakesWay(t *testing.T) {
	g := newGate(1)
	var all []*handoff
	for range 3 {
		one := new(handoff)
		g.setSilent(one, true)
		all = append(all, one)
	}
	g.setSilent(all[0], false) // has sent what it had to
	g.setSilent(all[1], true)  // has been answered, and is silent again
	for i, want := range []*handoff{all[2], all[1], nil} {
		if got := g.takeLongestSilent(); got != want {
			t.Errorf("number %d to make way is the wrong one", i)
		}
	}
	g.setSilent(all[1], false) // after that it is nowhere
}
