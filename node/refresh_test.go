//go:build unix

package node_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// firstLifetime is how long the first reply for each path stays fresh: long enough to request a path
// twice from every board.
const firstLifetime = 4 * time.Second

// numberedOrigin is an origin that numbers its replies to each path. The first is fresh for
// firstLifetime and usable stale while it is refreshed, the others outlast the test; those
// under /tag have validators.
func numberedOrigin(t *testing.T) (url string, asked func(path string) int) {
	var mu sync.Mutex // guards n
	n := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		n[r.URL.Path]++
		lifetime := time.Hour
		if n[r.URL.Path] == 1 {
			lifetime = firstLifetime
		}
		w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d, stale-while-revalidate=60", lifetime/time.Second))
		if r.URL.Path[:4] == "/tag" {
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n[r.URL.Path]))
		}
		fmt.Fprintf(w, "reply %d", n[r.URL.Path])
	}))
	t.Cleanup(s.Close)
	return s.URL, func(path string) int {
		mu.Lock()
		defer mu.Unlock()
		return n[path]
	}
}

// The first request after a page's lifetime, to any board, refreshes it for all boards
// (RFC 5861 §3) with one request to the origin, as one cache would, wherever there are
// old copies.
func TestOneStaleReplyRefreshesThePageForTheRack(t *testing.T) {
	runBeside(t)
	const boards = 5
	url, asked := numberedOrigin(t)
	r := startRack(t, boards, patientPeers()+fmt.Sprintf("[origin]\nurl = %q\n", url))
	c := keepAliveClient(t)
	get := func(b *process, path string) string {
		t.Helper()
		got, err := fetch(c, b.http+path)
		if err != nil || got.status != http.StatusOK {
			t.Fatalf("%s: %d, %v", b.name, got.status, err)
		}
		return got.body
	}
	var paths []string
	for i := range boards {
		paths = append(paths, fmt.Sprintf("/tag/%d", i), fmt.Sprintf("/plain/%d", i))
	}
	for _, path := range paths {
		for range 2 { // so that every board has a copy
			for _, b := range r.boards {
				get(b, path)
			}
		}
	}
	time.Sleep(firstLifetime + 100*time.Millisecond)
	for i, path := range paths {
		get(r.boards[i%boards], path)
	}
	for _, path := range paths {
		eventually(t, "the refresh of "+path, func() (bool, string) { return asked(path) > 1, "" })
	}
	for _, path := range paths {
		for _, b := range r.boards {
			eventually(t, b.name+" to serve the second reply to "+path, func() (bool, string) {
				got := get(b, path)
				return got == "reply 2", got
			})
		}
		if n := asked(path); n != 2 {
			t.Errorf("%s cost the origin %d requests, want 2", path, n)
		}
	}
}
