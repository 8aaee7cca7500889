//go:build unix

package node_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// changingOrigin is an origin whose pages all change with each unsafe request; its reply
// names two more of them.
func changingOrigin(t *testing.T) (url string) {
	var version atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			version.Add(1)
			w.Header().Set("Location", r.URL.Path+"/made")
			w.Header().Set("Content-Location", r.URL.Path+"/shown")
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "version %d", version.Load())
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// keepAliveClient has a persistent connection.
func keepAliveClient(t *testing.T) *http.Client {
	c := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 10}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// After the reply to an unsafe request no board serves the old page, even at once (RFC
// 9111 §4.4): a rack is one cache.
func TestUnsafeRequestInvalidatesOnAllBoards(t *testing.T) {
	const boards, rounds = 5, 40
	r := startRack(t, boards, fmt.Sprintf("[origin]\nurl = %q\n", changingOrigin(t)))
	c := keepAliveClient(t)
	for round := range rounds {
		path := fmt.Sprintf("/u/%d", round)
		all := []string{path, path + "/made", path + "/shown"}
		for range 2 { // so that every board has a copy
			for _, b := range r.boards {
				for _, page := range all {
					if _, err := fetch(c, b.http+page); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		through := r.boards[round%boards]
		req, err := http.NewRequest([]string{"DELETE", "POST", "PUT", "FROB"}[round%4], through.http+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := send(c, req)
		if err != nil || changed.status != http.StatusOK {
			t.Fatalf("%s: %d, %v", req.Method, changed.status, err)
		}
		var asking sync.WaitGroup
		for _, b := range r.boards {
			for _, page := range all {
				asking.Go(func() {
					if got, err := fetch(c, b.http+page); err != nil || got.body != changed.body {
						t.Errorf("after %s %s by way of %s %s serves %s as %q, want %q (%s), %v", req.Method, path, through.name,
							b.name, page, got.body, changed.body, got.header.Get("Cache-Status"), err)
					}
				})
			}
		}
		asking.Wait()
	}
}

// The reply waits for a board that is busy for a moment.
func TestUnsafeRequestWaitsForBusyBoard(t *testing.T) {
	const busy = 80 * time.Millisecond
	r := startRack(t, 3, fmt.Sprintf("[origin]\nurl = %q\n", changingOrigin(t)))
	c := keepAliveClient(t)
	for range 3 {
		for _, b := range r.boards {
			if _, err := fetch(c, b.http+"/p"); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.boards[1].signal(syscall.SIGSTOP)
	stopped := time.Now()
	time.AfterFunc(busy, func() { _ = r.boards[1].cmd.Process.Signal(syscall.SIGCONT) })
	resp, err := c.Post(r.boards[0].http+"/p", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if took := time.Since(stopped); took < busy {
		t.Errorf("the reply came after %v, when a board still had the old page", took)
	}
	if got, err := fetch(c, r.boards[1].http+"/p"); err != nil || got.body != "version 1" {
		t.Errorf("the board serves %q, %v", got.body, err)
	}
}
