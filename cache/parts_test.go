package cache

import (
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const digits = "0123456789abcdefghij"

// ranger is an origin that honours single ranges of digits.
func ranger(fields ...string) *fakeUpstream {
	return &fakeUpstream{answer: func(_ int64, r *http.Request) (*http.Response, error) {
		etag := ""
		for _, f := range fields {
			if v, ok := strings.CutPrefix(f, "Etag: "); ok {
				etag = v
			}
		}
		want := r.Header.Get("Range")
		if cond := r.Header.Get("If-Range"); want == "" || cond != "" && cond != etag {
			return reply(200, digits, fields...), nil
		}
		parts, kind := parseRange(want, int64(len(digits)))
		if kind == rangeNone {
			return reply(416, "", "Content-Range: bytes */20"), nil
		}
		p := parts[0]
		return reply(206, digits[p.offset:p.end()], append(fields, "Content-Range: "+contentRange(p, 20))...), nil
	}}
}

// TestPartialContent3_3: what a stored part may answer, and what is requested if
// it may not.
func TestPartialContent3_3(t *testing.T) {
	const strong, weak = `Etag: "v1"`, `Etag: W/"v1"`
	tests := []struct {
		name          string
		first, second string // Range
		etag          string
		asked         string // the second request upstream, "-" if there is none
		fetches       int64  // in all
	}{
		{"same range", "bytes=5-9", "bytes=5-9", "", "-", 1},
		{"inside", "bytes=5-9", "bytes=6-8", "", "-", 1},
		{"suffix inside", "bytes=10-", "bytes=-4", "", "-", 1},
		{"open end inside", "bytes=10-", "bytes=15-", "", "-", 1},
		{"beside", "bytes=5-9", "bytes=10-12", strong, "bytes=10-12", 2},
		{"more than the part", "bytes=5-9", "bytes=5-10", strong, "bytes=5-10", 2},
		{"whole, the end missing", "bytes=0-9", "", strong, "bytes=10-", 2},
		{"whole, the start missing", "bytes=8-", "", strong, "bytes=0-7", 2},
		{"whole, both missing", "bytes=8-9", "", strong, "", 2},
		{"whole, weak tag", "bytes=0-9", "", weak, "", 2},
		{"whole, no tag", "bytes=0-9", "", "", "", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fields := []string{"Cache-Control: max-age=60"}
			if tt.etag != "" {
				fields = append(fields, tt.etag)
			}
			b := newBench(t, ranger(fields...))
			b.get("Range: " + tt.first)
			if got := b.up.last().Header.Get("Range"); got != tt.first {
				t.Errorf("the first request asked for %q", got)
			}
			var ask []string
			want, code := digits, 200
			if tt.second != "" {
				ask, code = []string{"Range: " + tt.second}, 206
				parts, _ := parseRange(tt.second, 20)
				want = digits[parts[0].offset:parts[0].end()]
			}
			res := b.get(ask...)
			if res.Code != code || res.Body.String() != want || res.aborted {
				t.Errorf("got %d %q, want %d %q", res.Code, res.Body, code, want)
			}
			b.wantFetches(tt.fetches)
			if got := b.up.last().Header.Get("Range"); tt.asked != "-" && got != tt.asked {
				t.Errorf("upstream was asked for %q, want %q", got, tt.asked)
			}
		})
	}
}

// TestCombine3_4: parts under one strong tag become the page.
func TestCombine3_4(t *testing.T) {
	b := newBench(t, ranger("Cache-Control: max-age=60", `Etag: "v1"`, "Vary: X-A"))
	for _, r := range []string{"bytes=12-", "bytes=0-5", "bytes=4-11"} {
		b.get("Range: "+r, "X-A: 1")
	}
	b.wantFetches(3)
	res := b.get("X-A: 1")
	b.want(res, 200, digits, "hit")
	if res.Header().Get("Content-Range") != "" || res.Header().Get("Content-Length") != "20" {
		t.Errorf("got %v", res.Header())
	}
	if parts := b.Peek(partsKey(pageURL)); len(parts) != 0 {
		t.Errorf("%d parts are left", len(parts))
	}
	b.wantFetches(3)
	b.get("X-A: 2", "Range: bytes=0-1")
	b.wantFetches(4)
}

