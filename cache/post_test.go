package cache

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestPOST9_3_3(t *testing.T) {
	const here = "Content-Location: /model-b"
	tests := []struct {
		name   string
		method string
		fields []string
		reused bool
	}{
		{"its own URL and a lifetime", "POST", []string{here, "Cache-Control: max-age=60"}, true},
		{"absolute URL", "POST", []string{"Content-Location: " + pageURL, "Cache-Control: max-age=60"}, true},
		{"Expires", "POST", []string{here, "Date: Wed, 29 Feb 2012 06:00:00 GMT", "Expires: Wed, 29 Feb 2012 07:00:00 GMT"}, true},
		{"no Content-Location", "POST", []string{"Cache-Control: max-age=60"}, false},
		{"another URL", "POST", []string{"Content-Location: /model-a", "Cache-Control: max-age=60"}, false},
		{"a heuristic", "POST", []string{here, "Date: Wed, 29 Feb 2012 06:00:00 GMT", "Last-Modified: Wed, 29 Feb 2012 03:00:00 GMT"}, false},
		{"private", "POST", []string{here, "Cache-Control: private, max-age=60"}, false},
		{"no-store", "POST", []string{here, "Cache-Control: no-store, max-age=60"}, false},
		{"cookie", "POST", []string{here, "Cache-Control: max-age=60", "Set-Cookie: a=b"}, false},
		{"varies", "POST", []string{here, "Cache-Control: max-age=60", "Vary: X-A"}, false},
		{"PUT", "PUT", []string{here, "Cache-Control: max-age=60"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var invalid []string
			var b *bench
			b = newBench(t, script(answers(200, "old", "Cache-Control: max-age=60"), answers(200, "posted", tt.fields...), answers(200, "got")),
				func(c *Config) {
					c.OnInvalidate = func(u string) {
						invalid = append(invalid, u)
						b.Purge(Selector{URL: u, Soft: true, Invalid: true})
					}
				})
			b.get()
			r := request(tt.method, pageURL)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("one")), 3
			b.want(b.do(r), 200, "posted", "fwd=method")
			if tt.reused {
				b.want(b.get(), 200, "posted", "hit")
				b.want(b.do(request("HEAD", pageURL)), 200, "", "hit")
				b.wantFetches(2)
			} else {
				b.want(b.get(), 200, "got", "fwd=stale")
			}
			if invalid[0] != pageURL {
				t.Errorf("invalid %v", invalid)
			}
			if n := b.Stats().Incoming; n != 0 {
				t.Errorf("%d bytes are still set aside", n)
			}
		})
	}
}

// TestPOSTIsNotAnsweredFromMemory, nor stored when it was purged on its way or
// broke off.
func TestPOSTIsNotAnsweredFromMemory(t *testing.T) {
	fields := []string{"Content-Location: /model-b", "Cache-Control: max-age=60"}
	b := newBench(t, always(200, "posted", fields...))
	for range 2 {
		b.do(request("POST", pageURL))
	}
	b.wantFetches(2)

	for n, want := range []string{"hit", "hit", "fwd=stale"} {
		b = newBench(t, always(200, "posted", fields...), func(c *Config) {
			c.OnInvalidate = func(u string) {
				for range n { // none, its own, and one of another client
					b.Purge(Selector{URL: u, Soft: true, Invalid: true})
				}
			}
		})
		b.do(request("POST", pageURL))
		b.want(b.get(), 200, "posted", want)
	}

	up := &fakeUpstream{}
	b = newBench(t, up)
	up.answer = func(n int64, r *http.Request) (*http.Response, error) {
		if n == 1 {
			b.PurgeURL(pageURL)
		}
		resp := reply(200, "posted", fields...)
		if n == 3 {
			resp.Body = io.NopCloser(strings.NewReader("post"))
		}
		return resp, nil
	}
	b.do(request("POST", pageURL))
	b.get()
	b.wantFetches(2)
	b.PurgeAll()
	if res := b.do(request("POST", pageURL)); res.Code != 502 || res.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("cut off: %d %q %v", res.Code, res.Body, res.Header())
	}
	if n := b.Stats().Objects; n != 0 {
		t.Errorf("%d objects after a broken POST", n)
	}
}
