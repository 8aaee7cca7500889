package cache

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"
)

// hitRequestOf is a request as a front would have parsed it.
func hitRequestOf(r *http.Request) *HitRequest {
	value := func(name string) []byte {
		if lines, has := r.Header[name]; has {
			return []byte(lines[0])
		}
		return nil
	}
	_, control := r.Header["Cache-Control"]
	return &HitRequest{
		Key: []byte(Key(r)), Encoding: value("Accept-Encoding"), NoneMatch: value("If-None-Match"),
		Since: value("If-Modified-Since"), Directives: control, IsHEAD: r.Method == http.MethodHead,
	}
}

// sameAsServe compares the answers of AppendHit and Serve. hit is whether
// AppendHit answered.
func (b *bench) sameAsServe(t *testing.T, r *http.Request) (hit bool) {
	t.Helper()
	head, body, ok := b.AppendHit([]byte("before "), hitRequestOf(r), nil)
	if !ok {
		if string(head) != "before " || body != nil {
			t.Errorf("no hit, and yet %q, %q", head, body)
		}
		return false
	}
	text := strings.TrimPrefix(string(head), "before ") + "\r\n"
	for _, part := range body {
		text += string(part)
	}
	got, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), r)
	if err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	page, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	want := b.do(r)
	if got.StatusCode != want.Code || string(page) != want.Body.String() || !reflect.DeepEqual(got.Header, want.Header()) {
		t.Errorf("AppendHit: %d %v %q\nServe: %d %v %q", got.StatusCode, got.Header, page, want.Code, want.Header(), want.Body)
	}
	return true
}

func TestAppendHitAnswersAsServe(t *testing.T) {
	const date = "Wed, 29 Feb 2012 06:00:00 GMT"
	dated := []string{"Date: " + date, "Content-Type: text/html"}
	// Clipped, so that no two tests append to one array.
	fresh := slices.Clip(append(dated, "Cache-Control: max-age=100", `Etag: "a"`, "Last-Modified: "+date))
	tests := map[string]struct {
		stored []string
		asked  []string
		change func(*Config)
		hit    bool
	}{
		"fresh":              {fresh, nil, nil, true},
		"etag":               {fresh, []string{`If-None-Match: W/"a"`}, nil, true},
		"other etag":         {fresh, []string{`If-None-Match: "b"`}, nil, true},
		"any etag":           {fresh, []string{`If-None-Match: *`, "If-Modified-Since: x"}, nil, true},
		"its date":           {fresh, []string{"If-Modified-Since: " + date}, nil, true},
		"another date":       {fresh, []string{"If-Modified-Since: Tue, 28 Feb 2012 06:00:00 GMT"}, nil, false},
		"no date":            {fresh, []string{"If-Modified-Since: x"}, nil, false},
		"same, but no date":  {append(dated, "Cache-Control: max-age=100", "Last-Modified: x"), []string{"If-Modified-Since: x"}, nil, false},
		"stale":              {append(dated, "Cache-Control: max-age=3", `Etag: "a"`), nil, nil, false},
		"stale meanwhile":    {append(dated, "Cache-Control: max-age=3, stale-while-revalidate=99"), nil, nil, false},
		"no-cache":           {append(dated, "Cache-Control: max-age=100, no-cache", `Etag: "a"`), nil, nil, false},
		"via":                {fresh, nil, func(cfg *Config) { cfg.Via = "rack" }, true},
		"via, not modified":  {fresh, []string{`If-None-Match: "a"`}, func(cfg *Config) { cfg.Via = "rack" }, true},
		"via already":        {append(fresh, "Via: 1.1 x, 1.1 rack"), nil, func(cfg *Config) { cfg.Via = "rack" }, true},
		"via of others":      {append(fresh, "Via: 1.1 x"), nil, func(cfg *Config) { cfg.Via = "rack" }, true},
		"other Cache-Status": {append(fresh, "Cache-Status: x; hit"), nil, nil, true},
		"no Cache-Status":    {fresh, nil, func(cfg *Config) { cfg.NoCacheStatus = true }, true},
		"odd name":           {fresh, nil, func(cfg *Config) { cfg.Name = `board "one"` }, true},
		"no-cache asked":     {fresh, []string{"Cache-Control: no-cache"}, nil, true},
		"and listened to":    {fresh, []string{"Cache-Control: no-cache"}, func(cfg *Config) { cfg.ClientDirectives = true }, false},
		"no type":            {[]string{"Date: " + date, "Cache-Control: max-age=100"}, nil, nil, false},
		"several lines":      {append(fresh, "X-A: 1", "X-A: 2", "Content-Language: en"), []string{`If-None-Match: "a"`}, nil, true},
		"two gaps":           {append(fresh, "Content-Language: en", "Content-Security-Policy: x", "Content-Encoding: x"), []string{`If-None-Match: "a"`}, nil, true},
		"three gaps":         {append(fresh, "Content-Language: en", "Content-Security-Policy: x", "Content-Location: /", "Content-Range: x"), nil, nil, false},
		"gap at the start":   {[]string{"Content-Type: text/html", "Date: " + date, "Expires: Wed, 29 Feb 2012 07:00:00 GMT", `Etag: "a"`}, []string{`If-None-Match: "a"`}, nil, true},
		"vary, as asked":     {append(fresh, "Vary: Accept-Encoding"), []string{"Accept-Encoding: gzip"}, nil, true},
		"vary, other name":   {append(fresh, "Vary: X-Other"), nil, nil, false},
		"vary, two names":    {append(fresh, "Vary: Accept-Encoding, Accept-Language"), []string{"Accept-Encoding: gzip"}, nil, false},
		"a long head":        {append(fresh, "X-Long: "+strings.Repeat("x", maxPrepared)), nil, nil, false},
		"a blank at the end": {append(fresh, "X-A: x "), nil, nil, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, always(200, "page", test.stored...), func(cfg *Config) {
				if test.change != nil {
					test.change(cfg)
				}
			})
			var first []string
			for _, f := range test.asked {
				if strings.HasPrefix(f, "Accept-") {
					first = append(first, f)
				}
			}
			b.get(first...)
			b.clock.add(5 * time.Second)
			for _, method := range []string{"GET", "HEAD"} {
				if hit := b.sameAsServe(t, request(method, pageURL, test.asked...)); hit != test.hit {
					t.Errorf("%s: hit: %v, want %v", method, hit, test.hit)
				}
			}
		})
	}
}