// TestJoinedPart: a part that was joined from two answers ranges across the seam,
// and only with the requested bytes.
func TestJoinedPart(t *testing.T) {
	b := newBench(t, ranger("Cache-Control: max-age=60", `Etag: "v1"`))
	b.get("Range: bytes=2-5")
	b.get("Range: bytes=6-9")
	for _, r := range []string{"bytes=6-9", "bytes=2-5", "bytes=4-7", "bytes=2-9"} {
		parts, _ := parseRange(r, 20)
		res := b.get("Range: " + r)
		b.want(res, 206, digits[parts[0].offset:parts[0].end()], "hit")
		if got := res.Header().Get("Content-Range"); got != contentRange(parts[0], 20) {
			t.Errorf("%s: %s", r, got)
		}
	}
	b.wantFetches(2)
}

// TestChangedMeanwhile: parts of two versions are never joined.
func TestChangedMeanwhile(t *testing.T) {
	old := reply(206, "01234", "Cache-Control: max-age=60", `Etag: "v1"`, "Content-Range: bytes 0-4/20")
	for name, second := range map[string]*fakeUpstream{
		"If-Range refused":  ranger("Cache-Control: max-age=60", `Etag: "v2"`),
		"If-Range unknown":  always(206, "56789abcdefghij", "Cache-Control: max-age=60", `Etag: "v2"`, "Content-Range: bytes 5-19/20"),
		"another length":    always(206, "56789abcdefghijk", "Cache-Control: max-age=60", `Etag: "v1"`, "Content-Range: bytes 5-20/21"),
		"another range":     always(206, "0", "Cache-Control: max-age=60", `Etag: "v1"`, "Content-Range: bytes 0-0/20"),
		"range gone (416)":  always(416, "", "Content-Range: bytes */3"),
		"no content range":  always(206, "56789abcdefghij", `Etag: "v1"`),
		"length and length": always(206, "56789", `Etag: "v1"`, "Content-Range: bytes 5-19/20"),
	} {
		up := &fakeUpstream{}
		up.answer = func(n int64, r *http.Request) (*http.Response, error) {
			switch {
			case n == 1:
				return old, nil
			case r.Header.Get("Range") != "":
				return second.answer(n, r)
			}
			return reply(200, "new", "Cache-Control: max-age=60"), nil
		}
		old.Body = io.NopCloser(strings.NewReader("01234"))
		b := newBench(t, up)
		b.get("Range: bytes=0-4")
		res := b.get()
		if got := res.Body.String(); got != "new" && got != digits || res.Code != 200 || name != "If-Range refused" && got != "new" {
			t.Errorf("%s: %d %q", name, res.Code, got)
		}
	}
}

func TestPartsAreJudged(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
		ask    []string
		reused bool
	}{
		{"fresh", []string{"Cache-Control: max-age=60"}, nil, true},
		{"stale", []string{"Cache-Control: max-age=1"}, nil, false},
		{"private", []string{"Cache-Control: private, max-age=60"}, nil, false},
		{"varies", []string{"Cache-Control: max-age=60", "Vary: X-A"}, []string{"X-A: 1"}, false},
		{"cookie", []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, nil, false},
		{"If-Range", []string{"Cache-Control: max-age=60", `Etag: "v1"`}, []string{`If-Range: "v1"`}, true},
		{"If-Range other", []string{"Cache-Control: max-age=60", `Etag: "v1"`}, []string{`If-Range: "v2"`}, false},
		{"If-None-Match", []string{"Cache-Control: max-age=60", `Etag: "v1"`}, []string{`If-None-Match: "v2"`}, false},
	}
	for _, tt := range tests {
		b := newBench(t, ranger(tt.fields...))
		b.get("Range: bytes=0-4")
		b.clock.add(2 * time.Second)
		b.get(append(tt.ask, "Range: bytes=1-2")...)
		if reused := b.up.fetches.Load() == 1; reused != tt.reused {
			t.Errorf("%s: reused %v, want %v", tt.name, reused, tt.reused)
		}
	}
}

// TestPartsArePurged: a purge of a page purges its parts.
func TestPartsArePurged(t *testing.T) {
	for name, purge := range map[string]func(*bench){
		"url":  func(b *bench) { b.PurgeURL(pageURL) },
		"tag":  func(b *bench) { b.PurgeTag("it") },
		"all":  func(b *bench) { b.PurgeAll() },
		"soft": func(b *bench) { b.Purge(Selector{URL: pageURL, Soft: true}) },
		"POST": func(b *bench) { b.do(request("POST", pageURL)) },
	} {
		b := newBench(t, ranger("Cache-Control: max-age=60", "Cache-Tag: it"))
		b.get("Range: bytes=0-4")
		purge(b)
		n := b.up.fetches.Load()
		b.get("Range: bytes=0-4")
		b.wantFetches(n + 1)
		for key := range b.Keys {
			t.Errorf("%s: key %q", name, key)
		}
	}
}

