package origin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// slowClose is a connection whose close returns when it is told to.
type slowClose struct {
	net.Conn
	closed chan struct{}
}

func (c slowClose) Close() error { <-c.closed; return nil }

// The dialer opens no connection before the close of another one has returned, and one
// that it waits for in vain says nothing about the origin's health.
func TestADialWaitsForAClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials, results := 0, 0
		closed := make(chan struct{})
		d := dialer{
			timeout: time.Minute,
			dialConn: func(context.Context, string, string) (net.Conn, error) {
				dials++
				return slowClose{closed: closed}, nil
			},
			onResult:  func(error) { results++ },
			openConns: newPermits(1),
		}
		first, err := d.dialTCP(t.Context(), "tcp", "a:80")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.dialTCP(t.Context(), "tcp", "a:80"); !errors.Is(err, ErrBusy) || dials != 1 || results != 1 {
			t.Errorf("beside an open connection: %v, %d dials, %d results; want ErrBusy, 1 and 1", err, dials, results)
		}
		for range 2 { // only the first close counts
			go first.Close()
		}
		go d.dialTCP(t.Context(), "tcp", "a:80")
		synctest.Wait()
		if dials != 1 {
			t.Error("a connection opened before the close of another had returned")
		}
		close(closed)
		synctest.Wait()
		if dials != 2 || used(d.openConns) != 1 {
			t.Errorf("after the close: %d dials, %d open; want 2 and 1", dials, used(d.openConns))
		}
		d.dialConn = func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
		d.openConns.SetLimit(2)
		if _, err := d.dialTCP(t.Context(), "tcp", "a:80"); !errors.Is(err, io.EOF) || used(d.openConns) != 1 {
			t.Errorf("a dial that failed: %v, %d open; want EOF and 1", err, used(d.openConns))
		}
	})
}

// A request or a probe that finds all connections open fails as busy: that is no fault
// of the origin.
func TestOpenConnectionsAreNoFaultOfTheOrigin(t *testing.T) {
	s := newSet(t, func(c *config.Config) {
		c.Origin.URL, c.Origin.MaxConcurrent, c.Origin.ConnectTimeout = "http://192.0.2.1", 1, config.Duration(time.Millisecond)
	})
	server := s.servers[0]
	if err := server.dialer.openConns.acquire(t.Context(), time.Minute, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ask(t, s, "/"); !errors.Is(err, ErrBusy) || errors.Is(err, ErrDown) {
		t.Errorf("a request: %v, want ErrBusy", err)
	}
	if err := server.probe(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("a probe: %v, want ErrBusy", err)
	}
	if len(s.Down()) != 0 || s.Failures() != 1 || used(server.permits) != 0 {
		t.Errorf("down: %v, %d failures, %d permits in use; want none, 1 and 0", s.Down(), s.Failures(), used(server.permits))
	}
}
