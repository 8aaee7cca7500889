//go:build unix

package node_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
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
	runBeside(t)
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
		req, err := http.NewRequest([]string{"DELETE", "POST", "PUT", "PATCH"}[round%4], through.http+path, nil)
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
	runBeside(t)
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

// A page stays as a stand-in when an unsafe request has made it out of date: it is confirmed by a 304,
// and it is there when the origin fails. A site may switch invalidation off.
func TestInvalidatedPageStaysAsStandIn(t *testing.T) {
	runBeside(t)
	var down atomic.Bool
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=600")
		w.Header().Set("ETag", `"1"`)
		switch {
		case down.Load() && r.Method == http.MethodGet:
			w.WriteHeader(http.StatusBadGateway)
		case r.Header.Get("If-None-Match") == `"1"`:
			w.WriteHeader(http.StatusNotModified)
		default:
			fmt.Fprint(w, "page")
		}
	}))
	defer origin.Close()
	for _, tt := range []struct {
		more, after, failed string
	}{
		{"", "fwd=stale; fwd-status=304", "hit"},
		{"invalidate = false\n", "hit", "hit"},
	} {
		b := startRack(t, 1, fmt.Sprintf("[origin]\nurl = %q\n%s", origin.URL, tt.more)).boards[0]
		change := func() {
			resp, err := client().Post(b.http+"/p", "text/plain", strings.NewReader("x"))
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			resp.Body.Close()
		}
		b.get("/p")
		change()
		if got := b.get("/p"); got.body != "page" || !strings.Contains(got.header.Get("Cache-Status"), tt.after) {
			t.Errorf("%q: after the change %q, %v; want %s", tt.more, got.body, got.header, tt.after)
		}
		change()
		down.Store(true)
		if got := b.get("/p"); got.status != http.StatusOK || got.body != "page" {
			t.Errorf("%q: without the origin %d %q, want the stand-in", tt.more, got.status, got.body)
		}
		down.Store(false)
	}
}

// What a client says about itself as a proxy would, and methods that no site allows, do not reach the
// origin, on any path through a board: a loan (GET), a handoff (POST), https with HTTP/1.1 and with HTTP/2.
func TestOriginBelievesNoClient(t *testing.T) {
	var seen sync.Map // path → fields of the request
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Method+r.URL.Path, r.Header.Clone())
		w.Header().Set("Cache-Control", "no-store")
	}))
	defer origin.Close()
	r, addrs := secureRack(t, 1, fmt.Sprintf("[origin]\nurl = %q\nmethods = [\"PROPFIND\"]\n", origin.URL))
	r.startAll()
	pool := x509.NewCertPool()
	pool.AddCert(servedCertificate(t, addrs[0], "localhost"))
	cfg := &tls.Config{RootCAs: pool}
	for name, c := range map[string]struct {
		client *http.Client
		base   string
	}{
		"http":   {client(), r.boards[0].http},
		"https":  {tlsClient(t, addrs[0], cfg.Clone(), false), "https://localhost"},
		"http/2": {tlsClient(t, addrs[0], cfg.Clone(), true), "https://localhost"},
	} {
		for method, want := range map[string]int{"GET": 200, "POST": 200, "DELETE": 200, "PROPFIND": 200, "FOO": 501, "LOCK": 501, "TRACE": 405} {
			path := "/" + strings.ReplaceAll(name, "/", "")
			req, err := http.NewRequest(method, c.base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Language", "en")
			for _, field := range []string{"Remote-User", "Remote_user", "X-Remote-User", "Ssl-Client-Verify", "Ssl_client_verify", "X-Client-Cert", "Client-Cert",
				"X-Orig-Url", "X-Original-Url", "X-Http-Method-Override", "Cf-Connecting-Ip", "Cloudfront-Viewer-Address", "Fastly-Client-Ip",
				"True-Client-Ip", "X-Real-Ip", "X-Forwarded-For", "X_forwarded_for", "Proxy", "X-Accel-Redirect"} {
				req.Header[field] = []string{"admin"}
			}
			got, err := send(c.client, req)
			if err != nil || got.status != want {
				t.Errorf("%s %s: %d, %v; want %d", name, method, got.status, err, want)
			}
			fields, reached := seen.Load(method + path)
			if reached != (want == 200) {
				t.Errorf("%s %s reached the origin: %v", name, method, reached)
			}
			if h, _ := fields.(http.Header); reached && (h.Get("Accept-Language") != "en" || strings.Contains(fmt.Sprint(h), "admin")) {
				t.Errorf("%s %s: the origin got %v", name, method, h)
			}
		}
	}
}

