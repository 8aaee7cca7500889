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

// plainSize is the body, in bytes, that stands for a trace's unit where the
// real cache is asked: a small page.
const plainSize = 4 << 10

// whole is the whole of Bramble's cache: requests go through Serve, and what is
// not in memory is fetched from an origin that makes up a page of the right size.
// So it shows what shards, bookkeeping and the place for bodies on their way in
// cost a hit ratio.
type whole struct {
	cache *cache.Cache
	scale int64
	// The request under way.
	size    int64
	fetched bool
}

// newStore gives a cache with room for the budget's entries with what they
// really cost.
func newStore(b budget) (contender, error) {
	w := &whole{scale: 1}
	if b.bytes == int64(b.entries) {
		w.scale = plainSize
	}
	const probe = 4 << 20
	mean := max(b.bytes*w.scale/int64(b.entries), 1)
	if err := w.open(max(probe, 64*mean)); err != nil {
		return nil, err
	}
	for i := range uint64(100) {
		w.ask(i, max(mean/w.scale, 1))
	}
	s := w.cache.Stats()
	w.cache.Close()
	each := s.Bytes / max(s.Objects, 1)
	// An eighth is for bodies on their way in, 8 % for tuner and sketches.
	return w, w.open(max(each*int64(b.entries)*8/7*108/100, 1<<20))
}

func (w *whole) open(bytes int64) (err error) {
	w.cache, err = cache.New(cache.Config{Budget: bytes, MaxObject: bytes / 16, Logger: slog.New(slog.DiscardHandler)})
	return err
}

func (w *whole) ask(key uint64, size int64) bool {
	w.size, w.fetched = size*w.scale, false
	r := &http.Request{
		Method: http.MethodGet, Header: http.Header{},
		URL: &url.URL{Scheme: "http", Host: "shop.example", Path: "/" + strconv.FormatUint(key, 36)},
	}
	w.cache.Serve(&sink{http.Header{}}, r, cache.Route{Name: "origin", Upstream: w})
	return !w.fetched
}

func (w *whole) close() { w.cache.Close() }

// Fetch is the origin.
func (w *whole) Fetch(_ context.Context, r *http.Request) (*http.Response, error) {
	w.fetched = true
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: w.size,
		Header: http.Header{"Cache-Control": {"max-age=86400"}, "Content-Length": {strconv.FormatInt(w.size, 10)}},
		Body:   io.NopCloser(bytes.NewReader(make([]byte, w.size))),
	}, nil
}

// sink is a client that throws away what it gets.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}
