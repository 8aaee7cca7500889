package cache

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFieldsForOneClient5_2_2: the fields that are for one client reach that
// client, and neither its followers nor later clients.
func TestFieldsForOneClient5_2_2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(int64, *http.Request) (*http.Response, error) {
			return reply(200, "x", `Cache-Control: public, max-age=60, private="X-Mine", no-cache="X-Check"`,
				"X-Mine: 1", "X-Check: 1", "Set-Cookie: id=1", "X-All: 1"), nil
		})
		b := newBench(t, up)
		collect := b.crowd(20, plainGet)
		close(open)
		leaders := 0
		for _, res := range append(collect(), b.get()) {
			h := res.Header()
			n := len(h["X-Mine"]) + len(h["X-Check"]) + len(h["Set-Cookie"])
			if n != 0 && n != 3 || h.Get("X-All") != "1" {
				t.Errorf("got %v", h)
			}
			leaders += n / 3
		}
		if leaders != 1 {
			t.Errorf("%d clients got the fields for one", leaders)
		}
	})
}

func TestKeepSetCookie(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: public, max-age=60", "Set-Cookie: theme=1"), func(c *Config) { c.KeepSetCookie = true })
	b.get()
	if res := b.get(); res.Header().Get("Set-Cookie") != "theme=1" {
		t.Errorf("got %v", res.Header())
	}
}

// TestCookieWith304: a cookie with a 304 is for the client
// that caused the fetch, and the page stays.
func TestCookieWith304(t *testing.T) {
	b := newBench(t, script(
		answers(200, "x", "Cache-Control: max-age=60", `Etag: "v1"`),
		answers(304, "", "Cache-Control: max-age=60", "Set-Cookie: id=1"),
	))
	b.get()
	b.clock.add(time.Minute)
	if res := b.get(); res.Header().Get("Set-Cookie") != "id=1" || res.Body.String() != "x" {
		t.Errorf("got %v", res.Header())
	}
	res := b.get()
	b.want(res, 200, "x", "hit")
	if res.Header().Get("Set-Cookie") != "" {
		t.Error("the cookie went to another client")
	}
}

// TestCookiesDoNotSwitchCoalescingOff: one client.s private reply does not affect the
// crowd without cookies.
func TestCookiesDoNotSwitchCoalescingOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(_ int64, r *http.Request) (*http.Response, error) {
			if r.Header.Get("Cookie") != "" {
				return reply(200, "mine", "Cache-Control: private"), nil
			}
			return reply(200, "page", "Cache-Control: max-age=60"), nil
		})
		b := newBench(t, up)
		first := b.crowd(1, func(int) *http.Request { return request("GET", pageURL, "Cookie: id=1") })
		open <- struct{}{}
		first()
		collect := b.crowd(20, plainGet)
		close(open)
		collect()
		b.wantFetches(2)
	})
}

// TestRevalidationIsCoalesced: a crowd that requests a stale page costs one conditional
// fetch, whatever its outcome.
func TestRevalidationIsCoalesced(t *testing.T) {
	tests := map[string]struct {
		second func(*http.Request) (*http.Response, error)
		body   string
	}{
		"304":   {answers(304, "", "Cache-Control: max-age=60"), "old"},
		"200":   {answers(200, "new", "Cache-Control: max-age=60"), "new"},
		"503":   {answers(503, "busy"), "old"},
		"error": {failsWith(errRefused), "old"},
	}
	for name, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			open := make(chan struct{})
			b := newBench(t, script(answers(200, "old", "Cache-Control: max-age=60", `Etag: "v1"`),
				func(r *http.Request) (*http.Response, error) {
					<-open
					return tt.second(r)
				}))
			b.get()
			b.clock.add(time.Minute)
			collect := b.crowd(50, plainGet)
			close(open)
			for _, res := range collect() {
				if res.Code != 200 || res.Body.String() != tt.body {
					t.Errorf("%s: got %d %q", name, res.Code, res.Body)
				}
			}
			b.wantFetches(2)
		})
	}
}

