package admission

import (
	"context"
	"testing"
	"time"
)

// awaitCondition waits for what another goroutine does, for ten seconds at most.
func awaitCondition(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition does not come true")
		}
	}
}

func TestGateLimitsRequestsAndWaiters(t *testing.T) {
	g := NewGate(1, nil, nil)
	first, waited := g.Acquire(context.Background(), "")
	if first == nil || waited {
		t.Fatalf("the first comes through as %v, %v", first, waited)
	}
	gone, leave := context.WithCancel(context.Background())
	leave()
	if got, _ := g.Acquire(gone, ""); got != nil {
		t.Error("a client that has gone comes through")
	}
	later := make(chan *Permit)
	for range waitersPerPermit {
		go func() {
			p, waited := g.Acquire(context.Background(), "")
			if !waited {
				t.Error("one did not wait")
			}
			later <- p
		}()
	}
	awaitCondition(t, func() bool { return g.Usage().Waiting == waitersPerPermit })
	if got, _ := g.Acquire(context.Background(), ""); got != nil {
		t.Error("one too many comes through")
	}
	if !g.ShouldShed(KindSubmit, "") {
		t.Error("another is let in while the queue is full")
	}
	for range waitersPerPermit {
		first.Release()
		if first = <-later; first == nil {
			t.Fatal("one that waited does not come through")
		}
	}
	first.Release()
	first.Release() // a second time does nothing
	if got, waited := g.Acquire(context.Background(), ""); got == nil || waited {
		t.Errorf("then one comes through as %v, %v", got, waited)
	}
	if g.Usage().Waiting != 0 || g.shed.Load() != 3 {
		t.Errorf("%d wait, %d were refused", g.Usage().Waiting, g.shed.Load())
	}
}

func TestGateLimitsUploadsAndHandoffs(t *testing.T) {
	g := NewGate(8, nil, nil)
	for i := range 3 {
		if got := g.TryAcquireUpload(); got != (i < 2) {
			t.Errorf("upload %d: %v", i, got)
		}
	}
	g.ReleaseUpload()
	if !g.TryAcquireUpload() {
		t.Error("after one has gone there is no room")
	}
	// No client is silent, so no connection can be evicted.
	for i := range 33 {
		if got, crowded := g.TryAcquireHandoff(), g.IsCrowded(); got != (i < 32) || crowded != (i >= 16) {
			t.Errorf("connection %d: %v, crowded: %v", i, got, crowded)
		}
	}
	open := NewGate(0, nil, nil)
	for range 100 {
		p, waited := open.Acquire(context.Background(), "")
		if p == nil || waited || !open.TryAcquireUpload() || !open.TryAcquireHandoff() || open.IsCrowded() || open.ShouldShed(KindBrowse, "") {
			t.Fatal("a gate without limits refuses")
		}
		p.Release()
	}
}

func TestGateShedsUnderPressure(t *testing.T) {
	g := NewGate(0, nil, nil)
	g.RecordPressure(0.5)
	shed := 0
	for range 100 {
		if g.ShouldShed(KindBrowse, "") {
			shed++
		}
		if g.ShouldShed(KindSubmit, "") {
			t.Fatal("an order is shed")
		}
	}
	if shed < 40 || shed > 60 {
		t.Errorf("%d of 100 are shed", shed)
	}
}
