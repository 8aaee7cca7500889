package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestPurgeDuringFill(t *testing.T) {
	const tagged = "Surrogate-Key: phones pis"
	purges := map[string]struct {
		purge  func(*Cache)
		stored bool
	}{
		"url":       {func(c *Cache) { c.PurgeURL(pageURL) }, false},
		"other url": {func(c *Cache) { c.PurgeURL(pageURL + "/x") }, true},
		"tag":       {func(c *Cache) { c.PurgeTag("pis") }, false},
		"other tag": {func(c *Cache) { c.PurgeTag("pi") }, true},
		"all":       {func(c *Cache) { c.PurgeAll() }, false},
	}
	for name, tt := range purges {
		for _, when := range []string{"before the fields", "before the body"} {
			t.Run(name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					resp, body := pipeBody(3, "Cache-Control: max-age=60", tagged)
					open := make(chan struct{})
					b := newBench(t, script(func(*http.Request) (*http.Response, error) {
						<-open
						return resp, nil
					}, answers(200, "new", "Cache-Control: max-age=60")))
					before := b.crowd(2, plainGet)
					if when == "before the body" {
						close(open)
						synctest.Wait()
					}
					tt.purge(b.Cache)
					joins := tt.stored && !(name == "other tag" && when == "before the fields")
					after := b.crowd(1, plainGet)
					if n := b.up.fetches.Load(); (n == 1) != joins {
						t.Errorf("%d fetches after the purge, joins %v", n, joins)
					}
					if when == "before the fields" {
						close(open)
					}
					io.WriteString(body, "old")
					body.Close()
					for _, res := range before() {
						if res.Body.String() != "old" || res.aborted {
							t.Errorf("attached client got %q", res.Body)
						}
					}
					want := "new"
					if joins {
						want = "old"
					}
					if got := after()[0].Body.String(); got != want {
						t.Errorf("client after the purge got %q, want %q", got, want)
					}
					b.awaitFetches()
					if !tt.stored {
						b.want(b.get(), 200, "new", "hit")
					}
				})
			})
		}
	}
}

// TestSoftPurge: a softly purged page is served only as stale replies are,
// until upstream has confirmed it.
func TestSoftPurge(t *testing.T) {
	soft := map[string]Selector{
		"url": {URL: pageURL, Soft: true}, "tag": {Tag: "pis", Soft: true}, "all": {All: true, Soft: true},
	}
	for name, selector := range soft {
		b := newBench(t, script(
			answers(200, "old", "Cache-Control: max-age=60", `Etag: "v1"`, "Cache-Tag: pis"),
			failsWith(errRefused),
			answers(304, "", "Cache-Control: max-age=60"),
		))
		b.get()
		if n := b.Purge(selector); n != 1 || b.Purge(selector) != 0 {
			t.Errorf("%s: %d objects", name, n)
		}
		if b.HasFresh(plainGet(0)) {
			t.Errorf("%s: fresh", name)
		}
		b.want(b.get(), 200, "old", "hit; ttl=0; detail=upstream-failed")
		if got := b.up.last().Header.Get("If-None-Match"); got != `"v1"` {
			t.Errorf("%s: asked with %q", name, got)
		}
		b.clock.add(2 * retryAfterFailure)
		b.want(b.get(), 200, "old", "fwd=stale; fwd-status=304; ttl=60")
		b.want(b.get(), 200, "old", "hit; ttl=60")
		b.wantFetches(3)
	}
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60, must-revalidate", "Cache-Tag: a"))
	b.get()
	if n := b.Purge(Selector{Tag: "b", Soft: true}) + b.Purge(Selector{Soft: true}) + b.Purge(Selector{}); n != 0 {
		t.Errorf("%d objects for other selectors", n)
	}
	b.want(b.get(), 200, "x", "hit")
}

// TestSoftPurgeDuringFill: a reply to a request from before the purge is stored
// stale.
func TestSoftPurgeDuringFill(t *testing.T) {
	for name, selector := range map[string]Selector{
		"url": {URL: pageURL, Soft: true}, "tag": {Tag: "pis", Soft: true}, "all": {All: true, Soft: true},
		"hard": {URL: pageURL},
	} {
		synctest.Test(t, func(t *testing.T) {
			up, open := gate(func(n int64, _ *http.Request) (*http.Response, error) {
				if n == 1 {
					return reply(200, "old", "Cache-Control: max-age=60, stale-while-revalidate=60", "Cache-Tag: pis"), nil
				}
				return nil, errRefused
			})
			b := newBench(t, up)
			collect := b.crowd(3, plainGet)
			b.Purge(selector)
			close(open)
			for _, res := range collect() {
				b.want(res, 200, "old", "fwd=uri-miss")
			}
			b.awaitFetches()
			b.clock.add(time.Second)
			res := b.get()
			if name == "hard" {
				if res.Code != 502 {
					t.Errorf("hard: %d %q", res.Code, res.Body)
				}
				return
			}
			b.want(res, 200, "old", "hit; ttl=-1")
		})
	}
}

