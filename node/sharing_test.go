//go:build unix

package node_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// privateOrigin answers every request with a different reply, with the fields that the
// request names, after a delay in which a crowd gathers.
func privateOrigin(t *testing.T) *countingOrigin {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &countingOrigin{}
	o.serveWith(t, listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := o.asked.Add(1)
		time.Sleep(200 * time.Millisecond)
		for line := range strings.SplitSeq(r.Header.Get("X-Test-Fields"), "|") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				w.Header().Add(name, value)
			}
		}
		fmt.Fprintf(w, "reply %d for %q", n, r.Header.Get("Authorization"))
	}))
	return o
}

// A reply that is not shareable goes only to the client that requested it, however many
// wait for the same page, on any board, twice in a row.
func TestPrivateRepliesAreNotShared(t *testing.T) {
	runBeside(t)
	origin := privateOrigin(t)
	r := startRack(t, 3, originConfig(origin, "max_concurrent = 300\n"))
	cases := []struct {
		name, fields string
		authorized   bool
	}{
		{"no-store", "Cache-Control: no-store", false},
		{"private", "Cache-Control: private, max-age=60", false},
		{"no-cache", "Cache-Control: no-cache", false},
		{"max-age=0", "Cache-Control: max-age=0", false},
		{"a cookie", "Cache-Control: max-age=60|Set-Cookie: basket=1", false},
		{"Vary: *", "Cache-Control: max-age=60|Vary: *", false},
		{"Authorization", "Cache-Control: max-age=60", true},
	}
	for i, c := range cases {
		for wave := range 2 {
			got := requestAll(r.boards, 10, func(base string, n int) *http.Request {
				req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/private/%d", base, i), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Test-Fields", c.fields)
				if c.authorized {
					req.Header.Set("Authorization", fmt.Sprintf("Bearer %d", n))
				}
				return req
			})
			seen := map[string]int{}
			for _, p := range got {
				if p.status != http.StatusOK {
					t.Fatalf("%s: a client got %d: %s", c.name, p.status, p.body)
				}
				seen[p.body]++
			}
			if len(seen) != len(got) {
				t.Errorf("%s, wave %d: %d clients got %d different replies; each must have its own", c.name, wave, len(got), len(seen))
			}
		}
	}
}

// A reply to a request with credentials is not for requests without.
func TestAuthorizedRepliesAreNotShared(t *testing.T) {
	runBeside(t)
	origin := privateOrigin(t)
	r := startRack(t, 3, originConfig(origin, ""))
	for _, b := range r.boards {
		req, err := http.NewRequest(http.MethodGet, b.http+"/account", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Test-Fields", "Cache-Control: max-age=60")
		req.Header.Set("Authorization", "Bearer secret")
		if got, err := send(client(), req); err != nil || !strings.Contains(got.body, "secret") {
			t.Fatalf("%s: %q, %v", b.name, got.body, err)
		}
	}
	for _, b := range r.boards {
		if got := b.get("/account"); strings.Contains(got.body, "secret") {
			t.Errorf("%s gave a client without credentials %q", b.name, got.body)
		}
	}
}

// requestAll sends n requests at once to each board.
func requestAll(boards []*process, n int, request func(base string, n int) *http.Request) []page {
	var (
		mu    sync.Mutex // guards pages
		pages []page
		wg    sync.WaitGroup
	)
	ready := make(chan struct{})
	for i, b := range boards {
		for k := range n {
			req := request(b.http, i*n+k)
			wg.Go(func() {
				<-ready
				got, err := send(client(), req)
				if err != nil {
					got.body = err.Error()
				}
				mu.Lock()
				defer mu.Unlock()
				pages = append(pages, got)
			})
		}
	}
	close(ready)
	wg.Wait()
	return pages
}
