package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	. "bramble/node/console"
	"bramble/node/console/consoletest"
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

// TestStream follows one page: first the complete rack, then events, then,
// after a broken line, only what it has missed.
func TestStream(t *testing.T) {
	f := consoletest.NewFake(3)
	s := serve(t, f)
	in := watch(t, s, "")

	var first RackView
	if err := json.Unmarshal([]byte(nextNamed(t, in, "rack").data), &first); err != nil {
		t.Fatal(err)
	}
	if len(first.Boards) != 3 || first.Ring == nil || !first.CanSteer || !first.CanLab {
		t.Errorf("the first message is not the complete rack: %+v", first)
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
		t.Errorf("after a reconnection: %+v, want %+v", got, missed)
	}
	fresh := watch(t, s, "another-1")
	if got := nextNamed(t, fresh, "event"); got != e {
		t.Errorf("to a page with an id of another process: %+v, want %+v", got, e)
	}
}

// TestStreamBounds: the number of streams is bounded, and all end with Run.
func TestStreamBounds(t *testing.T) {
	f := consoletest.NewFake(1)
	c := newConsole(t, Config{Source: f})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	s := httptest.NewServer(c)
	defer s.Close()

	var streams []*bufio.Reader
	for range MaxConnections / 4 {
		streams = append(streams, watch(t, s, ""))
	}
	if status, body := get(t, s.URL+"/api/v1/events"); status != 503 || !strings.Contains(body, "close one") {
		t.Errorf("one stream too many: %d %s", status, body)
	}
	cancel()
	for _, in := range streams {
		if _, err := io.Copy(io.Discard, in); err != nil {
			t.Errorf("the stream broke off instead of ending: %v", err)
		}
	}
	<-ended
	if f.Subscribers() != 0 {
		t.Error("the source still has a subscriber")
	}
	if status, _ := get(t, s.URL+"/api/v1/events"); status != 503 {
		t.Errorf("a stream of an ended console: %d", status)
	}
}
