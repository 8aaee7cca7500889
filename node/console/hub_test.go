package console

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// emptyRack is a source without boards.
type emptyRack struct{ Broadcaster }

func (*emptyRack) Snapshot() Snapshot { return Snapshot{} }

// TestOneClientDoesNotTakeAllStreams: who watches a lot leaves room for others.
func TestOneClientDoesNotTakeAllStreams(t *testing.T) {
	h := newHub(new(emptyRack), 8)
	join := func(who int) (*eventStream, error) { return h.addStream(stranger(who), viewerRights{}, "") }
	for n := range 8 { // four clients with two each
		if _, err := join(n / 2); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			if _, err := join(0); err != errTooManyStreams {
				t.Errorf("one client's third stream of eight: %v", err)
			}
		}
	}
	late, err := join(9)
	if err != nil || len(h.streams) != 8 {
		t.Fatalf("who comes last: %v; there are %d streams", err, len(h.streams))
	}
	h.publishEvent(Event{Text: "well"})
	if len(late.out) != 1 {
		t.Error("who came last is told nothing")
	}
	h.closeStreams()
	if h.slots.held != 0 {
		t.Errorf("%d places are held after the end", h.slots.held)
	}
}

// TestSlowStreamIsDropped fills the queue of a client that reads nothing.
func TestSlowStreamIsDropped(t *testing.T) {
	h := newHub(new(emptyRack), 2)
	slow, err := h.addStream(netip.Prefix{}, viewerRights{}, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range cap(slow.out) + 10 {
		h.publishEvent(Event{Text: fmt.Sprint(i)})
	}
	if len(h.streams) != 0 {
		t.Fatal("a stream that reads nothing is still fed")
	}
	h.removeStream(slow) // twice out is out
	n := 0
	for range slow.out {
		n++
	}
	if n != cap(slow.out) {
		t.Errorf("%d messages were queued, want %d", n, cap(slow.out))
	}
}

// TestHubKeepsToItsSeconds runs the hub by a clock of the test's: a sample a
// second, one more for a burst of events, and a bounded past.
func TestHubKeepsToItsSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(emptyRack)
		h := newHub(f, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go h.run(ctx)
		synctest.Wait()
		s, err := h.addStream(netip.Prefix{}, viewerRights{}, "")
		if err != nil {
			t.Fatal(err)
		}
		count := func() (rack, event, second int) {
			synctest.Wait()
			for len(s.out) > 0 {
				m := string(<-s.out)
				rack += strings.Count(m, "event: rack")
				event += strings.Count(m, "event: event")
				second += strings.Count(m, `"tick":true`)
			}
			return
		}
		time.Sleep(3*time.Second + time.Millisecond)
		if rack, _, second := count(); rack != 4 || second != 3 { // one on joining
			t.Errorf("%d samples in three seconds, %d of them for the line, want 4 and 3", rack, second)
		}
		for range 10 {
			f.Publish(Event{Kind: "purge", Text: "x"})
		}
		time.Sleep(minChangeInterval + time.Millisecond)
		if rack, event, _ := count(); rack != 1 || event != 10 {
			t.Errorf("a burst of ten events made %d samples and %d events, want 1 and 10", rack, event)
		}
		for range historySamples + 20 {
			f.Publish(Event{Kind: "purge", Text: "x"})
			time.Sleep(sampleInterval)
			count()
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.history) != historySamples || len(h.events) != replayEvents {
			t.Errorf("%d seconds and %d events are kept, want %d and %d", len(h.history), len(h.events), historySamples, replayEvents)
		}
	})
}
