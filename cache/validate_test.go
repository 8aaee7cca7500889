package cache

import (
	"net/http"
	"testing"
	"time"
)

// TestUnrequested304: a 304 to a request without a condition is an error.
func TestUnrequested304(t *testing.T) {
	b := newBench(t, always(304, "", "Cache-Control: max-age=60"))
	for range 2 {
		if res := b.get(`If-None-Match: "a"`); res.Code != 502 {
			t.Errorf("got %d, want 502", res.Code)
		}
	}
}

// TestOfferVariants4_3_1: upstream gets the tags of all variants and chooses one.
func TestOfferVariants4_3_1(t *testing.T) {
	pages := map[string]string{"1": `"v1"`, "2": `"v2"`, "3": `W/"v3"`, "9": `"v2"`}
	up := &fakeUpstream{}
	up.answer = func(_ int64, r *http.Request) (*http.Response, error) {
		etag := pages[r.Header.Get("X-A")]
		fields := []string{"Cache-Control: max-age=60", "Vary: X-A", "Etag: " + etag}
		if matchETag(r.Header["If-None-Match"], etag) {
			return reply(304, "", fields...), nil
		}
		return reply(200, "page "+etag, fields...), nil
	}
	b := newBench(t, up)
	for _, v := range []string{"1", "2", "3"} {
		b.get("X-A: " + v)
	}
	b.clock.add(30 * time.Second)
	b.want(b.get("X-A: 9"), 200, `page "v2"`, "fwd=vary-miss; fwd-status=304")
	if got := b.up.last().Header.Get("If-None-Match"); got != `"v2", "v1"` {
		t.Errorf("asked with %s", got)
	}
	b.want(b.get("X-A: 9"), 200, `page "v2"`, "hit; ttl=60")
	b.want(b.get("X-A: 2"), 200, `page "v2"`, "hit; ttl=60") // RFC 9111 §4.3.4: this variant was confirmed too
	b.want(b.get("X-A: 1"), 200, `page "v1"`, "hit; ttl=30")
	b.wantFetches(4)
}

func TestOfferedButStrange304(t *testing.T) {
	for _, etag := range []string{`"v9"`, `W/"v1"`, ""} {
		b := newBench(t, script(
			answers(200, "one", "Cache-Control: max-age=60", "Vary: X-A", `Etag: "v1"`),
			answers(304, "", "Etag: "+etag),
			answers(200, "two", "Cache-Control: max-age=60", "Vary: X-A"),
		))
		b.get("X-A: 1")
		b.want(b.get("X-A: 2"), 200, "two", "fwd=vary-miss")
		if got := b.up.last().Header.Get("If-None-Match"); got != "" {
			t.Errorf("%s: asked again with %s", etag, got)
		}
		b.want(b.get("X-A: 1"), 200, "one", "hit")
	}
}

// TestOffersAreBounded: at most maxOffered tags go upstream.
func TestOffersAreBounded(t *testing.T) {
	up := &fakeUpstream{}
	up.answer = func(_ int64, r *http.Request) (*http.Response, error) {
		return reply(200, "x", "Cache-Control: max-age=60", "Vary: X-A", `Etag: "`+r.Header.Get("X-A")+`"`), nil
	}
	b := newBench(t, up, func(c *Config) { c.MaxVariants = 2 * maxOffered })
	for i := range 2 * maxOffered {
		b.get("X-A: " + string(rune('A'+i)))
	}
	n := 0
	eachTag(b.up.last().Header["If-None-Match"], func(string) bool { n++; return true })
	if n != maxOffered {
		t.Errorf("%d tags", n)
	}
}

// TestOnlyIfCachedIsForwarded: a board that is not the owner forwards such a request
// to the owner, which answers it without asking upstream.
func TestOnlyIfCachedIsForwarded(t *testing.T) {
	owner := newBench(t, always(200, "x", "Cache-Control: max-age=60"), func(c *Config) { c.NoCacheStatus = true })
	board := newBench(t, nil)
	board.route = Route{Level: "rack", ForwardOnlyIfCached: true, Upstream: owner.upstream()}
	board.want(board.get("Cache-Control: only-if-cached"), 504, "Gateway Timeout\n", "fwd=uri-miss; fwd-status=504")
	owner.wantFetches(0)
	owner.get()
	board.want(board.get("Cache-Control: only-if-cached"), 200, "x", "fwd=uri-miss; fwd-status=200; stored")
	if owner.wantFetches(1); board.Stats().Objects != 1 {
		t.Error("not kept")
	}
}
