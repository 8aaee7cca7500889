package origin

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"bramble/node/config"
)

// crowdOf fetches a page n times at once.
func crowdOf(t *testing.T, s *Sites, path string, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, _, err := ask(t, s, path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	wg.Wait()
}

// If a server closes an idle connection on a request, the request is sent once
// more, over a new connection, and not over every idle one.
func TestARequestOnAClosedConnectionIsSentOnceMore(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	const kept = 8
	var bad atomic.Int64
	var together sync.WaitGroup // so that each has a connection of its own
	together.Add(kept)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if r.URL.Path == "/bad" {
						bad.Add(1)
						return
					}
					together.Done()
					together.Wait()
					io.WriteString(conn, plain)
				}
			}()
		}
	}()
	s := newSet(t, func(c *config.Config) { c.Origin.URL = "http://" + l.Addr().String() })
	crowdOf(t, s, "/good", kept)
	if _, _, err := ask(t, s, "/bad"); !errors.Is(err, ErrDown) {
		t.Errorf("got %v, want %v", err, ErrDown)
	}
	if n := bad.Load(); n != 2 {
		t.Errorf("the server got %d requests, want 2", n)
	}
}

// The fields that Connection lists besides close are known to the forwarding code.
func TestConnectionFieldSurvivesClose(t *testing.T) {
	addr, _ := answering(t, "HTTP/1.1 200 OK\r\nConnection: X-Mine, close\r\nX-Mine: 1\r\nContent-Length: 4\r\n\r\npage")
	s := newSet(t, func(c *config.Config) { c.Origin.URL = "http://" + addr })
	r, err := s.RewriteForSite(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/"}, Header: http.Header{}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Fetch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Connection"); got != "X-Mine, close" {
		t.Errorf("Connection %q", got)
	}
}