// TestConditionsForUnshareablePages: once a page is known as not shareable, a client.s
// own conditions reach the origin, and its answer reaches the client.
func TestConditionsForUnshareablePages(t *testing.T) {
	b := newBench(t, script(answers(200, "x", "Cache-Control: private", `Etag: "v1"`), answers(304, "", `Etag: "v1"`)))
	b.get()
	res := b.get(`If-None-Match: "v1"`)
	b.want(res, 304, "", "fwd=uri-miss; fwd-status=304")
	if got := b.up.last().Header.Get("If-None-Match"); got != `"v1"` {
		t.Errorf("origin saw %q", got)
	}
}

func TestGetWithBodyIsPassedOn(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60"))
	for range 2 {
		r := request("GET", pageURL)
		r.Body, r.ContentLength = readCloser{strings.NewReader("q")}, 1
		b.want(b.do(r), 200, "x", "fwd=bypass")
	}
	b.wantFetches(2)
	if b.Stats().Objects != 0 {
		t.Error("stored")
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestKeyOf(t *testing.T) {
	for raw, want := range map[string]string{
		"http://a/b%2fc?x=1&&y#f": "http://a/b%2fc?x=1&&y",
		"http://a/b?":             "http://a/b?",
		"http://a/b":              "http://a/b",
		"http://a/b%2Fc":          "http://a/b%2Fc",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := KeyOf(u); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
}

func TestErrorStatus(t *testing.T) {
	for err, want := range map[error]int{
		ErrBusy: 503, ErrClosed: 503, ErrOnlyIfCached: 504, ErrUpstream: 502, ErrBadReply: 502,
		errors.Join(ErrUpstream, timeoutError{}): 504,
	} {
		if got := ErrorStatus(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// TestTwoCaches: the fields that two caches in a row add to a reply. RFC 9211 §2: the
// member of the cache nearest to the origin comes first. The rack adds Via once.
func TestTwoCaches(t *testing.T) {
	named := func(name string) func(*Config) {
		return func(c *Config) { c.Name, c.Via = name, "bramble" }
	}
	owner := newBench(t, always(200, "x", "Cache-Control: max-age=60", "Via: 1.0 origin (old)"), named("board-2"))
	board := newBench(t, nil, named("board-1"))
	board.route = Route{Level: "rack", Upstream: owner.upstream()}
	res := board.get()
	if got := strings.Join(res.Header()["Cache-Status"], ", "); got != "board-2; fwd=uri-miss; fwd-status=200; stored; ttl=60, board-1; fwd=uri-miss; fwd-status=200; stored; ttl=60" {
		t.Errorf("Cache-Status %s", got)
	}
	for _, when := range []string{"stored", "not modified", "passed on", "failed"} {
		if got := strings.Join(res.Header()["Via"], ", "); got != "1.0 origin (old), 1.1 bramble" && when != "failed" || !strings.HasSuffix(got, "1.1 bramble") {
			t.Errorf("%s: Via %s", when, got)
		}
		switch when {
		case "stored":
			res = board.get("If-Modified-Since: Wed, 29 Feb 2012 06:00:00 GMT")
			board.want(res, 304, "", "hit")
		case "not modified":
			res = board.do(request("POST", pageURL+"/2"))
		default:
			board.route.Upstream = script(failsWith(errRefused))
			res = board.do(request("GET", pageURL+"/3"))
		}
	}
}

func TestNoCacheStatus(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60"), func(c *Config) { c.NoCacheStatus = true })
	for _, r := range []*http.Request{plainGet(0), plainGet(0), request("POST", pageURL+"/2"), request("GET", pageURL+"/3", "Cache-Control: only-if-cached")} {
		res := b.do(r)
		if got, has := res.Header()["Cache-Status"]; has || len(res.Header()["Via"]) > 0 {
			t.Errorf("%s: Cache-Status %q, Via %q", r.URL, got, res.Header()["Via"])
		}
	}
}
