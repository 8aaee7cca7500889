package cache

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestStorm runs everything against everything: shared, private, varying, large,
// broken and failing pages, clients that hang up, purges. Every complete reply must
// be one that its client may have, and no older than the last purge before the
// request.
func TestStorm(t *testing.T) {
	const clients, requests, pages = 32, 150, 24
	var version [pages]atomic.Int64 // incremented before each purge of the page
	up := &fakeUpstream{}
	up.answer = func(_ int64, r *http.Request) (*http.Response, error) {
		var page int
		fmt.Sscanf(r.URL.Path, "/%d", &page)
		who, lang := r.Header.Get("X-Who"), r.Header.Get("Accept-Language")
		v := version[page].Load()
		tag := fmt.Sprintf("Surrogate-Key: p%d", page)
		body := func(owner string) string {
			return fmt.Sprintf("%d|%s|%d|", page, owner, v) + strings.Repeat("x", page*page*40)
		}
		switch page % 6 {
		case 0:
			return reply(200, body("all"), "Cache-Control: max-age=60", tag), nil
		case 1:
			return reply(200, body(who), "Cache-Control: private, max-age=60", tag), nil
		case 2:
			return reply(200, body(lang), "Cache-Control: max-age=60", "Vary: Accept-Language", tag), nil
		case 3:
			resp := reply(200, body("all"), "Cache-Control: max-age=60", tag)
			resp.ContentLength = -1
			return resp, nil
		case 4:
			if rand.IntN(4) == 0 {
				return nil, errRefused
			}
			return reply(200, body(who), "Cache-Control: no-cache", fmt.Sprintf(`Etag: "%d-%s"`, v, who), tag), nil
		default:
			resp := reply(200, body("all"), "Cache-Control: max-age=60", tag)
			if rand.IntN(2) == 0 {
				resp.Body = io.NopCloser(io.LimitReader(resp.Body, 3))
			}
			return resp, nil
		}
	}
	b := newBench(t, up, func(c *Config) { c.Budget, c.MaxObject = 1<<20, 8<<10 })
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			who, lang := fmt.Sprintf("who%d", i), fmt.Sprintf("lang%d", i%3)
			for range requests {
				page := r.IntN(pages)
				if r.IntN(20) == 0 {
					version[page].Add(1)
					switch r.IntN(3) {
					case 0:
						b.PurgeURL(fmt.Sprintf("http://shop.example/%d", page))
					case 1:
						b.PurgeTag(fmt.Sprintf("p%d", page))
					default:
						b.PurgeAll()
					}
				}
				least := version[page].Load()
				ctx, cancel := context.WithCancel(context.Background())
				if r.IntN(10) == 0 {
					time.AfterFunc(time.Duration(r.IntN(300))*time.Microsecond, cancel)
				}
				req := request("GET", fmt.Sprintf("http://shop.example/%d", page), "X-Who: "+who, "Accept-Language: "+lang).WithContext(ctx)
				res := b.serve(req)
				gone := ctx.Err() != nil
				cancel()
				if res.aborted || gone || res.Code >= 500 {
					continue
				}
				part := strings.SplitN(res.Body.String(), "|", 4)
				if len(part) != 4 || part[0] != fmt.Sprint(page) || len(part[3]) != page*page*40 {
					t.Errorf("page %d: got %.40q", page, res.Body)
					continue
				}
				if part[1] != "all" && part[1] != who && part[1] != lang {
					t.Errorf("page %d: %s got the reply of %s", page, who, part[1])
				}
				var v int64
				fmt.Sscan(part[2], &v)
				// Another client may be between raising the version and
				// its purge, so only this client's own are certain.
				if v > version[page].Load() || page%6 == 1 && v < least {
					t.Errorf("page %d: version %d, at least %d", page, v, least)
				}
			}
		})
	}
	all.Wait()
	b.awaitFetches()
	if s := b.Stats(); s.Incoming != 0 || s.Bytes > s.Budget || s.Hits == 0 || s.Coalesced == 0 {
		t.Errorf("%+v", s)
	}
	b.PurgeAll()
	if s := b.Stats(); s.Objects != 0 || s.Bytes != 0 {
		t.Errorf("after the purge: %+v", s)
	}
}

// TestPurgeIsComplete: after a purge has returned, no request that begins later
// gets the page from before.
func TestPurgeIsComplete(t *testing.T) {
	var version atomic.Int64
	up := &fakeUpstream{}
	up.answer = func(int64, *http.Request) (*http.Response, error) {
		return reply(200, fmt.Sprint(version.Load()), "Cache-Control: max-age=60", "Cache-Tag: it"), nil
	}
	b := newBench(t, up)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var purged atomic.Int64 // the version that the last completed purge dropped
	for range 8 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := purged.Load()
				var v int64
				fmt.Sscan(b.serve(request("GET", pageURL)).Body.String(), &v)
				if v < least {
					t.Errorf("version %d after %d was purged", v, least-1)
				}
			}
		})
	}
	for i := range int64(300) {
		version.Store(i + 1)
		switch i % 3 {
		case 0:
			b.PurgeURL(pageURL)
		case 1:
			b.PurgeTag("it")
		default:
			b.PurgeAll()
		}
		purged.Store(i + 1)
	}
	close(stop)
	readers.Wait()
}