// An attack on readers: a client changes a page twice a second whose origin takes a second. With -v the
// test logs what readers wait; it compares only how often the origin was asked.
func TestReadersOfAPageThatIsChangedAllTheTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const quiet = 3 * time.Second
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			asked.Add(1)
			time.Sleep(time.Second)
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "page")
	}))
	defer origin.Close()
	r := startRack(t, 3, fmt.Sprintf("[origin]\nurl = %q\n", origin.URL))
	c := keepAliveClient(t)
	// read asks each board for the page every 50 ms and returns how long each reply took, sorted.
	read := func(d time.Duration) (waits []time.Duration) {
		var mu sync.Mutex
		var readers sync.WaitGroup
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			for _, b := range r.boards {
				readers.Go(func() {
					began := time.Now()
					got, err := fetch(c, b.http+"/slow")
					took := time.Since(began)
					if err != nil || got.status != http.StatusOK {
						t.Errorf("%s: %d, %v", b.name, got.status, err)
					}
					mu.Lock()
					defer mu.Unlock()
					waits = append(waits, took)
				})
			}
		}
		readers.Wait()
		slices.Sort(waits)
		return waits
	}
	read(2 * time.Second) // so that the page is stored
	before := read(quiet)
	for method, attack := range map[string]time.Duration{"FOO": 4 * time.Second, "POST": 24 * time.Second} {
		asked.Store(0)
		ctx, stop := context.WithCancel(t.Context())
		var attackers sync.WaitGroup
		attackers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if req, err := http.NewRequest(method, r.boards[n%len(r.boards)].http+"/slow", nil); err == nil {
					send(c, req)
				}
				time.Sleep(500 * time.Millisecond)
			}
		})
		began := time.Now()
		after := read(attack)
		took := time.Since(began)
		stop()
		attackers.Wait()
		t.Logf("%s: readers' median %v, 90th percentile %v (quiet: %v, %v); the origin was asked %d times", method,
			after[len(after)/2], after[len(after)*9/10], before[len(before)/2], before[len(before)*9/10], asked.Load())
		// An unknown method changes nothing. At most three changes in ten seconds count; each may
		// cost a fetch before and one after.
		most := 6 * int64(took/(10*time.Second)+2)
		if method == "FOO" {
			most = 0
		}
		if asked.Load() > most {
			t.Errorf("%s: the origin was asked %d times in %v, want at most %d", method, asked.Load(), took, most)
		}
	}
}

// A hostile origin of one site can neither purge nor change the pages of another, nor give a visitor what
// was meant for one client, nor make a board hold more than its bounds.
func TestHostileOriginHarmsNoOtherSite(t *testing.T) {
	runBeside(t)
	var cookies, asked atomic.Int64
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Surrogate-Key", "page")
		fmt.Fprint(w, "good")
	}))
	defer good.Close()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=60")
		h.Set("Bramble-Refused", "not stored")
		switch name := r.URL.Query().Get("names"); {
		case name != "":
			h.Set("Location", name)
			h.Set("Content-Location", name)
			fmt.Fprint(w, "evil")
		case r.URL.Path == "/tags":
			for range 100 {
				h.Add("Surrogate-Key", strings.Repeat("page ", 100)+strings.Repeat("x", 500))
			}
			fmt.Fprint(w, "tags")
		case r.URL.Path == "/cookie":
			h.Set("Set-Cookie", fmt.Sprintf("session=%d", cookies.Add(1)))
			fmt.Fprint(w, "cookie")
		case r.URL.Path == "/endless":
			for chunk := strings.Repeat("x", 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write([]byte(chunk)); err != nil {
					return
				}
			}
		default:
			fmt.Fprint(w, "evil")
		}
	}))
	defer evil.Close()
	r := startRack(t, 2, fmt.Sprintf("[[site]]\nhost = \"good.example\"\nurl = %q\n[[site]]\nhost = \"evil.example\"\nurl = %q\n", good.URL, evil.URL))
	do := func(b *process, method, host, target string) page {
		t.Helper()
		req, err := http.NewRequest(method, b.http+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		got, err := send(client(), req)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	wantGood := func(after string) {
		t.Helper()
		for _, b := range r.boards {
			if got := do(b, "GET", "good.example", "/p"); got.body != "good" || asked.Load() != 1 {
				t.Errorf("after %s %s serves %q, and its origin was asked %d times", after, b.name, got.body, asked.Load())
			}
		}
	}
	wantGood("nothing")
	for _, name := range []string{"http://good.example/p", "//good.example/p", "http://good.example:80/p", "http://GOOD.example/p", "https://good.example/p",
		"http://evil.example@good.example/p", `\\good.example/p`, "http:/p", "/../good.example/p"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "GET"} {
			if got := do(r.boards[0], method, "evil.example", "/x?names="+url.QueryEscape(name)); got.status != http.StatusOK || got.body != "evil" {
				t.Errorf("%s %s: %d %q", method, name, got.status, got.body)
			}
			wantGood(method + " " + name)
		}
	}
	if got := do(r.boards[0], "GET", "evil.example", "/tags"); got.status != http.StatusBadGateway && got.body != "tags" {
		t.Errorf("tags: %d %q", got.status, got.body)
	}
	seen := map[string]bool{}
	for range 3 {
		for _, b := range r.boards {
			if c := do(b, "GET", "evil.example", "/cookie").header.Get("Set-Cookie"); c != "" && seen[c] {
				t.Errorf("two visitors got %s", c)
			} else {
				seen[c] = true
			}
		}
	}
	for _, b := range r.boards { // visitors of an endless page who leave after a while
		for range 8 {
			req, err := http.NewRequest("GET", b.http+"/endless", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "evil.example"
			resp, err := client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			io.CopyN(io.Discard, resp.Body, 4<<20)
			resp.Body.Close()
		}
	}
	wantGood("endless pages")
}
