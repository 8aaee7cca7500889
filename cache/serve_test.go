package cache

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHitFromMemory(t *testing.T) {
	b := newBench(t, always(200, "a page", "Cache-Control: max-age=60", "Content-Type: text/html", `Etag: "v1"`))
	b.want(b.get(), 200, "a page", "fwd=uri-miss; fwd-status=200; stored; ttl=60")
	b.clock.add(3 * time.Second)
	res := b.get()
	b.want(res, 200, "a page", "hit; ttl=57")
	for name, want := range map[string]string{"Age": "3", "Content-Length": "6", "Content-Type": "text/html", "Etag": `"v1"`} {
		if got := res.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	b.wantFetches(1)
	head := b.do(request("HEAD", pageURL))
	b.want(head, 200, "", "hit")
	if head.Header().Get("Content-Length") != "6" {
		t.Errorf("HEAD: Content-Length %q", head.Header().Get("Content-Length"))
	}
	b.wantFetches(1)
}

// TestReuse walks through the rules of RFC 9111 for the second request.
func TestReuse(t *testing.T) {
	const date = "Date: Wed, 29 Feb 2012 06:00:00 GMT"
	tests := []struct {
		name   string
		status int
		fields []string
		wait   time.Duration
		reused bool
	}{
		{"5.2.2.1 max-age fresh", 200, []string{"Cache-Control: max-age=60"}, 59 * time.Second, true},
		{"5.2.2.1 max-age stale", 200, []string{"Cache-Control: max-age=60"}, 60 * time.Second, false},
		{"5.2.2.10 s-maxage before max-age", 200, []string{"Cache-Control: max-age=1, s-maxage=60"}, 30 * time.Second, true},
		{"5.2.2.10 s-maxage shorter", 200, []string{"Cache-Control: max-age=60, s-maxage=1"}, 30 * time.Second, false},
		{"5.3 Expires", 200, []string{date, "Expires: Wed, 29 Feb 2012 06:01:00 GMT"}, 59 * time.Second, true},
		{"5.3 Expires over", 200, []string{date, "Expires: Wed, 29 Feb 2012 06:01:00 GMT"}, 60 * time.Second, false},
		{"5.3 Expires 0", 200, []string{date, "Expires: 0"}, 0, false},
		{"5.3 max-age before Expires", 200, []string{date, "Expires: 0", "Cache-Control: max-age=60"}, 0, true},
		{"5.3 two Expires", 200, []string{date, "Expires: Wed, 29 Feb 2012 06:01:00 GMT", "Expires: 0"}, 0, false},
		{"4.2.2 heuristic", 200, []string{date, "Last-Modified: Wed, 29 Feb 2012 05:50:00 GMT"}, 59 * time.Second, true},
		{"4.2.2 heuristic over", 200, []string{date, "Last-Modified: Wed, 29 Feb 2012 05:50:00 GMT"}, 60 * time.Second, false},
		{"4.2.2 heuristic 404", 404, []string{date, "Last-Modified: Wed, 29 Feb 2012 05:50:00 GMT"}, 0, true},
		{"4.2.2 no heuristic for 302", 302, []string{date, "Last-Modified: Wed, 29 Feb 2012 05:50:00 GMT"}, 0, false},
		{"4.2.2 public makes 302 heuristic", 302, []string{date, "Cache-Control: public", "Last-Modified: Wed, 29 Feb 2012 05:50:00 GMT"}, 0, true},
		{"4.2 nothing said", 200, nil, 0, false},
		{"3 explicit 302", 302, []string{"Cache-Control: max-age=60"}, 0, true},
		{"3 explicit unknown status", 599, []string{"Cache-Control: max-age=60"}, 0, true},
		{"3 explicit 503", 503, []string{"Cache-Control: max-age=60"}, 0, true},
		{"6585 3 never 428", 428, []string{"Cache-Control: public, max-age=60"}, 0, false},
		{"6585 4 never 429", 429, []string{"Cache-Control: public, max-age=60"}, 0, false},
		{"6585 5 never 431", 431, []string{"Cache-Control: public, max-age=60"}, 0, false},
		{"6585 6 never 511", 511, []string{"Cache-Control: public, max-age=60"}, 0, false},
		{"412 answers one condition", 412, []string{"Cache-Control: max-age=60"}, 0, false},
		{"416 answers one range", 416, []string{"Cache-Control: max-age=60"}, 0, false},
		{"425 is about one connection", 425, []string{"Cache-Control: max-age=60"}, 0, false},
		{"3 explicit 400", 400, []string{"Cache-Control: max-age=60"}, 0, true},
		{"3 explicit 204", 204, []string{"Cache-Control: max-age=60"}, 0, true},
		{"5.2.2.5 no-store", 200, []string{"Cache-Control: no-store, max-age=60"}, 0, false},
		{"5.2.2.5 no-store in the second line", 200, []string{"Cache-Control: max-age=60", "Cache-Control: No-Store"}, 0, false},
		{"5.2.2.7 private", 200, []string{"Cache-Control: private, max-age=60"}, 0, false},
		{"5.2.2.7 private with an empty list", 200, []string{`Cache-Control: private="", max-age=60`}, 0, false},
		{"5.2.2.7 private with names", 200, []string{`Cache-Control: private="X-Me", max-age=60`}, 0, true},
		{"5.2.2.4 no-cache", 200, []string{"Cache-Control: no-cache, max-age=60"}, 0, false},
		{"5.2.2.3 must-understand lifts no-store", 200, []string{"Cache-Control: must-understand, no-store, max-age=60"}, 0, true},
		{"5.2.2.3 must-understand unknown status", 599, []string{"Cache-Control: must-understand, max-age=60"}, 0, false},
		{"4.2.1 two max-age", 200, []string{"Cache-Control: max-age=60, max-age=1"}, 2 * time.Second, false},
		{"4.2.1 max-age no number", 200, []string{"Cache-Control: max-age=sixty"}, 0, false},
		{"4.2.1 max-age fraction", 200, []string{"Cache-Control: max-age=60.5"}, 0, false},
		{"4.2.1 max-age negative", 200, []string{"Cache-Control: max-age=-60"}, 0, false},
		{"4.2.1 max-age with a blank", 200, []string{"Cache-Control: max-age =60"}, 0, false},
		{"5.2 max-age quoted", 200, []string{`Cache-Control: max-age="60"`}, 0, true},
		{"5.2 upper case", 200, []string{"Cache-Control: MAX-AGE=60"}, 0, true},
		{"5.2 inside a quoted string", 200, []string{`Cache-Control: ext="no-store, max-age=0", max-age=60`}, 0, true},
		{"1.2.2 overflow", 200, []string{"Cache-Control: max-age=99999999999999999999"}, 24 * time.Hour, true},
		{"4.2.3 Age counts", 200, []string{"Cache-Control: max-age=60", "Age: 59"}, time.Second, false},
		{"5.1 first Age counts", 200, []string{"Cache-Control: max-age=60", "Age: 10, 60"}, 0, true},
		{"5.1 Age no number", 200, []string{"Cache-Control: max-age=60", "Age: soon"}, 0, true},
		{"5.1 Age overflow", 200, []string{"Cache-Control: max-age=60", "Age: 99999999999999999999"}, 0, false},
		{"4.2.3 apparent age", 200, []string{"Cache-Control: max-age=60", "Date: Wed, 29 Feb 2012 05:59:00 GMT"}, 0, false},
		{"4.1 Vary *", 200, []string{"Cache-Control: max-age=60", "Vary: *"}, 0, false},
		{"4.1 Vary * among others", 200, []string{"Cache-Control: max-age=60", "Vary: Accept", "Vary: Cookie, *"}, 0, false},
		{"Set-Cookie", 200, []string{"Cache-Control: max-age=60", "Set-Cookie: id=1"}, 0, false},
		{"Set-Cookie public", 200, []string{"Cache-Control: public, max-age=60", "Set-Cookie: id=1"}, 0, true},
		{"Set-Cookie s-maxage", 200, []string{"Cache-Control: s-maxage=60", "Set-Cookie: id=1"}, 0, true},
		{"5.4 Pragma", 200, []string{"Pragma: no-cache", "Expires: Wed, 29 Feb 2012 07:00:00 GMT"}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := "x"
			if tt.status == 204 {
				body = ""
			}
			b := newBench(t, always(tt.status, body, tt.fields...))
			b.get()
			b.clock.add(tt.wait)
			res := b.get()
			if reused := b.up.fetches.Load() == 1; reused != tt.reused {
				t.Errorf("reused %v, want %v", reused, tt.reused)
			}
			if tt.reused && (res.Header().Get("Set-Cookie") != "" || res.Header().Get("X-Me") != "") {
				t.Errorf("a field for one client went to another: %v", res.Header())
			}
			if res.Code != tt.status || res.Body.String() != body {
				t.Errorf("got %d %q", res.Code, res.Body)
			}
		})
	}
}

