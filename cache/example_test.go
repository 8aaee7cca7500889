package cache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"bramble/cache"
)

// shop is an origin server that counts how often it is asked.
type shop struct{ requests int }

// Fetch implements cache.Upstream. A real one is an http.RoundTripper to the origin,
// or to the board that owns the page.
func (s *shop) Fetch(_ context.Context, r *http.Request) (*http.Response, error) {
	s.requests++
	page := fmt.Sprintf("page %s, version %d\n", r.URL.Path, s.requests)
	return &http.Response{
		StatusCode: http.StatusOK, Request: r,
		Header:        http.Header{"Cache-Control": {"max-age=60"}, "Content-Type": {"text/plain"}, "Surrogate-Key": {"bikes"}},
		ContentLength: int64(len(page)), Body: io.NopCloser(strings.NewReader(page)),
	}, nil
}

// A cache in front of an origin: the first request goes upstream, the second is
// answered from memory, and after a purge the page is fetched again.
func ExampleCache_Serve() {
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) // stands still, for the ttl in the output
	c, err := cache.New(cache.Config{Budget: 16 << 20, Now: func() time.Time { return noon }})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	origin := &shop{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Serve(w, r, cache.Route{Level: "origin", Upstream: origin})
	})
	get := func(url string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
		fmt.Print(w.Header().Get("Cache-Status"), ": ", w.Body)
	}

	get("http://shop.example/bike")
	get("http://shop.example/bike")
	fmt.Println("purged:", c.PurgeTag("bikes"))
	get("http://shop.example/bike")
	fmt.Println("the origin was asked", origin.requests, "times")
	// Output:
	// bramble; fwd=uri-miss; fwd-status=200; stored; ttl=60: page /bike, version 1
	// bramble; hit; ttl=60: page /bike, version 1
	// purged: 1
	// bramble; fwd=uri-miss; fwd-status=200; stored; ttl=60: page /bike, version 2
	// the origin was asked 2 times
}
