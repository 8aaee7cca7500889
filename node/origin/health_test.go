package origin

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"bramble/node/config"
)

// startMoodyOrigin starts an origin with pages that fail in each way. While it is sick, all pages fail as
// the named one does, HEAD of / too.
func startMoodyOrigin(t *testing.T) (url string, heads *atomic.Int64, sick *atomic.Value) {
	t.Helper()
	heads, sick = new(atomic.Int64), new(atomic.Value)
	sick.Store("")
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if mood := sick.Load().(string); mood != "" {
			path = mood
		} else if r.Method == http.MethodHead {
			heads.Add(1)
		}
		switch path {
		case "/none", "/malformed", "/cut":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, map[string]string{"/malformed": "HTTP/1.1 200 OK\r\nNo Colon\r\n\r\n", "/cut": "HTTP/1.1 200 OK\r\nContent-Le"}[path])
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
		case "/503":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(origin.Close)
	return origin.URL, heads, sick
}

// One page that fails says nothing about the others, however often a visitor asks for it.
func TestOneBadPageIsNoFaultOfTheOrigin(t *testing.T) {
	url, heads, _ := startMoodyOrigin(t)
	s := newSet(t, func(c *config.Config) { c.Origin.URL = url })
	run(t, s)
	h := s.servers[0].health
	for range 40 {
		for _, path := range []string{"/none", "/malformed", "/cut", "/503", "/500"} {
			ask(t, s, path)
			if down := s.Down(); len(down) != 0 {
				t.Fatalf("after %s it counts as down: %v, although HEAD / is answered", path, down)
			}
		}
		if status, _, err := ask(t, s, "/page"); status != http.StatusOK {
			t.Fatalf("another page: %d, %v", status, err)
		}
	}
	ask(t, s, "/none")
	eventually(t, "a probe to end the suspicion", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return !h.suspect && heads.Load() > 0
	})
	if down := s.Down(); len(down) != 0 || heads.Load() > 100 {
		t.Errorf("down: %v; 200 failures caused %d probes", down, heads.Load())
	}
}

// An origin that answers no page and no HEAD of / properly is down. If it reacts, it is asked
// all the same.
func TestAnOriginThatOnlyFailsIsDown(t *testing.T) {
	for _, mood := range []string{"/none", "/malformed", "/cut", "/503"} {
		t.Run(mood[1:], func(t *testing.T) {
			url, _, sick := startMoodyOrigin(t)
			s := newSet(t, func(c *config.Config) { c.Origin.URL = url })
			run(t, s)
			sick.Store(mood)
			ask(t, s, "/page")
			eventually(t, "the origin to count as down", func() bool { return len(s.Down()) == 1 })
			asked := s.Requests()
			if ask(t, s, "/page"); s.Requests() != asked+1 {
				t.Error("an origin that reacts gets no request")
			}
			sick.Store("")
			if mood == "/none" { // without a request a probe finds out
				eventually(t, "the origin to be up", func() bool { return len(s.Down()) == 0 })
			}
			if status, _, err := ask(t, s, "/page"); status != http.StatusOK || len(s.Down()) != 0 {
				t.Errorf("well again: %d, %v, down: %v", status, err, s.Down())
			}
		})
	}
}
