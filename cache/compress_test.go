package cache

import (
	"compress/gzip"
	"io"
	"strings"
	"testing"
	"time"
)

var text = strings.Repeat("Raspberry Pi, Model B. ", 200)

func withCompression(c *Config) { c.Compress = true }

func unzip(t *testing.T, res result) string {
	t.Helper()
	if res.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("not compressed: %v", res.Header())
	}
	zr, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestCompress: text is fetched once and answers both classes of clients.
func TestCompress(t *testing.T) {
	pushed := 0
	for _, first := range []string{"gzip, br", "identity"} {
		b := newBench(t, always(200, text, "Cache-Control: max-age=60", "Content-Type: text/html; charset=utf-8", `Etag: "v1"`, "Vary: X-A"),
			withCompression, func(c *Config) { c.OnStore = func(*Object) { pushed++ } })
		b.route.Replicate = true
		res := b.get("Accept-Encoding: " + first)
		if res.Body.String() != text || res.Header().Get("Etag") != `"v1"` || !hasListMember(res.Header()["Vary"], "accept-encoding") {
			t.Errorf("first: %d bytes, %v", res.Body.Len(), res.Header())
		}
		res = b.get("Accept-Encoding: gzip")
		if res.Header().Get("Etag") != `W/"v1"` || !hasListMember(res.Header()["Vary"], "accept-encoding") || res.Body.Len() > len(text)/2 {
			t.Errorf("gzip: %d bytes, %v", res.Body.Len(), res.Header())
		}
		if got := unzip(t, res); got != text {
			t.Errorf("gzip: %d bytes", len(got))
		}
		res = b.get()
		if res.Body.String() != text || res.Header().Get("Etag") != `"v1"` || res.Header().Get("Content-Encoding") != "" {
			t.Errorf("identity: %d bytes, %v", res.Body.Len(), res.Header())
		}
		if res = b.get("Accept-Encoding: gzip", `If-None-Match: W/"v1"`); res.Code != 304 {
			t.Errorf("If-None-Match: %d", res.Code)
		}
		b.wantFetches(1)
		if n := len(b.Peek(pageURL)); n != 2 {
			t.Errorf("%d variants", n)
		}
	}
	if pushed != 2 {
		t.Errorf("OnStore was called %d times, want once a page", pushed)
	}
}

// TestCompressedVariantIsRevalidated: upstream does not know the variant and confirms it
// all the same.
func TestCompressedVariantIsRevalidated(t *testing.T) {
	b := newBench(t, script(
		answers(200, text, "Cache-Control: max-age=60", "Content-Type: text/html", `Etag: "v1"`),
		answers(304, "", "Cache-Control: max-age=60", `Etag: "v1"`, "Vary: X-A"),
	), withCompression)
	b.route.Replicate = true
	b.get()
	b.clock.add(time.Minute)
	for _, when := range []string{"renewed", "stored"} {
		res := b.get("Accept-Encoding: gzip")
		if res.Header().Get("Etag") != `W/"v1"` || !hasListMember(res.Header()["Vary"], "accept-encoding") || !hasListMember(res.Header()["Vary"], "x-a") {
			t.Errorf("%s: %v", when, res.Header())
		}
		if got := unzip(t, res); got != text {
			t.Errorf("%s: %d bytes", when, len(got))
		}
	}
	b.wantFetches(2)
	if got := b.up.last().Header.Get("If-None-Match"); got != `W/"v1"` {
		t.Errorf("asked with %s", got)
	}
}

func TestCompressible(t *testing.T) {
	random := "Content-Type: image/png"
	tests := []struct {
		name   string
		body   string
		fields []string
		split  bool
	}{
		{"html", text, []string{"Content-Type: text/html"}, true},
		{"json", text, []string{"Content-Type: application/problem+json"}, true},
		{"svg", text, []string{"Content-Type: image/svg+xml"}, true},
		{"picture", text, []string{random}, false},
		{"no type", text, nil, false},
		{"small", text[:minCompress-1], []string{"Content-Type: text/html"}, false},
		{"no-transform", text, []string{"Content-Type: text/html", "Cache-Control: no-transform"}, false},
		{"encoded", text, []string{"Content-Type: text/html", "Content-Encoding: br"}, false},
		{"digest", text, []string{"Content-Type: text/html", "Content-Digest: sha-256=:AA==:"}, false},
	}
	for _, tt := range tests {
		b := newBench(t, always(200, tt.body, append(tt.fields, "Cache-Control: max-age=60")...), withCompression)
		b.route.Replicate = true
		b.get("Accept-Encoding: gzip")
		if split := len(b.Peek(pageURL)) == 2; split != tt.split {
			t.Errorf("%s: split %v, want %v", tt.name, split, tt.split)
		}
		b.route.Replicate = false
		b.do(request("GET", pageURL+"/2"))
		if n := len(b.Peek(pageURL + "/2")); n != 1 {
			t.Errorf("%s: %d variants on a board that is not the owner", tt.name, n)
		}
	}
}
