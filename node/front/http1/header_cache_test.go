package http1

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bramble/node/front/http1/http1test"
)

// describe returns all that a parsed request means, as text.
func (r *Request) describe(res ParseResult) string {
	if res != Plain {
		return fmt.Sprint(res)
	}
	return fmt.Sprintf("%d %q %q %v %q %v %q %v %q %v %v %v %v %v", res, r.Host, r.Target, r.IsHEAD,
		r.Encoding, r.Encoding == nil, r.NoneMatch, r.NoneMatch == nil, r.Since, r.Since == nil, r.Directives, r.Size, r.Close, r.IsHTTP10)
}

// parseDescribed parses a request with the cache's help and describes it.
func (c *HeaderCache) parseDescribed(r *Request, b []byte) string {
	res, _ := c.Parse(r, b)
	return r.describe(res)
}

// What was parsed before never changes the meaning of a request.
func TestTheCacheChangesNoRequest(t *testing.T) {
	all := http1test.Inputs()
	for _, before := range all {
		for _, in := range all {
			var c HeaderCache
			var first, fresh, again Request
			c.Parse(&first, before)
			want := fresh.describe(fresh.Parse(in))
			if got := c.parseDescribed(&again, in); got != want {
				t.Fatalf("after %q, %q means\n%s, and by itself\n%s", before, in, got, want)
			}
		}
	}
}

func TestACachedHeaderServesOtherPages(t *testing.T) {
	var c HeaderCache
	var r Request
	fields := "Host: shop.test\r\nAccept-Encoding: gzip\r\nCookie: " + strings.Repeat("c", 100) + "\r\n\r\n"
	for i, line := range []string{"GET / HTTP/1.1\r\n", "HEAD /a HTTP/1.1\r\n", "GET /b HTTP/1.0\r\n"} {
		in := []byte(line + fields)
		if v, _ := c.Parse(&r, in); v != Plain {
			t.Fatalf("%q is not Plain", in)
		}
		if &r.Host[0] != &c.headers[0].bytes[len("Host: ")] && i > 0 {
			t.Errorf("%q was parsed again", line)
		}
		if r.Size != len(in) || r.Close != (i == 2) || r.IsHEAD != (i == 1) || string(r.Encoding) != "gzip" {
			t.Errorf("%q became %+v", in, r)
		}
	}
	for i := range 3 * MaxCachedHeaders { // new blocks replace old ones
		in := []byte(fmt.Sprintf("GET / HTTP/1.1\r\nHost: %d\r\n\r\n", i))
		for range 2 {
			if v, _ := c.Parse(&r, in); v != Plain || string(r.Host) != fmt.Sprint(i) {
				t.Fatalf("host %d is %q, %v", i, r.Host, v)
			}
		}
	}
	if v, _ := c.Parse(&r, []byte("GET / HTTP/1.1\r\nHost: a\r\nCookie: "+strings.Repeat("c", maxHeaderBytes)+"\r\n\r\n")); v != Plain || string(r.Host) != "a" {
		t.Error("a long block is not parsed")
	}
}

// A request that is like another except for some lines has the meaning that it has by
// itself, wherever they are and whatever they are.
func TestALineThatDiffersIsParsed(t *testing.T) {
	odd := []string{
		"Cookie: id=123\r\n", "X-Odd: 1\r\n", "Host: other.test\r\n", "Content-Length: 3\r\n", "Accept-Encoding: br\r\n",
		"Connection: close\r\n", "no colon\r\n", "Cache-Control: no-cache\r\n", "If-None-Match: \"x\"\r\n", " folded\r\n", "A: \x00\r\n", "\r\n", "B: c\n",
	}
	for name, text := range http1test.Browsers() {
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\r\n"), "\r\n")
		lines = lines[:len(lines)-1] // nothing follows the last line end
		for at := 1; at <= len(lines); at++ {
			for _, insert := range append([]string{""}, odd...) {
				for gone := range 4 {
					end := min(at+gone, len(lines))
					in := strings.Join(lines[:at], "") + insert + strings.Join(lines[end:], "") + "\r\n"
					for _, in := range []string{in, in[:len(in)-1], in[:len(in)-3]} {
						var c HeaderCache
						var first, fresh, again Request
						c.Parse(&first, []byte(text))
						want := fresh.describe(fresh.Parse([]byte(in)))
						for range relearnEvery + 2 {
							if got := c.parseDescribed(&again, []byte(in)); got != want {
								t.Fatalf("after %s, %q means\n%s, and by itself\n%s", name, in, got, want)
							}
						}
					}
				}
			}
		}
	}
}

