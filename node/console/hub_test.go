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

func (*emptyRack) RackView() RackView { return RackView{} }

// A client with many streams leaves room for others.
func TestStreamsAreSharedFairly(t *testing.T) {
	h := newHub(new(emptyRack), 8)
	join := func(client int) (*eventStream, error) { return h.addStream(remoteClient(client), viewerRights{}, "") }
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
		t.Fatalf("the last client: %v; there are %d streams", err, len(h.streams))
	}
	h.publishEvent(Event{Text: "well"})
	if len(late.out) != 1 {
		t.Error("the last client gets no event")
	}
	h.closeStreams()
	if h.permits.held != 0 {
		t.Errorf("%d permits are held after the end", h.permits.held)
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
		t.Fatal("a stream that reads nothing is still there")
	}
	h.removeStream(slow) // removing it twice is no error
	n := 0
	for range slow.out {
		n++
	}
	if n != cap(slow.out) {
		t.Errorf("%d messages were queued, want %d", n, cap(slow.out))
	}
}

// TestHubTiming runs the hub with a fake clock: a sample a second, one more for a
// burst of events, and a bounded history.
func TestHubTiming(t *testing.T) {
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
			t.Errorf("%d seconds and %d events are stored, want %d and %d", len(h.history), len(h.events), historySamples, replayEvents)
		}
	})
}
