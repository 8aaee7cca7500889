package admission

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestTooManyHandshakesAreRefused(t *testing.T) {
	handshakes := NewHandshakes(1, 2)
	if err := handshakes.Acquire(ClientKey{}, false); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	for n := range uint32(2) {
		waiting.Go(func() {
			if err := handshakes.Acquire(ClientKey{address: n}, false); err != nil {
				t.Error(err)
			}
			handshakes.Release()
		})
	}
	awaitCondition(t, func() bool { return handshakes.Waiting() == 2 })
	if err := handshakes.Acquire(ClientKey{}, false); err != ErrBusy {
		t.Errorf("a third may wait: %v", err)
	}
	waiting.Go(func() { // one that has begun may always wait
		if err := handshakes.Acquire(ClientKey{}, true); err != nil {
			t.Error(err)
		}
		handshakes.Release()
	})
	handshakes.Release()
	waiting.Wait()
	if err := handshakes.Acquire(ClientKey{}, false); err != nil {
		t.Errorf("when all have gone: %v", err)
	}
}

// The first client fills half of the queue, the second a third of it, and so on.
func TestNoClientFillsTheQueue(t *testing.T) {
	handshakes := NewHandshakes(0, 12) // no permits
	waiting := map[uint32]int{}
	for who := range uint32(3) {
		for range 20 {
			if handshakes.joinQueue(ClientKey{address: who}) {
				waiting[who]++
			}
		}
	}
	if waiting[0] != 6 || waiting[1] != 3 || waiting[2] != 2 {
		t.Errorf("of the queue of 12 they have %v", waiting)
	}
	for who, n := range waiting {
		for range n {
			handshakes.leaveQueue(ClientKey{address: who})
		}
	}
	if handshakes.waiting != 0 || len(handshakes.waitingOf) != 0 {
		t.Errorf("%d wait still, of %d clients", handshakes.waiting, len(handshakes.waitingOf))
	}
}

func TestBegunHandshakesFillNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handshakes := NewHandshakes(1, 1)
		if err := handshakes.Acquire(ClientKey{}, false); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			go func() {
				if err := handshakes.Acquire(ClientKey{}, i < 4); err != nil { // the last is new
					t.Errorf("client %d: %v", i, err)
					return
				}
				handshakes.Release()
			}()
			synctest.Wait()
		}
		handshakes.Release()
	})
}