func TestAuthorization3_5(t *testing.T) {
	tests := []struct {
		control string
		reused  bool
	}{
		{"max-age=60", false},
		{"max-age=60, public", true},
		{"s-maxage=60", true},
		{"max-age=60, must-revalidate", true},
		{"max-age=60, private", false},
	}
	for _, tt := range tests {
		b := newBench(t, always(200, "secret", "Cache-Control: "+tt.control))
		b.get("Authorization: Basic QQ==")
		b.get()
		if reused := b.up.fetches.Load() == 1; reused != tt.reused {
			t.Errorf("%s: reused %v, want %v", tt.control, reused, tt.reused)
		}
	}
}

func TestRevalidate4_3(t *testing.T) {
	b := newBench(t, script(
		answers(200, "a page", "Cache-Control: max-age=60", `Etag: "v1"`, "Last-Modified: Wed, 29 Feb 2012 05:00:00 GMT",
			"X-Old: 1", "X-Change: a", "Content-Type: text/plain", "Content-Encoding: identity"),
		answers(304, "", "Cache-Control: max-age=120", `Etag: "v1"`, "X-Change: b", "Content-Length: 99", "Content-Encoding: br", "Content-Range: bytes 0-1/2"),
		answers(200, "new", "Cache-Control: max-age=60"),
	))
	b.get()
	b.clock.add(61 * time.Second)
	res := b.get("If-None-Match: \"mine\"", "Range: bytes=0-1")
	if res.Code != 206 || res.Body.String() != "a " {
		t.Errorf("got %d %q", res.Code, res.Body)
	}
	up := b.up.last()
	if up.Header.Get("If-None-Match") != `"v1"` || up.Header.Get("If-Modified-Since") == "" || up.Header.Get("Range") != "" {
		t.Errorf("asked with %v", up.Header)
	}
	b.clock.add(100 * time.Second)
	res = b.get()
	b.want(res, 200, "a page", "hit; ttl=20")
	for name, want := range map[string]string{
		"X-Old": "1", "X-Change": "b", "Content-Length": "6", "Content-Encoding": "identity", "Content-Range": "", "Age": "100",
	} {
		if got := res.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	b.clock.add(21 * time.Second)
	b.want(b.get(), 200, "new", "fwd=stale; fwd-status=200; stored")
	b.want(b.get(), 200, "new", "hit")
	b.wantFetches(3)
}

func TestStrange304IsFetchedAgain(t *testing.T) {
	b := newBench(t, script(
		answers(200, "one", "Cache-Control: max-age=60", `Etag: "v1"`),
		answers(304, "", "Cache-Control: max-age=60", `Etag: "v2"`),
		answers(200, "two", "Cache-Control: max-age=60", `Etag: "v2"`),
	))
	b.get()
	b.clock.add(61 * time.Second)
	b.want(b.get(), 200, "two", "fwd=stale")
	if got := b.up.last().Header.Get("If-None-Match"); got != "" {
		t.Errorf("asked again with If-None-Match %q", got)
	}
}

func TestStaleOnFailure4_2_4(t *testing.T) {
	failures := map[string]func(*http.Request) (*http.Response, error){
		"error": failsWith(errRefused), "503": answers(503, "busy"), "500": answers(500, "oops"),
	}
	tests := []struct {
		control string
		late    time.Duration
		served  bool
	}{
		{"max-age=60", time.Minute, true},
		{"max-age=60", 25 * time.Hour, false},
		{"max-age=60, must-revalidate", 0, false},
		{"max-age=60, proxy-revalidate", 0, false},
		{"s-maxage=60", 0, false},
		{"max-age=60, no-cache", 0, false},
		{"max-age=60, stale-if-error=10", 9 * time.Second, true},
		{"max-age=60, stale-if-error=10", 11 * time.Second, false},
		{"s-maxage=60, stale-if-error=10", 9 * time.Second, true},
		{"max-age=60, stale-if-error=10, must-revalidate", 9 * time.Second, false},
		{"max-age=60, stale-if-error=0", time.Second, false},
	}
	for name, failure := range failures {
		for _, tt := range tests {
			b := newBench(t, script(answers(200, "old", "Cache-Control: "+tt.control, `Etag: "v1"`), failure))
			b.get()
			b.clock.add(time.Minute + tt.late)
			res := b.get()
			if served := res.Body.String() == "old"; served != tt.served {
				t.Errorf("%s, %s, %v late: served %v, want %v", name, tt.control, tt.late, served, tt.served)
			}
			if !tt.served && res.Code < 500 {
				t.Errorf("%s, %s: status %d", name, tt.control, res.Code)
			}
			if tt.served {
				// The dead upstream is not asked again for a moment.
				n := b.up.fetches.Load()
				b.want(b.get(), 200, "old", "hit; ttl=-")
				b.wantFetches(n)
			}
		}
	}
}

func TestStaleWhileRevalidate5861(t *testing.T) {
	release := make(chan struct{})
	b := newBench(t, script(
		answers(200, "old", "Cache-Control: max-age=60, stale-while-revalidate=30"),
		func(*http.Request) (*http.Response, error) {
			<-release
			return reply(200, "new", "Cache-Control: max-age=60"), nil
		},
	))
	b.get()
	b.clock.add(70 * time.Second)
	for range 5 {
		b.want(b.serve(request("GET", pageURL)), 200, "old", "hit; ttl=-10")
	}
	close(release)
	b.awaitFetches()
	b.want(b.get(), 200, "new", "hit")
	b.wantFetches(2)
}

func TestOnlyIfCached5_2_1_7(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60"))
	b.want(b.get("Cache-Control: only-if-cached"), 504, "Gateway Timeout\n", "detail=only-if-cached")
	b.wantFetches(0)
	b.get()
	b.want(b.get("Cache-Control: only-if-cached"), 200, "x", "hit")
}

func TestClientDirectives5_2_1(t *testing.T) {
	tests := []struct {
		field  string
		age    time.Duration
		reused bool // with ClientDirectives
	}{
		{"Cache-Control: no-cache", 0, false},
		{"Pragma: no-cache", 0, false},
		{"Cache-Control: max-age=0", time.Second, false},
		{"Cache-Control: max-age=30", 10 * time.Second, true},
		{"Cache-Control: no-store", 0, false},
		{"Cache-Control: min-fresh=30", 40 * time.Second, false},
		{"Cache-Control: max-stale=30", 80 * time.Second, true},
		{"Cache-Control: max-stale", 80 * time.Second, true},
		{"Cache-Control: max-stale=10", 80 * time.Second, false},
	}
	for _, tt := range tests {
		for _, listen := range []bool{false, true} {
			b := newBench(t, always(200, "x", "Cache-Control: max-age=60", `Etag: "v1"`), func(c *Config) { c.ClientDirectives = listen })
			b.get()
			b.clock.add(tt.age)
			b.get(tt.field)
			want := tt.reused
			if !listen {
				want = tt.age < time.Minute
			}
			if reused := b.up.fetches.Load() == 1; reused != want {
				t.Errorf("%s, listening %v: reused %v, want %v", tt.field, listen, reused, want)
			}
		}
	}
}

func TestVary4_1(t *testing.T) {
	const vary = "Vary: Accept-Language, X-A"
	tests := []struct {
		name          string
		first, second []string
		reused        bool
	}{
		{"same", []string{"Accept-Language: en"}, []string{"Accept-Language: en"}, true},
		{"other", []string{"Accept-Language: en"}, []string{"Accept-Language: de"}, false},
		{"absent is not empty", []string{"X-A: "}, nil, false},
		{"both absent", nil, nil, true},
		{"lines combined", []string{"X-A: 1", "X-A: 2"}, []string{"X-A: 1, 2"}, true},
		{"order matters", []string{"X-A: 1", "X-A: 2"}, []string{"X-A: 2, 1"}, false},
		{"unrelated field", []string{"X-B: 1"}, []string{"X-B: 2"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, always(200, "x", "Cache-Control: max-age=60", vary))
			b.get(tt.first...)
			b.get(tt.second...)
			if reused := b.up.fetches.Load() == 1; reused != tt.reused {
				t.Errorf("reused %v, want %v", reused, tt.reused)
			}
			b.get(tt.first...) // still there beside the other
			want := int64(1)
			if !tt.reused {
				want = 2
			}
			b.wantFetches(want)
		})
	}
}

