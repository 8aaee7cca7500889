package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// crowd sends n requests at once and waits until all of them are stuck or
// answered. The function that it returns collects the results.
func (b *bench) crowd(n int, ask func(i int) *http.Request) func() []result {
	results := make([]result, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i] = b.serve(ask(i)) })
	}
	synctest.Wait()
	return func() []result {
		wg.Wait()
		return results
	}
}

func plainGet(int) *http.Request { return request("GET", pageURL) }

// gate is an upstream that withholds its replies until the channel is closed.
func gate(answer func(n int64, r *http.Request) (*http.Response, error)) (*fakeUpstream, chan struct{}) {
	open := make(chan struct{})
	return &fakeUpstream{answer: func(n int64, r *http.Request) (*http.Response, error) {
		<-open
		return answer(n, r)
	}}, open
}

// pipeBody is a body that the test writes while it is read.
func pipeBody(length int64, fields ...string) (*http.Response, *io.PipeWriter) {
	pr, pw := io.Pipe()
	resp := reply(200, "", fields...)
	resp.Body, resp.ContentLength = pr, length
	return resp, pw
}

func TestOneFetchForACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(int64, *http.Request) (*http.Response, error) {
			return reply(200, "a page", "Cache-Control: max-age=60"), nil
		})
		b := newBench(t, up)
		collect := b.crowd(500, plainGet)
		close(open)
		for _, res := range collect() {
			if res.Code != 200 || res.Body.String() != "a page" {
				t.Fatalf("got %d %q", res.Code, res.Body)
			}
		}
		b.wantFetches(1)
		if n := b.Stats().Coalesced; n != 499 {
			t.Errorf("%d coalesced, want 499", n)
		}
	})
}

// TestNeverShared is the most important rule: a reply that may not be shared
// reaches the one client that caused it, and the rest go upstream in parallel.
func TestNeverShared(t *testing.T) {
	const n = 50
	tests := map[string][]string{
		"private":       {"Cache-Control: private, max-age=60"},
		"no-store":      {"Cache-Control: no-store"},
		"no-cache":      {"Cache-Control: no-cache, max-age=60"},
		"max-age=0":     {"Cache-Control: max-age=0"},
		"nothing said":  nil,
		"Set-Cookie":    {"Cache-Control: max-age=60", "Set-Cookie: id=%d"},
		"Vary *":        {"Cache-Control: max-age=60", "Vary: *"},
		"vary on who":   {"Cache-Control: max-age=60", "Vary: X-Who"},
		"broken":        {"Cache-Control: max-age=60x"},
		"two lines":     {"Cache-Control: max-age=60", "Cache-Control: private"},
		"stale on come": {"Cache-Control: max-age=60", "Age: 61"},
	}
	for name, fields := range tests {
		for _, authorized := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, authorized %v", name, authorized), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					first := make(chan struct{})
					rest := make(chan struct{})
					up := &fakeUpstream{}
					up.answer = func(n int64, r *http.Request) (*http.Response, error) {
						if n == 1 {
							<-first
						} else {
							<-rest
						}
						who := r.Header.Get("X-Who")
						resp := reply(200, "for "+who, fields...)
						for i, v := range resp.Header["Set-Cookie"] {
							resp.Header["Set-Cookie"][i] = fmt.Sprintf(strings.ReplaceAll(v, "%d", "%s"), who)
						}
						return resp, nil
					}
					b := newBench(t, up)
					ask := func(i int) *http.Request {
						r := request("GET", pageURL, fmt.Sprintf("X-Who: %d", i))
						if authorized {
							r.Header.Set("Authorization", "Basic QQ==")
						}
						return r
					}
					collect := b.crowd(n, ask)
					close(first)
					synctest.Wait()
					// All others are fetched now, side by side.
					b.wantFetches(n)
					close(rest)
					for i, res := range collect() {
						if want := fmt.Sprintf("for %d", i); res.Body.String() != want {
							t.Errorf("client %d got %q", i, res.Body)
						}
						if got := res.Header().Get("Set-Cookie"); got != "" && got != fmt.Sprintf("id=%d", i) {
							t.Errorf("client %d got the cookie %q", i, got)
						}
					}
					b.wantFetches(n)
				})
			})
		}
	}
}

