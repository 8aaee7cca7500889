package front

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/cache"
	"bramble/node/config"
	"bramble/node/front/http1"
	"bramble/node/front/http1/http1test"
	"bramble/node/origin"
)

// testSite is a small board: sites, a cache, and the two ways from a request to a stored
// page: that of net/http, as node has it, and the fast path.
type testSite struct {
	sites  *origin.Sites
	cache  *cache.Cache
	misses atomic.Int64 // requests that went to the origin
	calls  atomic.Int64 // requests that net/http read

	names atomic.Pointer[map[string]string]
}

const testHost = http1test.Host

// page is the origin: its reply depends on the path alone, and on Accept-Encoding if Vary
// names it.
func page(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Date", "Wed, 29 Feb 2012 06:00:00 GMT")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=600")
	body := "<p>" + r.URL.Path
	switch {
	case r.URL.Path == "/":
		h.Set("Etag", `"front"`)
		h.Set("Last-Modified", "Tue, 28 Feb 2012 06:00:00 GMT")
		h.Set("Content-Language", "en")
		body = strings.Repeat("0123456789abcdef", 256)
	case r.URL.Path == "/gz":
		h.Set("Vary", "Accept-Encoding")
		h.Set("Etag", `W/"both"`)
		if r.Header.Get("Accept-Encoding") == "gzip" {
			h.Set("Content-Encoding", "gzip")
			body = "not really gzip"
		}
	case r.URL.Path == "/lang":
		h.Set("Vary", "Accept-Language")
	case r.URL.Path == "/old":
		h.Set("Last-Modified", "Tue, 28 Feb 2012 06:00:00 GMT")
	case r.URL.Path == "/via":
		h.Set("Via", "1.1 elsewhere")
		h.Set("Cache-Status", "elsewhere; fwd=miss")
		h.Add("X-Two", "1")
		h.Add("X-Two", "2")
	case r.URL.Path == "/notype":
		h["Content-Type"] = nil
	case r.URL.Path == "/big":
		body = strings.Repeat("0123456789abcdef", 4<<10)
	case r.URL.Path == "/other":
		body = strings.Repeat("fedcba9876543210", 250)
	case r.URL.Path == "/empty":
		body = ""
	case r.URL.Path == "/gone":
		w.WriteHeader(http.StatusGone)
	case r.URL.Path == "/moved":
		h.Set("Location", "/")
		w.WriteHeader(http.StatusMovedPermanently)
	case strings.HasPrefix(r.URL.Path, "/never"):
		h.Set("Cache-Control", "no-store")
	}
	io.WriteString(w, body)
}

// stored returns the pages that every testSite has in memory.
func stored() []string {
	return []string{"/", "/gz", "/lang", "/old", "/via", "/notype", "/empty", "/gone", "/other", "/moved", "/a%2Fb", "/q?x=1&y=%20", "/e?"}
}

// newTestSite makes a testSite whose clock stands at 17 s after its pages were made.
func newTestSite(t testing.TB) *testSite {
	t.Helper()
	now := time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)
	later := now.Add(17 * time.Second)
	var late atomic.Bool
	clock := func() time.Time {
		if late.Load() {
			return later
		}
		return now
	}
	h := new(testSite)
	h.names.Store(&map[string]string{})
	var err error
	if h.sites, err = origin.New(config.Default(), origin.Options{
		Shop: http.HandlerFunc(page), Via: "bramble-test", Logger: slog.New(slog.DiscardHandler),
	}); err != nil {
		t.Fatal(err)
	}
	if h.cache, err = cache.New(cache.Config{
		Name: "board-1", Via: "bramble-test", Budget: 4 << 20, Logger: slog.New(slog.DiscardHandler), Now: clock,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.cache.Close() })
	for _, target := range stored() {
		for _, fields := range []string{"", "Accept-Encoding: gzip\r\n"} {
			h.viaNetHTTP([]byte("GET " + target + " HTTP/1.1\r\nHost: " + testHost + "\r\n" + fields + "Connection: close\r\n\r\n"))
		}
	}
	for h.cache.Stats().Objects < int64(len(stored())) {
		time.Sleep(time.Millisecond) // the last byte is stored after it was sent
	}
	late.Store(true)
	return h
}

// ServeHTTP answers as node's pages do.
func (s *testSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	// What happens to a miss when its client leaves is not tested here.
	resolved, err := s.sites.RewriteForSite(r.WithContext(context.Background()))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.cache.Serve(w, resolved, cache.Route{Level: "origin", Upstream: s, Replicate: true})
}

// Fetch asks the origin.
func (s *testSite) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	s.misses.Add(1)
	return s.sites.Fetch(ctx, r)
}

// requestFor returns a request for a page, as if parsed.
func requestFor(target string) *FastRequest {
	return &FastRequest{Request: http1.Request{Host: []byte(testHost), Target: []byte(target)}}
}

// Now returns a constant time.
func (s *testSite) Now() time.Duration { return s.cache.Now() }

