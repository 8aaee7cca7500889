package cache

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func (c *Cache) PurgeURL(u string) int { return c.Purge(Selector{URL: u}) }

func (c *Cache) PurgeTag(tag string) int { return c.Purge(Selector{Tag: tag}) }

func (c *Cache) PurgeAll() int { return c.Purge(Selector{All: true}) }

// fakeUpstream answers with a function and counts.
type fakeUpstream struct {
	fetches atomic.Int64
	answer  func(n int64, r *http.Request) (*http.Response, error)

	mu   sync.Mutex
	seen []*http.Request
}

func (u *fakeUpstream) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	n := u.fetches.Add(1)
	u.mu.Lock()
	u.seen = append(u.seen, r.Clone(ctx))
	u.mu.Unlock()
	return u.answer(n, r)
}

func (u *fakeUpstream) last() *http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen[len(u.seen)-1]
}

// reply makes an upstream reply; fields are "Name: value" lines.
func reply(status int, body string, fields ...string) *http.Response {
	h := make(http.Header)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return &http.Response{
		StatusCode: status, Header: h, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// always answers every request with the same reply.
func always(status int, body string, fields ...string) *fakeUpstream {
	return &fakeUpstream{answer: func(int64, *http.Request) (*http.Response, error) {
		return reply(status, body, fields...), nil
	}}
}

// script answers the nth fetch with the nth function, the last one from then on.
func script(steps ...func(r *http.Request) (*http.Response, error)) *fakeUpstream {
	return &fakeUpstream{answer: func(n int64, r *http.Request) (*http.Response, error) {
		return steps[min(int(n), len(steps))-1](r)
	}}
}

func answers(status int, body string, fields ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return reply(status, body, fields...), nil }
}

func failsWith(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

var errRefused = errors.New("connection refused")

// fakeClock is a clock that a test moves.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *fakeClock {
	return &fakeClock{now: time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a cache under test with its clock and upstream.
type bench struct {
	*Cache
	t     testing.TB
	clock *fakeClock
	up    *fakeUpstream
	route Route
}

func newBench(t testing.TB, up *fakeUpstream, change ...func(*Config)) *bench {
	t.Helper()
	clock := newClock()
	cfg := Config{Name: "board-1", Budget: 4 << 20, MaxObject: 64 << 10, Now: clock.Now, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &bench{Cache: c, t: t, clock: clock, up: up, route: Route{Level: "origin", Upstream: up}}
}

const pageURL = "http://shop.example/model-b"

// request makes a request; fields are "Name: value" lines.
func request(method, url string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, url, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// result is what a client got; aborted: the connection was closed midway.
type result struct {
	*httptest.ResponseRecorder
	aborted bool
}

// do serves a request and waits for the fetches that it began.
func (b *bench) do(r *http.Request) result {
	res := b.serve(r)
	b.awaitFetches()
	return res
}

// serve serves a request.
func (b *bench) serve(r *http.Request) (res result) {
	res.ResponseRecorder = httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			res.aborted = true
		}
	}()
	b.Serve(res, r, b.route)
	return res
}

// awaitFetches waits until no fetch is under way.
func (b *bench) awaitFetches() { b.flights.done.Wait() }

// upstream is the bench's cache as the upstream of another one.
func (b *bench) upstream() Upstream {
	return upstreamFunc(func(_ context.Context, r *http.Request) (*http.Response, error) {
		resp := b.do(r).Result()
		resp.ContentLength = -1
		if n, ok := parseLength(resp.Header.Get("Content-Length")); ok {
			resp.ContentLength = n
		}
		return resp, nil
	})
}

func (b *bench) get(fields ...string) result { return b.do(request("GET", pageURL, fields...)) }

// want compares a result with status, body and the beginning of the
// Cache-Status behind the name.
func (b *bench) want(res result, status int, body, cacheStatus string) {
	b.t.Helper()
	if res.Code != status || res.Body.String() != body {
		b.t.Errorf("got %d %q, want %d %q", res.Code, res.Body, status, body)
	}
	if got := res.Header().Get("Cache-Status"); !strings.HasPrefix(got, "board-1; "+cacheStatus) {
		b.t.Errorf("Cache-Status %q, want board-1; %s", got, cacheStatus)
	}
}

func (b *bench) wantFetches(n int64) {
	b.t.Helper()
	if got := b.up.fetches.Load(); got != n {
		b.t.Errorf("%d fetches, want %d", got, n)
	}
}
