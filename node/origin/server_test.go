package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/node/config"
)

// ask fetches a whole page of the default site.
func ask(t *testing.T, s *Sites, path string) (status int, body string, err error) {
	t.Helper()
	// A client that closes its connection has no say in the origin's.
	r, err := s.RewriteForSite(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: http.Header{}, Close: true})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Fetch(t.Context(), r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// answering starts an origin that answers the n-th request with the n-th text, on
// persistent connections, and counts the connections.
func answering(t *testing.T, replies ...string) (addr string, conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns = new(atomic.Int64)
	var next atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := conn.Read(buf); err != nil {
						return
					}
					n := int(next.Add(1)) - 1
					if n >= len(replies) {
						return
					}
					io.WriteString(conn, replies[n])
				}
			}()
		}
	}()
	return l.Addr().String(), conns
}

const plain = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"

// Bytes after a reply are never taken for the next reply, and a malformed reply
// is distinguished from a broken connection.
func TestRepliesThroughRealConnections(t *testing.T) {
	tests := []struct {
		name    string
		replies []string
		bodies  []string // "" = an error
		kind    error
		conns   int64
	}{
		{"kept connection", []string{plain, plain}, []string{"page", "page"}, nil, 1},
		{"more than was announced", []string{plain + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", plain}, []string{"page", "page"}, nil, 2},
		{"two lengths", []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\npage"}, []string{""}, ErrMalformed, 1},
		{"rubbish", []string{"rubbish\r\n\r\n"}, []string{""}, ErrMalformed, 1},
		{"cut chunk", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage5\r\n"}, []string{""}, ErrMalformed, 1},
		{"closed", nil, []string{""}, ErrDown, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr, conns := answering(t, tt.replies...)
			s := newSet(t, func(c *config.Config) { c.Origin.URL = "http://" + addr })
			for i, want := range tt.bodies {
				_, body, err := ask(t, s, "/")
				if want == "" && !errors.Is(err, tt.kind) || want != "" && (err != nil || body != want) {
					t.Errorf("request %d: %q, %v; want %q, %v", i, body, err, want, tt.kind)
				}
			}
			if n := conns.Load(); n != tt.conns {
				t.Errorf("%d connections, want %d", n, tt.conns)
			}
		})
	}
}

func TestHTTPSIsAsStrict(t *testing.T) {
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\npage")
			conn.Close()
			return
		}
		fmt.Fprint(w, r.Proto)
	}))
	origin.EnableHTTP2 = true
	origin.Config.ErrorLog = log.New(io.Discard, "", 0)
	origin.StartTLS()
	t.Cleanup(origin.Close)
	s := newSet(t, func(c *config.Config) { c.Origin.URL = origin.URL })
	if _, _, err := ask(t, s, "/"); !errors.Is(err, ErrDown) {
		t.Errorf("an untrusted certificate: %v", err)
	}
	s.servers[0].health.markUp()
	s.servers[0].dialer.tls.RootCAs = origin.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if status, body, err := ask(t, s, "/"); status != http.StatusOK || body != "HTTP/1.1" {
		t.Errorf("%d %q, %v", status, body, err)
	}
	if _, _, err := ask(t, s, "/bad"); !errors.Is(err, ErrMalformed) {
		t.Errorf("a malformed reply: %v", err)
	}
}

// gauge is an origin that records its largest number of concurrent requests. It counts
// connections where they are dialled, until their close returns: an origin may accept the
// next one before it notices the close.
type gauge struct {
	*httptest.Server
	now, most       atomic.Int64
	conns, mostOpen atomic.Int64
}

