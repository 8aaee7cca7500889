//go:build unix

package node_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/node/console"
)

// getAs requests a page of a board under a host name, with fields "Name: value".
func (p *process) getAs(host, path string, fields ...string) page {
	p.rack.t.Helper()
	r, err := http.NewRequest(http.MethodGet, p.http+path, nil)
	if err != nil {
		p.rack.t.Fatal(err)
	}
	r.Host = host
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	got, err := send(client(), r)
	if err != nil {
		p.rack.t.Fatalf("%s: %v", p.name, err)
	}
	return got
}

// sendRaw sends bytes to a board and reads one reply.
func (p *process) sendRaw(text string) page {
	p.rack.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
	if err != nil {
		p.rack.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		p.rack.t.Fatal(err)
	}
	io.WriteString(conn, text)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		p.rack.t.Fatalf("%s: %q: %v", p.name, text, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.rack.t.Fatalf("%s: %q: %v", p.name, text, err)
	}
	return page{resp.StatusCode, resp.Header, string(body)}
}

// clientEnds returns the connections to a port of 127.0.0.1 that their clients have open,
// by the client's address. A client's end is closed when its close returns; the server
// learns that later, and possibly only after the client's next connection.
func clientEnds(t *testing.T, port int) map[string]bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil && runtime.GOOS == "linux" {
		t.Error(err)
	}
	open := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		// proc_net_tcp: number, own address, other address, state (01 = established)
		if f := strings.Fields(line); len(f) > 3 && f[2] == fmt.Sprintf("0100007F:%04X", port) && f[3] == "01" {
			open[f[1]] = true
		}
	}
	return open
}

// countClientEnds counts the connections to a port that were open at one moment: the table
// is not read in one moment, but what two readings have was open between them.
func countClientEnds(t *testing.T, port int) (n int64) {
	first, second := clientEnds(t, port), clientEnds(t, port)
	for end := range first {
		if second[end] {
			n++
		}
	}
	return n
}

// An origin with max_concurrent = 8 never sees nine requests or connections at once,
// whichever boards a crowd uses, even with more boards than permits.
func TestMaxConcurrentHoldsForTheRack(t *testing.T) {
	runBeside(t)
	for _, size := range []int{3, 10} {
		t.Run(fmt.Sprintf("%d boards", size), func(t *testing.T) {
			const bound = 8
			// So few pages that no board needs all of its cache's fetch permits: it waits only 5 s for one.
			pages := 12 * size
			var now, most, mostConns atomic.Int64
			raise := func(most *atomic.Int64, n int64) {
				for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
				}
			}
			full := make(chan struct{})
			fill := sync.OnceFunc(func() { close(full) })
			origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := now.Add(1)
				raise(&most, n)
				defer now.Add(-1)
				io.Copy(io.Discard, r.Body)
				if n == bound {
					fill()
				}
				select { // the first requests wait until every permit is in use
				case <-full:
				case <-time.After(patience / 2):
				}
				time.Sleep(20 * time.Millisecond)
				w.Header().Set("Cache-Control", "max-age=60")
				fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
			}))
			origin.Config.ConnState = func(c net.Conn, state http.ConnState) {
				if state == http.StateNew {
					raise(&mostConns, countClientEnds(t, c.LocalAddr().(*net.TCPAddr).Port))
				}
			}
			origin.Start()
			t.Cleanup(origin.Close)
			// The timeouts are for ten boards on a busy machine: nothing but patience may end a
			// request, and a board that sends it by way of another first needs a handshake.
			r := startRack(t, size, fmt.Sprintf("peer_timeout = %q\n[origin]\nurl = %q\nmax_concurrent = %d\nqueue_timeout = %[1]q\nreply_timeout = %[1]q\n", patience, origin.URL, bound))
			var clients sync.WaitGroup
			for n := range pages {
				clients.Go(func() {
					path := fmt.Sprintf("/p/%d", n)
					got, err := fetch(client(), r.boards[n%size].http+path)
					if err != nil || got.status != http.StatusOK || got.body != "GET "+path {
						t.Errorf("%s: %d %q, %v", path, got.status, got.body, err)
					}
				})
			}
			for _, b := range r.boards { // a board without a permit sends it by way of another
				clients.Go(func() {
					resp, err := client().Post(b.http+"/order", "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
					if err != nil {
						t.Errorf("%s: post: %v", b.name, err)
						return
					}
					defer resp.Body.Close()
					if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "POST /order" {
						t.Errorf("%s: post: %q, %v", b.name, body, err)
					}
				})
			}
			clients.Wait()
			if n := most.Load(); n != bound {
				t.Errorf("the origin saw %d requests at once, want %d", n, bound)
			}
			if n := mostConns.Load(); n > bound || n == 0 && runtime.GOOS == "linux" {
				t.Errorf("the boards had %d connections to the origin at once, want 1 to %d", n, bound)
			}
		})
	}
}

