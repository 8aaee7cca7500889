package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sent is one server-sent event as a browser reads it.
type sent struct{ name, id, data string }

// next reads the next event, comments and the retry time left out.
func next(t *testing.T, from *bufio.Reader) (sent, error) {
	t.Helper()
	var e sent
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return e, err
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch key {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				return e, nil
			}
		}
	}
}

// nextNamed reads on to the next event of a name.
func nextNamed(t *testing.T, from *bufio.Reader, name string) sent {
	t.Helper()
	for {
		e, err := next(t, from)
		if err != nil {
			t.Fatalf("waiting for %q: %v", name, err)
		}
		if e.name == name {
			return e
		}
	}
}

// watch opens a stream of a served console.
func watch(t *testing.T, s *httptest.Server, lastID string) *bufio.Reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", lastID)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("status %d, type %q", res.StatusCode, got)
	}
	return bufio.NewReader(res.Body)
}

// TestStream follows one page: the whole rack first, then what happens, then,
// after a broken line, only what it has missed.
func TestStream(t *testing.T) {
	f := NewFake(3)
	s := serve(t, f)
	in := watch(t, s, "")

	var first rackMessage
	if err := json.Unmarshal([]byte(nextNamed(t, in, "rack").data), &first); err != nil {
		t.Fatal(err)
	}
	if len(first.Boards) != 3 || first.Ring == nil || !first.CanSteer || !first.CanLab {
		t.Errorf("the first message is not the whole rack: %+v", first)
	}
	nextNamed(t, in, "history")

	f.Publish(Event{Kind: "joined", Board: "board-2", Text: "one\nevent: rack"})
	e := nextNamed(t, in, "event")
	if want := `"text":"one\nevent: rack"`; !strings.Contains(e.data, want) || e.id == "" {
		t.Errorf("got %+v, want an id and %s", e, want)
	}
	// The sample after the event leaves the unchanged ring out; a kill changes it.
	if again := nextNamed(t, in, "rack"); strings.Contains(again.data, `"ring"`) {
		t.Error("an unchanged ring is sent again")
	}
	f.Set("board-2", "dead")
	missed := nextNamed(t, in, "event")
	for {
		if m := nextNamed(t, in, "rack"); strings.Contains(m.data, `"ring":[`) {
			break
		}
	}

	back := watch(t, s, e.id)
	if got := nextNamed(t, back, "event"); got != missed {
		t.Errorf("told after a broken line: %+v, want %+v", got, missed)
	}
	fresh := watch(t, s, "another-1")
	if got := nextNamed(t, fresh, "event"); got != e {
		t.Errorf("told to a page that knows another run: %+v, want %+v", got, e)
	}
}

// TestStreamBounds: no more streams than allowed, and all end with Run.
func TestStreamBounds(t *testing.T) {
	f := NewFake(1)
	c := newConsole(t, Config{Source: f, MaxStreams: 2})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	s := httptest.NewServer(c)
	defer s.Close()

	one, two := watch(t, s, ""), watch(t, s, "")
	if status, body := get(t, s.URL+"/api/v1/events"); status != 503 || !strings.Contains(body, "close one") {
		t.Errorf("a third stream of two: %d %s", status, body)
	}
	cancel()
	for _, in := range []*bufio.Reader{one, two} {
		if _, err := io.Copy(io.Discard, in); err != nil {
			t.Errorf("the stream did not end but break: %v", err)
		}
	}
	<-ended
	if f.Subscribers() != 0 {
		t.Error("the source is still subscribed to")
	}
	if status, _ := get(t, s.URL+"/api/v1/events"); status != 503 {
		t.Errorf("a stream of an ended console: %d", status)
	}
}

// TestOneClientDoesNotTakeAllStreams: who watches a lot leaves room for others.
func TestOneClientDoesNotTakeAllStreams(t *testing.T) {
	h := newHub(NewFake(1), 8)
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
	h := newHub(NewFake(1), 2)
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
		f := NewFake(2)
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