// TestSoftPurgeBehindTheOwner: a board that is not the owner does not take the
// owner's stale reply for a fresh one.
func TestSoftPurgeBehindTheOwner(t *testing.T) {
	owner := newBench(t, script(answers(200, "old", "Cache-Control: max-age=60, stale-while-revalidate=60"), failsWith(errRefused)))
	board := newBench(t, nil)
	board.route = Route{Level: "rack", Upstream: owner.upstream()}
	board.get()
	for _, b := range []*bench{owner, board} {
		b.Purge(Selector{URL: pageURL, Soft: true})
	}
	for range 3 {
		if res := board.get(); res.Header().Get("Age") < "60" || res.Body.String() != "old" {
			t.Errorf("%q of age %s", res.Body, res.Header().Get("Age"))
		}
		if board.HasFresh(plainGet(0)) {
			t.Error("fresh again")
		}
	}
}

// TestSoftPurgeOfCopies: a copy on its way here arrives stale, one on its way
// from here leaves stale.
func TestSoftPurgeOfCopies(t *testing.T) {
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60", "Cache-Tag: pis"))
	b.get()
	wire := b.AppendWire(nil, b.Peek(pageURL)[0])
	b.Purge(Selector{All: true, Soft: true})
	late := b.AppendWire(nil, b.Peek(pageURL)[0])
	for name, bytes := range map[string][]byte{"on its way": wire, "sent later": late} {
		two := newBench(t, always(500, "must not be asked"))
		g := two.NewGuard(pageURL)
		if name == "on its way" {
			two.Purge(Selector{Tag: "pis", Soft: true})
		}
		o, err := ParseObject(bytes)
		if err != nil {
			t.Fatal(err)
		}
		if err := two.Insert(o, g); err != nil && !errors.Is(err, ErrPurged) {
			t.Fatal(err)
		}
		if len(two.Peek(pageURL)) != 1 || two.HasFresh(plainGet(0)) {
			t.Errorf("%s: %d stored", name, len(two.Peek(pageURL)))
		}
		g.Release()
	}
}

// The request waits for other caches once all URLs are reported, and before the client has
// anything of the reply: from then on it may ask them (RFC 9111 §4.4).
func TestUnsafeRequestAwaitsInvalidation(t *testing.T) {
	named := []string{"Location: /created", "Content-Location: /shown"}
	for _, tt := range []struct {
		method string
		status int
		want   int // URLs
	}{
		{"POST", 201, 3}, {"PUT", 204, 3}, {"DELETE", 303, 3}, {"FROB", 200, 3},
		{"POST", 404, 0}, {"DELETE", 500, 0}, {"OPTIONS", 200, 0},
	} {
		t.Run(fmt.Sprint(tt.method, tt.status), func(t *testing.T) {
			told, settled := 0, 0
			w := httptest.NewRecorder()
			b := newBench(t, always(tt.status, "", named...), func(c *Config) {
				c.OnInvalidate = func(string) { told++ }
				c.AwaitInvalidation = func(context.Context) {
					settled++
					if told != tt.want || w.Flushed || len(w.Header()) > 0 {
						t.Errorf("settled after %d URLs, with %v sent", told, w.Header())
					}
				}
			})
			b.Serve(w, request(tt.method, pageURL), Route{Upstream: b.up})
			if told != tt.want || settled != min(tt.want, 1) {
				t.Errorf("told of %d URLs, settled %d times; want %d and once", told, settled, tt.want)
			}
		})
	}
}

// A page that an unsafe request has changed is validated before each use, also where a stale one may be
// served while it is refreshed (RFC 9111 §4.4), on this board and on those that get a copy; and it is
// served when upstream fails.
func TestInvalidPage(t *testing.T) {
	const fields = "Cache-Control: max-age=60, stale-while-revalidate=600"
	invalid := Selector{URL: pageURL, Soft: true, Invalid: true}
	for name, purges := range map[string][]Selector{
		"at once": {invalid}, "after a soft purge": {{URL: pageURL, Soft: true}, invalid}, "before one": {invalid, {All: true, Soft: true}},
	} {
		b := newBench(t, script(answers(200, "old", fields, `Etag: "v1"`), failsWith(errRefused), answers(304, "", fields)))
		b.get()
		for _, s := range purges {
			b.Purge(s)
		}
		copied, err := ParseObject(b.AppendWire(nil, b.Peek(pageURL)[0]))
		if err != nil {
			t.Fatal(err)
		}
		if copied.born += b.Now(); copied.mayServeWhile(b.Now()) {
			t.Errorf("%s: another board would serve it while it is refreshed", name)
		}
		if res := b.get(); res.Code != 200 || res.Body.String() != "old" {
			t.Errorf("%s: upstream fails: %d %q, want the stand-in", name, res.Code, res.Body)
		}
		b.wantFetches(2)
		b.clock.add(2 * retryAfterFailure)
		b.want(b.get(), 200, "old", "fwd=stale; fwd-status=304; ttl=60")
		b.want(b.get(), 200, "old", "hit; ttl=60")
	}
	kept := newBench(t, always(200, "x", fields))
	kept.get()
	w := httptest.NewRecorder()
	kept.Serve(w, request("DELETE", pageURL), Route{Upstream: kept.up, KeepStored: true})
	kept.want(kept.get(), 200, "x", "hit")
}