func TestSitesAreSelectedByHost(t *testing.T) {
	runBeside(t)
	serve := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprintf(w, "%s as %s", name, r.Host)
		}))
		t.Cleanup(s.Close)
		return s
	}
	one, other := serve("one"), serve("other")
	r := startRack(t, 3, fmt.Sprintf(`[[site]]
host = "one.example"
aliases = ["www.one.example"]
url = %q
[[site]]
host = "other.example"
aliases = ["*.other.example"]
url = %q
`, one.URL, other.URL))
	for range 2 { // from the origins, and from memory
		for _, b := range r.boards {
			for host, want := range map[string]string{
				"one.example":            "one as one.example",
				"WWW.ONE.example.:80":    "one as one.example",
				"other.example:1234":     "other as other.example",
				"a.b.other.example":      "other as other.example",
				"shop.other.example.:80": "other as other.example",
			} {
				if got := b.getAs(host, "/"); got.body != want {
					t.Errorf("%s: %s gets %q, want %q", b.name, host, got.body, want)
				}
			}
			if got := b.getAs("unknown.example", "/"); got.status != http.StatusOK || !strings.Contains(got.body, "<html") {
				t.Errorf("%s: an unknown host gets %d, want the built-in shop", b.name, got.status)
			}
		}
	}
	r.boards[0].purge(`{"url":"http://www.one.example/"}`)
	if hits := r.boards[1].metric("bramble_cache_objects"); hits == 0 {
		t.Error("a purge of one site's page emptied the cache")
	}
}

// No client waits for a dead origin, and the rack notices when it is back.
func TestHangingOriginIsWaitedForOnce(t *testing.T) {
	runBeside(t)
	var hangs atomic.Bool
	var version atomic.Int64
	release := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hangs.Load() {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return
		}
		w.Header().Set("Cache-Control", "max-age=1")
		fmt.Fprintf(w, "version %d", version.Load())
	}))
	t.Cleanup(origin.Close)
	t.Cleanup(func() { close(release) })
	r := startRack(t, 3, fmt.Sprintf("[origin]\nurl = %q\nhealth_path = \"/up\"\nhealth_interval = \"200ms\"\nhealth_timeout = \"500ms\"\nreply_timeout = \"30s\"\n", origin.URL))
	for range 2 {
		crowd(t, r.boards, 3, "/p")
	}
	hangs.Store(true)
	for _, b := range r.boards {
		b.waitFor("that the origin is down", func(s console.RackView) bool {
			return slices.ContainsFunc(s.Boards, func(seen console.BoardView) bool {
				return seen.Name == b.name && slices.Contains(seen.Faults, "origin-down")
			})
		})
	}
	version.Add(1)
	time.Sleep(1100 * time.Millisecond) // past the page's lifetime
	before := 0.0
	for _, b := range r.boards {
		before += b.metric("bramble_origin_requests_total")
	}
	for _, b := range r.boards {
		if got := b.get("/p"); got.status != http.StatusOK || got.body != "version 0" {
			t.Errorf("%s answers %d %q, want the stale page", b.name, got.status, got.body)
		}
		if got := b.get("/other"); got.status != http.StatusGatewayTimeout && got.status != http.StatusBadGateway {
			t.Errorf("%s answers %d for a page that it never had", b.name, got.status)
		}
	}
	after := 0.0
	for _, b := range r.boards {
		after += b.metric("bramble_origin_requests_total")
	}
	if after != before {
		t.Errorf("an origin that is down got %v requests", after-before)
	}
	hangs.Store(false)
	for _, b := range r.boards {
		eventually(t, b.name+" to have the new page", func() (bool, string) {
			got := b.get("/p")
			return got.body == "version 1", got.body
		})
	}
}