func TestVariantsAreBounded(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60", "Vary: X-A"), func(c *Config) { c.MaxVariants = 3 })
	for i := range 10 {
		b.get("X-A: " + strings.Repeat("x", i))
	}
	if n := len(b.Peek(pageURL)); n != 3 {
		t.Errorf("%d variants, want 3", n)
	}
}

func TestHeadFreshens4_3_5(t *testing.T) {
	b := newBench(t, script(
		answers(200, "page", "Cache-Control: max-age=60", `Etag: "v1"`),
		func(r *http.Request) (*http.Response, error) {
			resp := reply(200, "", "Cache-Control: max-age=60", `Etag: "v1"`, "Content-Length: 4")
			resp.ContentLength, resp.Request = 4, r
			return resp, nil
		},
		func(r *http.Request) (*http.Response, error) {
			resp := reply(200, "", "Cache-Control: max-age=60", `Etag: "v2"`, "Content-Length: 5")
			resp.ContentLength, resp.Request = 5, r
			return resp, nil
		},
		answers(200, "page2", "Cache-Control: max-age=60", `Etag: "v2"`),
	))
	b.get()
	b.clock.add(70 * time.Second)
	b.want(b.do(request("HEAD", pageURL)), 200, "", "fwd=stale; fwd-status=200")
	b.want(b.get(), 200, "page", "hit; ttl=60")
	b.clock.add(70 * time.Second)
	res := b.do(request("HEAD", pageURL))
	b.want(res, 200, "", "fwd=stale; fwd-status=200")
	if res.Header().Get("Content-Length") != "5" {
		t.Errorf("Content-Length %q", res.Header().Get("Content-Length"))
	}
	b.want(b.get(), 200, "page2", "fwd=uri-miss")
}