// TestShortPart: of a part that is shorter than its Content-Range says, the bytes that are
// there are used.
func TestShortPart(t *testing.T) {
	b := newBench(t, always(206, "45678", "Cache-Control: max-age=60", "Content-Range: bytes 4-9/10"))
	b.get("Range: bytes=-6")
	for r, want := range map[string]string{"bytes=-6": "45678", "bytes=5-6": "56", "bytes=8-": "8"} {
		b.want(b.get("Range: "+r), 206, want, "hit")
	}
	b.wantFetches(1)
	b.get("Range: bytes=-1")
	b.wantFetches(2)
	long := newBench(t, always(206, "0123456", "Cache-Control: max-age=60", "Content-Range: bytes 0-4/10"))
	long.get("Range: bytes=0-4")
	long.get("Range: bytes=0-4")
	long.wantFetches(2)
}

func TestSeveralRanges14_6(t *testing.T) {
	b := newBench(t, always(200, digits, "Cache-Control: max-age=60", "Content-Type: text/plain", `Etag: "v1"`))
	b.want(b.get("Range: bytes=0-1,4-5"), 200, digits, "fwd=uri-miss")
	res := b.get("Range: bytes=0-1, 4-5,-3")
	kind, params, err := mime.ParseMediaType(res.Header().Get("Content-Type"))
	if res.Code != 206 || err != nil || kind != "multipart/byteranges" || res.Header().Get("Content-Range") != "" ||
		res.Header().Get("Content-Length") != fmt.Sprint(res.Body.Len()) {
		t.Fatalf("%d %v", res.Code, res.Header())
	}
	parts := multipart.NewReader(res.Body, params["boundary"])
	for _, want := range []string{"bytes 0-1/20 01", "bytes 4-5/20 45", "bytes 17-19/20 hij"} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if got := part.Header.Get("Content-Range") + " " + string(body); err != nil || got != want || part.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("more: %v", err)
	}
}

// TestPartsStorm: however ranges, complete pages, new versions and purges mix, no
// reply is made of two versions.
func TestPartsStorm(t *testing.T) {
	const size, clients, requests = 64, 16, 300
	var version atomic.Int64
	up := &fakeUpstream{}
	up.answer = func(_ int64, r *http.Request) (*http.Response, error) {
		v := version.Load()
		body := strings.Repeat(string(rune('a'+v%26)), size)
		etag := fmt.Sprintf(`"%d"`, v)
		fields := []string{"Cache-Control: max-age=60", "Etag: " + etag}
		want := r.Header.Get("Range")
		if cond := r.Header.Get("If-Range"); want == "" || cond != "" && cond != etag {
			return reply(200, body, fields...), nil
		}
		parts, _ := parseRange(want, size)
		p := parts[0]
		return reply(206, body[p.offset:p.end()], append(fields, "Content-Range: "+contentRange(p, size))...), nil
	}
	b := newBench(t, up)
	var all sync.WaitGroup
	var hits atomic.Int64
	for i := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range requests {
				switch r.IntN(40) {
				case 0, 1:
					version.Add(1) // and the cache is not told
				case 2:
					b.PurgeURL(pageURL)
				case 3:
					b.Purge(Selector{All: true, Soft: true})
				}
				ask, length := request("GET", pageURL), size
				if r.IntN(4) > 0 {
					from := r.IntN(size)
					to := from + r.IntN(size-from)
					ask.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
					length = to - from + 1
				}
				res := b.serve(ask)
				body := res.Body.String()
				if res.aborted || len(body) != length || strings.Count(body, body[:1]) != length {
					t.Errorf("%v: %d %q", ask.Header, res.Code, body)
				}
				if asked := res.Header().Get("Cache-Status"); strings.Contains(asked, "hit") {
					hits.Add(1)
				}
			}
		})
	}
	all.Wait()
	b.awaitFetches()
	if hits.Load() == 0 || b.Stats().Incoming != 0 {
		t.Errorf("%d hits, %+v", hits.Load(), b.Stats())
	}
}

// FuzzContentRange: an accepted field can be written again.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-4/5", "bytes */5", "bytes 0-4/*", "bytes 4-0/5", "bytes 0-5/5", "Bytes 0-0/999999999999999999", "bytes  0-1/2", "bytes=0-1/2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		part, size, ok := parseContentRange([]string{s})
		if !ok {
			return
		}
		if part.length < 1 || part.end() > size {
			t.Fatalf("%q: %+v of %d", s, part, size)
		}
		again, total, ok := parseContentRange([]string{contentRange(part, size)})
		if !ok || again != part || total != size {
			t.Fatalf("%q became %q", s, contentRange(part, size))
		}
	})
}