// AppendHit answers as node does, with the same allocations.
func (s *testSite) AppendHit(dst []byte, q *FastRequest) ([]byte, [][]byte, bool) {
	prefix, known := (*s.names.Load())[string(q.Host)]
	if !known {
		if prefix, known = s.learn(string(q.Host)); !known {
			return dst, nil, false
		}
	}
	q.Key = append(append(q.Key[:0], prefix...), q.Target...)
	var m *siteValidity
	if q.WantValidity {
		if m, _ = q.Validity.(*siteValidity); m == nil {
			m = new(siteValidity)
			q.Validity = m
		}
		m.cache = s.cache
		return s.cache.AppendHit(dst, (*cache.HitRequest)(&q.Fields), &m.HitValidity)
	}
	return s.cache.AppendHit(dst, (*cache.HitRequest)(&q.Fields), nil)
}

// siteValidity validates a reply as node's type does.
type siteValidity struct {
	cache *cache.Cache
	cache.HitValidity
}

func (v *siteValidity) StillValid(at time.Duration, times int) bool {
	if at == 0 {
		at = v.cache.Now()
	}
	return v.cache.StillValid(&v.HitValidity, at, times)
}

func (s *testSite) learn(host string) (prefix string, ok bool) {
	resolved, err := s.sites.RewriteForSite(&http.Request{Method: "GET", Host: host, URL: &url.URL{Path: "/"}, Header: http.Header{}})
	if err != nil {
		return "", false
	}
	prefix = resolved.URL.Scheme + "://" + resolved.URL.Host
	if names := s.names.Load(); len(*names) < 64 {
		more := maps.Clone(*names)
		more[host] = prefix
		s.names.CompareAndSwap(names, &more)
	}
	return prefix, true
}

// script is a connection that sends some bytes and then ends, and records what is
// written to it.
type script struct {
	mu     sync.Mutex
	in     []byte
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *script) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// viaNetHTTP returns the replies of net/http to some bytes after which the client sends
// nothing more.
func (s *testSite) viaNetHTTP(in []byte) []byte {
	client := &script{in: in, closed: make(chan struct{})}
	l := newNetHTTPListener(client.LocalAddr())
	server := &http.Server{Handler: s, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	served := make(chan struct{})
	go func() {
		server.Serve(l)
		close(served)
	}()
	l.deliver(client)
	select {
	case <-client.closed:
	case <-time.After(10 * time.Second):
		panic(fmt.Sprintf("net/http does not end with %q; it sent %q", in, client.out.Bytes()))
	}
	server.Close()
	<-served
	return client.out.Bytes()
}

// answered is what the fast path did with some bytes.
type answered struct {
	out     []byte
	heads   []bool // for each reply, whether it is to HEAD
	used    int    // bytes answered
	next    action
	pending int // for actionLend: the length of the next request
}

// viaFastPath returns the replies of the fast path to the same bytes.
func (s *testSite) viaFastPath(in []byte, r answerRules) answered {
	var a answered
	b := new(replyBuffers)
	r.handler = note{s, &a.heads}
	for {
		n, next := b.answerRequests(in[a.used:], &r)
		for _, part := range b.unsent() {
			a.out = append(a.out, part...)
		}
		b.clearReplies()
		a.used += n
		if next != actionSendFirst {
			a.next, a.pending = next, b.req.Size
			return a
		}
	}
}

// note records which requests were answered.
type note struct {
	FastHandler
	heads *[]bool
}

func (n note) AppendHit(dst []byte, q *FastRequest) ([]byte, [][]byte, bool) {
	if before, is := q.Validity.(noteMemo); is {
		q.Validity = before.ReplyValidity
	}
	head, body, ok := n.FastHandler.AppendHit(dst, q)
	if ok {
		*n.heads = append(*n.heads, q.IsHEAD)
	}
	if q.Validity != nil {
		q.Validity = noteMemo{q.Validity, q.IsHEAD, n.heads}
	}
	return head, body, ok
}

// noteMemo records which requests were answered by a memo.
type noteMemo struct {
	ReplyValidity
	head  bool
	heads *[]bool
}

func (n noteMemo) StillValid(at time.Duration, times int) bool {
	ok := n.ReplyValidity.StillValid(at, times)
	for range times {
		if ok {
			*n.heads = append(*n.heads, n.head)
		}
	}
	return ok
}

// cutReply cuts a reply off the front of out: its status line, its fields sorted, and its
// body.
func cutReply(out []byte, head bool) (text string, rest []byte, err error) {
	top, rest, ok := bytes.Cut(out, []byte("\r\n\r\n"))
	if !ok {
		return "", nil, fmt.Errorf("no head in %.200q", out)
	}
	lines := strings.Split(string(top), "\r\n")
	length := 0
	for _, line := range lines {
		if value, is := strings.CutPrefix(line, "Content-Length: "); is {
			fmt.Sscan(value, &length)
		}
		if strings.HasPrefix(line, "Transfer-Encoding") {
			return "", nil, fmt.Errorf("a reply in chunks: %q", top)
		}
	}
	if head || strings.Contains(lines[0], " 304 ") {
		length = 0
	}
	if length > len(rest) {
		return "", nil, fmt.Errorf("%d bytes of body promised, %d sent", length, len(rest))
	}
	sortFields(lines[1:])
	return strings.Join(lines, "\n") + "\n\n" + string(rest[:length]), rest[length:], nil
}