func TestRouteMaxAge(t *testing.T) {
	for control, want := range map[string]string{"max-age=60": "old", "max-age=60, must-revalidate": "Bad Gateway\n"} {
		b := newBench(t, script(
			answers(200, "old", "Cache-Control: "+control, `Etag: "v1"`),
			answers(304, ""),
			failsWith(errRefused),
		))
		b.get()
		b.route.MaxAge = time.Second
		b.want(b.get(), 200, "old", "hit; ttl=60")
		b.clock.add(time.Second)
		b.want(b.get(), 200, "old", "fwd=request; fwd-status=304")
		b.clock.add(time.Second)
		if res := b.get(); res.Body.String() != want {
			t.Errorf("%s: %q", control, res.Body)
		}
		b.wantFetches(3)
	}
}

func TestClockNotTrusted4_2_3(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60", "Date: Tue, 28 Feb 2012 06:00:00 GMT"),
		func(c *Config) { c.ClockTrusted = func() bool { return false } })
	b.get()
	b.want(b.get(), 200, "x", "hit; ttl=60")
}

func TestNewRefusesBadConfig(t *testing.T) {
	for _, cfg := range []Config{{Budget: 1}, {Budget: 1 << 20, MaxObject: 1 << 20}, {MaxFetches: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}

// A reply that can be neither stored nor shared is fetched past the boards
// between here and the origin, one that could be validated there is not.
func TestBypass(t *testing.T) {
	for control, want := range map[string]string{"no-store": "direct", "no-cache": "by way"} {
		b := newBench(t, always(200, "by way", "Cache-Control: "+control, `Etag: "v1"`))
		direct := newBench(t, always(200, "direct", "Cache-Control: "+control))
		b.route.Bypass = direct.route.Upstream
		b.route.MayStore = func(string) bool { return false }
		b.get()
		if res := b.get(); res.Body.String() != want {
			t.Errorf("%s: %q, want %q", control, res.Body, want)
		}
	}
}