func TestAppendHitFindsTheEncoding(t *testing.T) {
	b := newBench(t, &fakeUpstream{answer: func(_ int64, r *http.Request) (*http.Response, error) {
		return reply(200, "as "+r.Header.Get("Accept-Encoding"), "Date: Wed, 29 Feb 2012 06:00:00 GMT", "Content-Type: text/plain",
			"Cache-Control: max-age=100", "Vary: Accept-Encoding"), nil
	}})
	for _, accepted := range []string{"gzip", "", "identity"} {
		b.get("Accept-Encoding: " + accepted)
	}
	for accepted, hit := range map[string]bool{
		"gzip": true, "gzip, deflate": true, "gzip, deflate, br": true, "gzip, deflate, br, zstd": true, "br;q=1.0, gzip;q=0.8, *;q=0.1": true,
		"": true, "identity": true, "br": true, "gzip;q=0": true, "x-gzip": true,
		"identity;q=0": false, "gzip;q=2": false,
	} {
		if got := b.sameAsServe(t, request("GET", pageURL, "Accept-Encoding: "+accepted)); got != hit {
			t.Errorf("%q: hit: %v, want %v", accepted, got, hit)
		}
	}
	if !b.sameAsServe(t, request("GET", pageURL)) {
		t.Error("no hit without Accept-Encoding")
	}
}

