package cache

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
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
					}, says(200, "new", "Cache-Control: max-age=60")))
					before := b.crowd(2, plain)
					if when == "before the body" {
						close(open)
						synctest.Wait()
					}
					tt.purge(b.Cache)
					joins := tt.stored && !(name == "other tag" && when == "before the fields")
					after := b.crowd(1, plain)
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
					b.settle()
					if !tt.stored {
						b.want(b.get(), 200, "new", "hit")
					}
				})
			})
		}
	}
}