// The requests of a crowd whose cookies differ are matched by their other lines, and what
// it sends most often becomes an exact match.
func TestADifferentCookieCostsOneLine(t *testing.T) {
	var c HeaderCache
	var r Request
	with := func(cookie string) []byte {
		return []byte("GET / HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\nUser-Agent: x\r\n" + cookie + "Priority: u=0\r\n\r\n")
	}
	c.Parse(&r, with(""))
	for i := range relearnEvery - 1 {
		in := with(fmt.Sprintf("Cookie: %d\r\n", i))
		at, _ := r.parseFirstLine(in)
		closest, same := c.findClosest(in[at:])
		m := lineMatcher{candidate: closest, original: closest, commonBytes: same}
		if r.parseFields(in, at, &m); m.linesMatched != 4 || m.linesRead != 1 {
			t.Fatalf("%d lines are matched and %d are parsed", m.linesMatched, m.linesRead)
		}
		c.Parse(&r, in)
	}
	if c.headers[1].size != 0 {
		t.Error("each cookie is remembered as a browser of its own")
	}
	c.Parse(&r, with("Cookie: a\r\n"))
	if in := with("Cookie: a\r\n"); !bytes.HasSuffix(in, c.headers[0].bytes[:c.headers[0].size]) {
		t.Error("what is sent often is not remembered")
	}
}

func TestCommonPrefix(t *testing.T) {
	room := make([]byte, 200)
	for i := range room {
		room[i] = byte(i)
	}
	for size := range 150 {
		for shift := range 9 {
			other := make([]byte, shift+size)
			copy(other[shift:], room[1:])
			if got := commonPrefix(room[1:], other[shift:]); got != size {
				t.Fatalf("%d bytes at %d have %d in common", size, shift, got)
			}
			for i := range size {
				other[shift+i] ^= 0x10
				if got := commonPrefix(other[shift:], room[1:1+size]); got != i {
					t.Fatalf("byte %d of %d at %d differs, not byte %d", i, size, shift, got)
				}
				other[shift+i] ^= 0x10
			}
		}
	}
}

// What was parsed before never changes the meaning of a request.
func FuzzTheCacheChangesNoRequest(f *testing.F) {
	all := http1test.Inputs()
	for i, in := range all {
		f.Add(in, all[(i+1)%len(all)])
		f.Add(in, in)
	}
	f.Fuzz(func(t *testing.T, before, in []byte) {
		var c HeaderCache
		var first, fresh, again Request
		c.Parse(&first, before)
		want := fresh.describe(fresh.Parse(in))
		for range 2 {
			if got := c.parseDescribed(&again, bytes.Clone(in)); got != want {
				t.Fatalf("after %q, %q means\n%s, and by itself\n%s", before, in, got, want)
			}
		}
	})
}

// A block with more significant fields than are remembered gives a request no fields that
// it lacks.
func TestABlockWithManySignificantFields(t *testing.T) {
	with := func(directives int, more ...string) []byte {
		all := append([]string{"GET / HTTP/1.1", http1test.HostLine}, slices.Repeat([]string{"Cache-Control: max-age=0"}, directives)...)
		return []byte(http1test.Lines(append(all, more...)...))
	}
	var c HeaderCache
	var r, fresh Request
	c.Parse(&r, with(maxSignificant+1, "Accept-Encoding: gzip"))
	in := with(maxSignificant-1, "Cookie: b")
	if got, want := c.parseDescribed(&r, in), fresh.describe(fresh.Parse(in)); got != want {
		t.Errorf("it means\n%s, and by itself\n%s", got, want)
	}
}

// However a request is cut into packets, the result for its beginning never contradicts
// the result for the whole.
func FuzzBeginningsAreNotJudgedTooSoon(f *testing.F) {
	for _, s := range http1test.Seeds() {
		f.Add([]byte(s.In))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var whole, part Request
		want := whole.Parse(in)
		for n := range in {
			switch got := part.Parse(in[:n]); {
			case got == Incomplete:
			case want == Incomplete, got == Plain && (want != Plain || part.Size != whole.Size), got == Lendable && (want != Lendable || part.Size != whole.Size):
				t.Fatalf("%q is %v, and %q is %v", in[:n], got, in, want)
			}
		}
	})
}