func TestAuthorizedReplyStaysPrivate3_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(_ int64, r *http.Request) (*http.Response, error) {
			return reply(200, "for "+r.Header.Get("Authorization"), "Cache-Control: max-age=60"), nil
		})
		b := newBench(t, up)
		collect := b.crowd(40, func(i int) *http.Request {
			if i%2 == 0 {
				return request("GET", pageURL)
			}
			return request("GET", pageURL, fmt.Sprintf("Authorization: %d", i))
		})
		close(open)
		for i, res := range collect() {
			want := "for "
			if i%2 == 1 {
				want = fmt.Sprintf("for %d", i)
			}
			// A reply to a request without it answers everybody (§3.5 is about
			// storing); one to a request with it answers no other.
			if got := res.Body.String(); got != want && got != "for " {
				t.Errorf("client %d got %q", i, got)
			}
		}
	})
}

// TestUnshareableIsRemembered: the second crowd does not queue behind a first
// client.
func TestUnshareableIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		up, open := gate(func(int64, *http.Request) (*http.Response, error) {
			return reply(200, "x", "Cache-Control: no-store"), nil
		})
		b.up, b.route.Upstream = up, up
		collect := b.crowd(1, plainGet)
		open <- struct{}{}
		collect()
		collect = b.crowd(20, plainGet)
		b.wantFetches(21)
		close(open)
		collect()
		b.clock.add(DefaultUnsharedFor)
		up2, open2 := gate(func(int64, *http.Request) (*http.Response, error) {
			return reply(200, "x", "Cache-Control: max-age=60"), nil
		})
		b.up, b.route.Upstream = up2, up2
		collect = b.crowd(20, plainGet)
		close(open2)
		collect()
		b.wantFetches(1)
	})
}

// TestOneFetchPerVariant: a crowd that turns out to need two variants costs two
// fetches.
func TestOneFetchPerVariant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(_ int64, r *http.Request) (*http.Response, error) {
			return reply(200, "in "+r.Header.Get("Accept-Language"), "Cache-Control: max-age=60", "Vary: Accept-Language"), nil
		})
		b := newBench(t, up)
		collect := b.crowd(100, func(i int) *http.Request {
			return request("GET", pageURL, fmt.Sprintf("Accept-Language: %d", i%2))
		})
		close(open)
		for i, res := range collect() {
			if want := fmt.Sprintf("in %d", i%2); res.Body.String() != want {
				t.Errorf("client %d got %q", i, res.Body)
			}
		}
		b.wantFetches(2)
	})
}

func TestLeaderHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resp, body := pipeBody(-1, "Cache-Control: max-age=60")
		open := make(chan struct{})
		b := newBench(t, script(func(*http.Request) (*http.Response, error) {
			<-open
			return resp, nil
		}))
		ctx, hangUp := context.WithCancel(t.Context())
		leader := b.crowd(1, func(int) *http.Request { return request("GET", pageURL).WithContext(ctx) })
		followers := b.crowd(3, plainGet)
		hangUp()
		leader()
		close(open)
		io.WriteString(body, "first ")
		synctest.Wait()
		late := b.crowd(1, plainGet)
		io.WriteString(body, "second")
		body.Close()
		for _, res := range append(followers(), late()...) {
			if res.Body.String() != "first second" || res.aborted {
				t.Errorf("got %q, aborted %v", res.Body, res.aborted)
			}
		}
		b.awaitFetches()
		b.want(b.get(), 200, "first second", "hit")
		b.wantFetches(1)
	})
}

// TestFetchWithoutReadersIsCancelled: a fetch that no client reads and that will not be stored
// is cancelled.
func TestFetchWithoutReadersIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resp, body := pipeBody(-1, "Cache-Control: no-store")
		b := newBench(t, script(func(*http.Request) (*http.Response, error) { return resp, nil }))
		ctx, hangUp := context.WithCancel(t.Context())
		client := b.crowd(1, func(int) *http.Request { return request("GET", pageURL).WithContext(ctx) })
		io.WriteString(body, "some")
		hangUp()
		if res := client()[0]; !res.aborted {
			t.Error("not aborted")
		}
		body.CloseWithError(context.Canceled) // what a transport does when its context ends
		b.awaitFetches()
	})
}

func TestErrorIsRetriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(int64, *http.Request) (*http.Response, error) { return nil, errRefused })
		b := newBench(t, up)
		collect := b.crowd(100, plainGet)
		close(open)
		for _, res := range collect() {
			if res.Code != 502 {
				t.Errorf("got %d", res.Code)
			}
		}
		b.wantFetches(2) // the first failure may be the first client.s fault
	})
}

func TestNoSlotInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(int64, *http.Request) (*http.Response, error) {
			return reply(200, "x", "Cache-Control: max-age=60"), nil
		})
		b := newBench(t, up, func(c *Config) { c.MaxFetches = 2 })
		collect := b.crowd(3, func(i int) *http.Request { return request("GET", fmt.Sprintf("%s/%d", pageURL, i)) })
		time.Sleep(DefaultFetchWait)
		synctest.Wait()
		close(open)
		codes := map[int]int{}
		for _, res := range collect() {
			codes[res.Code]++
		}
		if codes[200] != 2 || codes[503] != 1 {
			t.Errorf("got %v", codes)
		}
	})
}

// Sites whose origins hang leave fetches for another, whatever their crowds ask for.
func TestHangingSitesLeaveFetchesForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(int64, *http.Request) (*http.Response, error) {
			return reply(200, "x", "Cache-Control: max-age=60"), nil
		})
		b := newBench(t, &fakeUpstream{answer: func(n int64, r *http.Request) (*http.Response, error) {
			if r.URL.Host == "honest.example" {
				return reply(200, "honest", "Cache-Control: max-age=60"), nil
			}
			return up.answer(n, r)
		}}, func(c *Config) { c.SharesFetches = true })
		var collect []func() []result
		for n := range 5 {
			collect = append(collect, b.crowd(200, func(i int) *http.Request {
				return request("GET", fmt.Sprintf("http://hanging-%d.example/%d", n, i))
			}))
			synctest.Wait()
			began := time.Now()
			for i := range 50 {
				if res := b.serve(request("GET", fmt.Sprintf("http://honest.example/%d-%d", n, i))); res.Code != 200 {
					t.Fatalf("with %d hanging sites: %d", n+1, res.Code)
				}
			}
			if waited := time.Since(began); waited > 0 { // the bubble's clock: it stands still while anything runs
				t.Errorf("with %d hanging sites an honest one waited %v", n+1, waited)
			}
		}
		close(open)
		for _, c := range collect {
			c()
		}
	})
}

func TestFillTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.route.Upstream = upstreamFunc(func(ctx context.Context, _ *http.Request) (*http.Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		start := time.Now()
		res := b.serve(request("GET", pageURL))
		if res.Code != 504 || time.Since(start) != DefaultFetchTimeout {
			t.Errorf("got %d after %v", res.Code, time.Since(start))
		}
	})
}

type upstreamFunc func(context.Context, *http.Request) (*http.Response, error)

func (f upstreamFunc) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	return f(ctx, r)
}

func TestRoutesNeverJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, open := gate(func(int64, *http.Request) (*http.Response, error) {
			return reply(200, "x", "Cache-Control: max-age=60"), nil
		})
		b := newBench(t, up)
		one := b.crowd(2, plainGet)
		b.route.Level = "rack"
		two := b.crowd(2, plainGet)
		b.wantFetches(2)
		close(open)
		one()
		two()
	})
}

func TestMayStoreAndReplicate(t *testing.T) {
	var pushed []string
	b := newBench(t, always(200, "x", "Cache-Control: max-age=60"), func(c *Config) {
		c.OnStore = func(o *Object) { pushed = append(pushed, o.Key()) }
	})
	b.route.MayStore = func(string) bool { return false }
	b.route.Replicate = true
	b.get()
	b.get()
	b.wantFetches(2)
	b.route.MayStore = nil
	b.get()
	b.route.Replicate = false
	b.do(request("GET", pageURL+"/2"))
	if len(pushed) != 1 || pushed[0] != pageURL {
		t.Errorf("pushed %v", pushed)
	}
}

func TestCloseEndsFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.route.Upstream = upstreamFunc(func(ctx context.Context, _ *http.Request) (*http.Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		collect := b.crowd(2, plainGet)
		b.Close()
		for _, res := range collect() {
			if res.Code != 503 {
				t.Errorf("got %d", res.Code)
			}
		}
		if res := b.serve(plainGet(0)); res.Code != 503 {
			t.Errorf("after Close: %d", res.Code)
		}
	})
}