func newGauge(t *testing.T, think time.Duration) *gauge {
	t.Helper()
	g := &gauge{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raise(&g.most, g.now.Add(1))
		defer g.now.Add(-1)
		time.Sleep(think)
		if r.URL.Path == "/last" {
			w.Header().Set("Connection", "close")
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func raise(most *atomic.Int64, n int64) {
	for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
	}
}

// countDials makes a board's connections count.
func (g *gauge) countDials(s *Sites) {
	s.servers[0].dialer.dialConn = func(ctx context.Context, network, addr string) (net.Conn, error) {
		raise(&g.mostOpen, g.conns.Add(1))
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			g.conns.Add(-1)
			return nil, err
		}
		return countedConn{conn, &g.conns}, nil
	}
}

// countedConn is a connection whose close takes a while, as on a busy machine.
type countedConn struct {
	net.Conn
	conns *atomic.Int64
}

func (c countedConn) Close() error {
	time.Sleep(time.Millisecond)
	defer c.conns.Add(-1)
	return c.Conn.Close()
}

// A board never has more connections than permits: not while net/http replaces a
// connection that the origin ends, and not while the permits change.
func TestConnectionsStayWithinThePermits(t *testing.T) {
	g := newGauge(t, time.Millisecond)
	s := newSet(t, func(c *config.Config) {
		c.Origin.URL, c.Origin.MaxConcurrent = g.URL, 4
		c.Origin.ConnectTimeout, c.Origin.QueueTimeout = config.Duration(time.Minute), config.Duration(time.Minute)
	})
	g.countDials(s)
	var crowd sync.WaitGroup
	for i := range 200 {
		crowd.Go(func() {
			if status, _, err := ask(t, s, []string{"/", "/last"}[i%2]); status != http.StatusOK {
				t.Errorf("%d, %v", status, err)
			}
		})
		if i%20 == 0 {
			s.SharePermits("a", rackOf("abcd"[:1+i/20%4], ""), true, time.Now())
		}
	}
	crowd.Wait()
	if n := g.mostOpen.Load(); n > 4 || n == 0 {
		t.Errorf("%d connections at once, want at most 4", n)
	}
	server := s.servers[0]
	if err := server.permits.acquire(t.Context(), time.Minute, false); err != nil {
		t.Fatal(err)
	}
	s.SharePermits("a", rackOf("bcdea", ""), true, time.Now()) // five boards: the last has no permit
	r, err := s.RewriteForSite(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/"}, Header: http.Header{}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.roundTrip(t.Context(), r) // it had its permit before
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	eventually(t, "a board without permits to close its connections", func() bool { return g.conns.Load() == 0 })
}

func TestAnOriginGetsNoMoreThanMaxConcurrent(t *testing.T) {
	g := newGauge(t, 5*time.Millisecond)
	s := newSet(t, func(c *config.Config) { c.Origin.URL, c.Origin.MaxConcurrent = g.URL, 8 })
	g.countDials(s)
	var crowd sync.WaitGroup
	for i := range 100 {
		crowd.Go(func() {
			if status, _, err := ask(t, s, fmt.Sprintf("/%d", i)); status != http.StatusOK {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	crowd.Wait()
	if g.most.Load() != 8 || g.mostOpen.Load() > 8 {
		t.Errorf("%d requests over %d connections at once, want 8 over 8", g.most.Load(), g.mostOpen.Load())
	}
	// Another board comes: this one has half of the places from now on.
	s.SharePermits("a", []RackMember{{"a", true}, {"b", true}}, false, time.Now())
	g.most.Store(0)
	for i := range 50 {
		crowd.Go(func() {
			if status, _, err := ask(t, s, fmt.Sprintf("/%d", i)); status != http.StatusOK {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	crowd.Wait()
	if g.most.Load() != 4 || s.Permits() != 4 {
		t.Errorf("beside another board %d at once of %d permits, want 4", g.most.Load(), s.Permits())
	}
}

func TestPermitsAreTakenLateAndGivenUpAtOnce(t *testing.T) {
	s := newSet(t, func(c *config.Config) { c.Origin.URL, c.Origin.MaxConcurrent = "http://192.0.2.1", 8 })
	one, two := []RackMember{{"a", true}}, []RackMember{{"a", true}, {"b", true}}
	now := time.Now().Add(time.Hour)
	for _, step := range []struct {
		boards []RackMember
		after  time.Duration
		want   int64
	}{
		{two, 0, 4}, {two, RebalanceDelay, 4}, {one, 0, 4}, {one, RebalanceDelay - 1, 4}, {two, 0, 4}, {one, 0, 4},
		{one, RebalanceDelay, 8}, {two, 0, 4},
	} {
		now = now.Add(step.after)
		if s.SharePermits("a", step.boards, false, now); s.Permits() != step.want {
			t.Errorf("of %v after %v: %d permits, want %d", step.boards, step.after, s.Permits(), step.want)
		}
	}
	if holders, _ := s.PermitHolders(&url.URL{Scheme: "http", Host: "192.0.2.1"}); holders != nil {
		t.Errorf("with permits of its own the board would relay through %v", holders)
	}
	ten := []RackMember{}
	for _, c := range "bcdefghija" {
		ten = append(ten, RackMember{string(c), true})
	}
	s.SharePermits("a", ten, false, now)
	if holders, _ := s.PermitHolders(&url.URL{Scheme: "http", Host: "192.0.2.1"}); len(holders) != 8 || s.Permits() != 0 {
		t.Errorf("the tenth board has %d permits, and would relay through %v", s.Permits(), holders)
	}
}

func TestProbeSchedule(t *testing.T) {
	passive, active := probeSchedule{}, probeSchedule{interval: 5 * time.Second}
	if _, any := passive.next(false, false); any {
		t.Error("a healthy server is probed without need")
	}
	if wait, any := passive.next(false, true); !any || wait != 0 {
		t.Errorf("a silent server is probed after %v, %v", wait, any)
	}
	if !passive.recordProbe(false, false, true) {
		t.Error("a server that is silent twice is up")
	}
	for _, want := range []time.Duration{minRetryDelay, 2 * minRetryDelay, maxRetryDelay, maxRetryDelay} {
		if wait, any := passive.next(true, false); !any || wait != want {
			t.Errorf("a server that is down is probed after %v, want %v", wait, want)
		}
		if !passive.recordProbe(false, true, false) {
			t.Error("a server that is down is up without an answer")
		}
	}
	if passive.recordProbe(true, true, false) {
		t.Error("a server that answers is down")
	}
	passive.next(false, false)
	if wait, _ := passive.next(true, false); wait != minRetryDelay {
		t.Errorf("down once more, a server is probed after %v", wait)
	}
	if wait, any := active.next(false, false); !any || wait != 5*time.Second {
		t.Errorf("regular checks come every %v, %v", wait, any)
	}
	if active.recordProbe(false, false, false) || !active.recordProbe(false, false, false) {
		t.Error("a server must fail two checks, no more and no fewer")
	}
}

// run watches the servers for the rest of the test.
func run(t *testing.T, s *Sites) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
}

// eventually waits until holds returns true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func TestADeadServerGetsNoRequestsUntilItIsBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := newSet(t, func(c *config.Config) { c.Origin.URL = "http://" + addr })
	run(t, s)
	for range 3 {
		if _, _, err := ask(t, s, "/"); !errors.Is(err, ErrDown) {
			t.Errorf("a dead server: %v", err)
		}
	}
	if asked := s.Requests(); asked != 1 || s.Failures() != 3 || len(s.Down()) != 1 {
		t.Errorf("%d requests, %d failures, down: %v; want 1, 3 and the server", asked, s.Failures(), s.Down())
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Skipf("somebody took the port: %v", err)
	}
	back := &http.Server{Handler: http.NotFoundHandler()}
	go back.Serve(l)
	t.Cleanup(func() { back.Close() })
	eventually(t, "the server to be found alive", func() bool { return s.servers[0].health.downReason() == nil })
	if status, _, err := ask(t, s, "/"); status != http.StatusNotFound || len(s.Down()) != 0 {
		t.Errorf("back again: %d, %v, down: %v", status, err, s.Down())
	}
}

// One page that hangs says nothing about the others; a server that hangs is down.
func TestSilence(t *testing.T) {
	var hangs atomic.Bool
	release := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" || hangs.Load() {
			<-release
		}
	}))
	t.Cleanup(origin.Close)
	t.Cleanup(func() { close(release) })
	s := newSet(t, func(c *config.Config) {
		c.Origin.URL = origin.URL
		c.Origin.ReplyTimeout, c.Origin.HealthTimeout = config.Duration(100*time.Millisecond), config.Duration(100*time.Millisecond)
	})
	run(t, s)
	h := s.servers[0].health
	if _, _, err := ask(t, s, "/slow"); !errors.Is(err, ErrSlow) {
		t.Errorf("a page that hangs: %v", err)
	}
	eventually(t, "the suspicion to be cleared", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return !h.suspect
	})
	if status, _, err := ask(t, s, "/"); status != http.StatusOK {
		t.Errorf("another page, while one hangs: %d, %v", status, err)
	}
	hangs.Store(true)
	if _, _, err := ask(t, s, "/"); !errors.Is(err, ErrSlow) {
		t.Errorf("a server that hangs: %v", err)
	}
	eventually(t, "the server to count as down", func() bool { return h.downReason() != nil })
	asked := s.Requests()
	if _, _, err := ask(t, s, "/"); !errors.Is(err, ErrSlow) || s.Requests() != asked {
		t.Errorf("a server that is known to hang got a request, or: %v", err)
	}
	hangs.Store(false)
	eventually(t, "the server to be back", func() bool { return h.downReason() == nil })
}

func TestRegularChecks(t *testing.T) {
	var sick atomic.Bool
	var host atomic.Value
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() == "/up?x" {
			host.Store(r.Host)
			if sick.Load() {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}
	}))
	t.Cleanup(origin.Close)
	s := newSet(t, func(c *config.Config) {
		c.Sites = []config.SiteSettings{{Host: "shop.example", Origin: c.Origin}}
		o := &c.Sites[0].Origin
		o.URL, o.HealthPath, o.HealthInterval = origin.URL, "/up?x", config.Duration(20*time.Millisecond)
	})
	run(t, s)
	h := s.servers[0].health
	eventually(t, "a check", func() bool { return host.Load() == "shop.example" })
	sick.Store(true)
	eventually(t, "a sick server to be found out", func() bool { return errors.Is(h.downReason(), ErrDown) })
	sick.Store(false)
	eventually(t, "the server to be well", func() bool { return h.downReason() == nil })
}