// No field of one client's request changes the replies to others.
func TestRequestFieldsDoNotPoisonTheCache(t *testing.T) {
	runBeside(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s%s", r.Method, r.Host, r.URL, body)
		for name, values := range r.Header {
			if name != "Via" && name != "Accept-Encoding" && name != "User-Agent" {
				fmt.Fprintf(w, " %s=%s", name, values)
			}
		}
	}))
	t.Cleanup(origin.Close)
	host := strings.TrimPrefix(origin.URL, "http://")
	r := startRack(t, 3, fmt.Sprintf("[origin]\nurl = %q\n", origin.URL))
	attacks := []string{
		"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: evil", "X-Forwarded-Prefix: /evil", "X-Forwarded-Port: 666",
		"Forwarded: host=evil", "X-Host: evil", "X-Original-URL: /evil", "X-Rewrite-URL: /evil", "X_Forwarded_Host: evil",
		"X-HTTP-Method-Override: POST", "X-Real-IP: 6.6.6.6", "Expect: 100-continue", "Upgrade: evil", "Max-Forwards: 1",
	}
	for i, attack := range attacks {
		path := fmt.Sprintf("/p/%d?q=%%2F", i)
		first := r.boards[i%3].getAs("evil.example:666", path, attack)
		for _, b := range r.boards {
			got := b.get(path)
			want := "GET " + host + " " + path
			if got.status != http.StatusOK || !strings.HasPrefix(got.body, want) || strings.Contains(strings.ToLower(got.body), "evil") ||
				strings.Contains(got.body, "6.6.6.6") || strings.Contains(got.body, "666") {
				t.Errorf("after %q (which got %q) %s serves others %d %q, want %q", attack, first.body, b.name, got.status, got.body, want)
			}
		}
	}
	// A GET with a body is between its client and the origin.
	fat := r.boards[0].sendRaw("GET /fat HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil")
	if fat.status != http.StatusOK || !strings.Contains(fat.body, "evil") {
		t.Errorf("a GET with a body: %d %q", fat.status, fat.body)
	}
	for _, b := range r.boards {
		if got := b.get("/fat"); got.status != http.StatusOK || strings.Contains(got.body, "evil") || strings.Contains(got.body, "Content-Length=[4]") {
			t.Errorf("%s serves others what a GET with a body was answered: %q", b.name, got.body)
		}
	}
}

func TestInvalidRequestsAreRejected(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	r := startRack(t, 1, originConfig(origin, ""))
	many := strings.Repeat("X: y\r\n", 200)
	for text, want := range map[string]int{
		"TRACE / HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n":                          http.StatusMethodNotAllowed,
		"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n":                                  http.StatusMethodNotAllowed,
		"GET / HTTP/1.1\r\nHost: a\r\n" + many + "\r\n":                                  http.StatusRequestHeaderFieldsTooLarge,
		"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n":                                            http.StatusBadRequest,
		"GET / HTTP/1.1\r\n\r\n":                                                         http.StatusBadRequest,
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":                                   http.StatusBadRequest,
		"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n":                                           http.StatusBadRequest,
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n":                                          http.StatusOK,
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n": http.StatusOK,
	} {
		got := r.boards[0].sendRaw(text)
		if got.status != want || strings.Contains(got.body, "secret") {
			t.Errorf("%.60q: %d %q, want %d", text, got.status, got.body, want)
		}
	}
}

func TestRackInFrontOfARack(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	inner := startRack(t, 1, originConfig(origin, ""))
	outer := startRack(t, 1, fmt.Sprintf("[origin]\nurl = %q\n", inner.boards[0].http))
	if got := outer.boards[0].get("/p"); got.status != http.StatusOK || got.body != "page /p version 0" {
		t.Errorf("through two racks: %d %q", got.status, got.body)
	}
	ring := newRack(t, 2, "")
	ring.extra = fmt.Sprintf("[origin]\nurl = %q\n", ring.boards[1].http)
	for i := range ring.boards {
		ring.boards[i] = ring.board(i, ring.key)
	}
	for _, b := range ring.boards {
		b.start()
	}
	for _, b := range ring.boards {
		b.waitReady()
	}
	for _, b := range ring.boards {
		if got := b.get("/p"); got.status != http.StatusLoopDetected {
			t.Errorf("a rack that is its own origin: %s answers %d %q", b.name, got.status, got.body)
		}
	}
}

// A soft purge makes boards revalidate pages; while the origin is down they stay.
func TestSoftPurge(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	r := startRack(t, 3, originConfig(origin, ""))
	for range 2 {
		crowd(t, r.boards, 4, "/p")
	}
	origin.version.Add(1)
	r.boards[0].purgeOn(`{"url":"/p","soft":true}`, "board-1", "board-2", "board-3")
	for _, b := range r.boards {
		if got := b.get("/p"); got.body != "page /p version 1" {
			t.Errorf("%s serves %q, want the new version", b.name, got.body)
		}
	}
	crowd(t, r.boards, 4, "/p")
	origin.CloseClientConnections()
	origin.Close()
	r.boards[1].purge(`{"tag":"all-pages","soft":true}`)
	for _, b := range r.boards {
		if got := b.get("/p"); got.status != http.StatusOK || got.body != "page /p version 1" {
			t.Errorf("without its origin %s answers %d %q, want the page that was purged softly", b.name, got.status, got.body)
		}
	}
}
