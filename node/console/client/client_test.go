package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"bramble/node/console"
	"bramble/node/console/consoletest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a real console of a rack that exists nowhere.
func start(t *testing.T, password string) (*Client, *consoletest.Fake) {
	t.Helper()
	fake := consoletest.NewFake(3)
	c, err := console.New(console.Config{
		Source: fake, Control: fake, Password: password,
		Ready: func() (bool, string) { return false, "it still looks for its rack" },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	s := httptest.NewServer(c)
	client, err := New(s.URL, Access{Secret: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); cancel(); <-done; s.Close() })
	return client, fake
}

func TestAgainstARealConsole(t *testing.T) {
	c, fake := start(t, "correct horse")
	s, err := c.Rack(t.Context())
	if err != nil || len(s.Boards) != 3 || len(s.Ring) == 0 {
		t.Fatalf("the rack is %+v, %v", s, err)
	}
	if res, err := c.Purge(t.Context(), console.PurgeRequest{Tag: "news"}); err != nil || len(res.Applied) != 3 {
		t.Errorf("a purge gave %+v, %v", res, err)
	}
	if err := c.Drain(t.Context(), "board-1", true); err != nil {
		t.Error(err)
	}
	if got := strings.Join(fake.Calls(), ", "); got != "purge tag news, undrain board-1" {
		t.Errorf("the console was asked: %s", got)
	}
	if err := c.Drain(t.Context(), "board-9", false); !errors.Is(err, console.ErrUnknownBoard) {
		t.Errorf("an unknown board gave %v", err)
	}
	if _, err := c.Purge(t.Context(), console.PurgeRequest{}); !errors.Is(err, console.ErrBadRequest) {
		t.Errorf("an empty purge gave %v", err)
	}
	if ok, reason, err := c.Ready(t.Context()); ok || reason != "it still looks for its rack" || err != nil {
		t.Errorf("readiness is %v, %q, %v", ok, reason, err)
	}
	for _, password := range []string{"", "wrong horse"} {
		other, err := New(c.base, Access{Secret: password})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Rack(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "password") {
			t.Errorf("the password %q gave %v", password, err)
		}
		other.Close()
	}
}

func TestFollow(t *testing.T) {
	c, fake := start(t, "")
	fake.Publish(console.Event{Text: "lost, or sent as history"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	racks, gotEvent := 0, false
	err := c.Follow(ctx, 10*time.Second, func(m Message) {
		switch {
		case m.Rack != nil:
			if len(m.Rack.Ring) == 0 || len(m.Rack.Boards) != 3 {
				t.Errorf("rack %d is %+v", racks, m.Rack)
			}
			// The console repeats the ring only when it has changed.
			if racks++; racks == 1 {
				fake.Publish(console.Event{Board: "board-2", Text: "board-2 is tired"})
			}
		case m.Event.Board == "board-2":
			gotEvent = true
		}
		if gotEvent && racks > 1 {
			cancel()
		}
	})
	if !gotEvent || racks < 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d racks, event %v, and it ended with %v", racks, gotEvent, err)
	}
}

func TestFollowGivesUpASilentConsole(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	defer s.Close()
	defer close(release)
	c, err := New(s.URL, Access{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Follow(t.Context(), 50*time.Millisecond, func(Message) {}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("it ended with %v", err)
	}
}

func TestStrangeAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		kind   error
	}{
		"another server": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusNotFound) }, ErrNotConsole},
		"another reply":  {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, ErrNotConsole},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://x.example/", http.StatusFound)
		}, ErrNotConsole},
		"a torn reply": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.Write([]byte("{"))
		}, ErrUnreachable},
		"a huge reply": {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxReply+1)) }, ErrNotConsole},
		"trouble inside": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			w.Write([]byte(`{"error":"x"}`))
		}, console.ErrUnavailable},
		"from elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte(`{"error":"x"}`))
		}, ErrRefused},
		"a broken stream": {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("event: rack\ndata: {\n\n")) }, ErrNotConsole},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tt.answer)
			defer s.Close()
			c, err := New(s.URL, Access{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if name == "a broken stream" {
				err = c.Follow(t.Context(), time.Minute, func(Message) {})
			} else {
				_, err = c.Rack(t.Context())
			}
			if !errors.Is(err, tt.kind) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want the kind %v", err, tt.kind)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c, err := New(s.URL, Access{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Rack(t.Context())
	want := "no console answers at " + s.URL + ": is the lab or the board running? Name another with --console URL"
	if !errors.Is(err, ErrUnreachable) || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8080", "localhost", "ftp://a", "http://", "http://a/b", "http://a?b", "http://u:p@a", "http://a#b", "http://a b", "http://a", "http://192.168.1.5:8080", "http://127.0.0.1.evil.example"} {
		if _, err := New(bad, Access{}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for _, zone := range []string{"https://[fe80::1%eth0]:8080", "[fe80::1%25eth0]:8080", "https://[fe80::1%25eth0]:8080/page"} {
		if _, err := New(zone, Access{}); err == nil || !strings.Contains(err.Error(), `"https://[fe80::1%25eth0]:8080", with %25 before the zone`) {
			t.Errorf("%q: %v", zone, err)
		}
	}
	if c, err := New("https://a:1/", Access{}); err != nil || c.base != "https://a:1" {
		t.Errorf("a good address gave %+v, %v", c, err)
	}
}