// The table of what browsers send agrees with encodingClass.
func TestKnownEncodings(t *testing.T) {
	for _, value := range []string{"", "gzip", "gzip, deflate", "gzip, deflate, br", "gzip, deflate, br, zstd"} {
		if got, want := preparedEncoding([]byte(value)), encodingClass([]string{value}); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
	if got, want := preparedEncoding(nil), encodingClass(nil); got != want {
		t.Errorf("nothing is %q, want %q", got, want)
	}
}

func TestAppendHitObeysPurges(t *testing.T) {
	b := newBench(t, always(200, "page", "Date: Wed, 29 Feb 2012 06:00:00 GMT", "Content-Type: text/html", "Cache-Control: max-age=100", `Etag: "a"`))
	for _, soft := range []bool{true, false} {
		b.get()
		if !b.sameAsServe(t, request("GET", pageURL)) {
			t.Fatal("no hit")
		}
		b.Purge(Selector{URL: pageURL, Soft: soft})
		if _, _, ok := b.AppendHit(nil, hitRequestOf(request("GET", pageURL)), nil); ok {
			t.Errorf("a hit after a purge, soft: %v", soft)
		}
	}
}

func TestAppendHitCountsAndAllocatesNothing(t *testing.T) {
	b := newBench(t, always(200, "page", "Date: Wed, 29 Feb 2012 06:00:00 GMT", "Content-Type: text/html", "Cache-Control: max-age=100", `Etag: "a"`))
	b.get()
	before := b.Stats()
	room := make([]byte, 0, maxPrepared+64+len("bramble"))
	for _, r := range []*http.Request{request("GET", pageURL), request("GET", pageURL, `If-None-Match: "a"`)} {
		q := hitRequestOf(r)
		if n := testing.AllocsPerRun(99, func() {
			if head, _, ok := b.AppendHit(room, q, nil); !ok || cap(head) != cap(room) {
				t.Fatal("no hit, or no room")
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	if after := b.Stats(); after.Hits != before.Hits+200 || after.Requests != before.Requests+200 {
		t.Errorf("counted %d hits and %d requests, want 200 each", after.Hits-before.Hits, after.Requests-before.Requests)
	}
}

// Whatever an origin and a client send, AppendHit answers as Serve or not at all.
func FuzzAppendHit(f *testing.F) {
	f.Add("max-age=100", `"a"`, "Accept-Encoding", `"a", W/"b"`, "gzip", "", int16(200))
	f.Add("s-maxage=9", `W/"a"`, "", "*", "br;q=0", "Tue, 28 Feb 2012 06:00:00 GMT", int16(404))
	f.Add("public, max-age=7, must-revalidate", "x", "accept-encoding,", "", "identity;q=0, *", "Tuesday, 28-Feb-12 06:00:00 GMT", int16(301))
	f.Fuzz(func(t *testing.T, control, etag, vary, noneMatch, encoding, since string, status int16) {
		fields := []string{"Date: Wed, 29 Feb 2012 06:00:00 GMT", "Content-Type: text/plain", "Last-Modified: Tue, 28 Feb 2012 06:00:00 GMT"}
		asked := []string{"Accept-Encoding: " + encoding}
		for _, value := range []string{control, etag, vary, noneMatch, encoding, since} {
			// A front passes values as net/http does: complete and without blanks.
			if !httpguts.ValidHeaderFieldValue(value) || trimOWS(value) != value {
				t.Skip()
			}
		}
		for name, value := range map[string]string{"Cache-Control": control, "Etag": etag, "Vary": vary} {
			if value != "" {
				fields = append(fields, name+": "+value)
			}
		}
		for name, value := range map[string]string{"If-None-Match": noneMatch, "If-Modified-Since": since} {
			if value != "" {
				asked = append(asked, name+": "+value)
			}
		}
		b := newBench(t, always(int(status), "page", fields...))
		b.get(asked[0])
		b.clock.add(5 * time.Second)
		b.sameAsServe(t, request("GET", pageURL, asked...))
		b.sameAsServe(t, request("HEAD", pageURL, asked...))
	})
}

func BenchmarkAppendHit(b *testing.B) {
	bench := newBench(b, always(200, string(bytes.Repeat([]byte("page"), 1024)), "Date: Wed, 29 Feb 2012 06:00:00 GMT", "Content-Type: text/html",
		"Cache-Control: max-age=100", `Etag: "a"`, "Vary: Accept-Encoding"), func(cfg *Config) {
		cfg.Now, cfg.Via = nil, "rack"
		cfg.ClockTrusted = func() bool { return false } // the Date is an old one
	})
	bench.get("Accept-Encoding: gzip")
	room := make([]byte, 0, maxPrepared+64+len("bramble"))
	for name, q := range map[string]*HitRequest{
		"200": hitRequestOf(request("GET", pageURL, "Accept-Encoding: gzip, deflate")),
		"304": hitRequestOf(request("GET", pageURL, "Accept-Encoding: gzip, deflate", `If-None-Match: "a"`)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, ok := bench.AppendHit(room, q, nil); !ok {
					b.Fatal("no hit")
				}
			}
		})
	}
}
