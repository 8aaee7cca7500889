package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"bramble/cache"
)

// plainSize is the body size, in bytes, that stands for a trace's unit in the real
// cache: a small page.
const plainSize = 4 << 10

// brambleCache is the complete cache: requests go through Serve, and a miss is
// fetched from an origin that makes up a page of the right size. So it shows what
// shards, bookkeeping and the budget for bodies on their way in cost in hit ratio.
type brambleCache struct {
	cache *cache.Cache
	scale int64
	// The request under way.
	size    int64
	fetched bool
}

// newStore returns a cache with room for the budget's entries at their real cost.
func newStore(b budget) (simCache, error) {
	w := &brambleCache{scale: 1}
	if b.bytes == int64(b.entries) {
		w.scale = plainSize
	}
	const probe = 4 << 20
	mean := max(b.bytes*w.scale/int64(b.entries), 1)
	if err := w.open(max(probe, 64*mean)); err != nil {
		return nil, err
	}
	for i := range uint64(100) {
		w.request(i, max(mean/w.scale, 1))
	}
	s := w.cache.Stats()
	w.cache.Close()
	each := s.Bytes / max(s.Objects, 1)
	// An eighth is for bodies on their way in, 8 % for tuner and sketches.
	return w, w.open(max(each*int64(b.entries)*8/7*108/100, 1<<20))
}

func (w *brambleCache) open(bytes int64) (err error) {
	w.cache, err = cache.New(cache.Config{Budget: bytes, MaxObject: bytes / 16, Logger: slog.New(slog.DiscardHandler)})
	return err
}

func (w *brambleCache) request(key uint64, size int64) bool {
	w.size, w.fetched = size*w.scale, false
	r := &http.Request{
		Method: http.MethodGet, Header: http.Header{},
		URL: &url.URL{Scheme: "http", Host: "shop.example", Path: "/" + strconv.FormatUint(key, 36)},
	}
	w.cache.Serve(&sink{http.Header{}}, r, cache.Route{Level: "origin", Upstream: w})
	return !w.fetched
}

func (w *brambleCache) close() { w.cache.Close() }

// Fetch is the origin.
func (w *brambleCache) Fetch(_ context.Context, r *http.Request) (*http.Response, error) {
	w.fetched = true
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: w.size,
		Header: http.Header{"Cache-Control": {"max-age=86400"}, "Content-Length": {strconv.FormatInt(w.size, 10)}},
		Body:   io.NopCloser(bytes.NewReader(make([]byte, w.size))),
	}, nil
}

// sink is a client that discards its reply.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}
