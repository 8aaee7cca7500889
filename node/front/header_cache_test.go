package front

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// saidOf is all that a request says, in words.
func (r *request) saidOf(v parseResult) string {
	if v != plain {
		return fmt.Sprint(v)
	}
	a := r.asked
	return fmt.Sprintf("%d %q %q %v %q %v %q %v %q %v %v %v %v %v", v, a.Host, a.Target, a.Head,
		a.Encoding, a.Encoding == nil, a.NoneMatch, a.NoneMatch == nil, a.Since, a.Since == nil, a.Directives, r.size, r.close, r.isHTTP10)
}

// verdict is parse's alone.
func (k *headerCache) verdict(r *request, b []byte) parseResult {
	v, _ := k.parse(r, b)
	return v
}

func everySeed() [][]byte {
	var all [][]byte
	for _, s := range seeds() {
		all = append(all, []byte(s.in))
	}
	for _, in := range browsers() {
		all = append(all, []byte(in))
	}
	return all
}

// Whatever was read before, a request says the same.
func TestWhatIsKnownChangesNothing(t *testing.T) {
	all := everySeed()
	for _, before := range all {
		for _, in := range all {
			var k headerCache
			var first, fresh, again request
			k.parse(&first, before)
			want := fresh.saidOf(fresh.parse(in))
			if got := again.saidOf(k.verdict(&again, in)); got != want {
				t.Fatalf("after %q, %q says\n%s, and by itself\n%s", before, in, got, want)
			}
		}
	}
}

func TestAKnownBlockIsTakenForOtherPages(t *testing.T) {
	var k headerCache
	var r request
	fields := "Host: shop.test\r\nAccept-Encoding: gzip\r\nCookie: " + strings.Repeat("c", 100) + "\r\n\r\n"
	for i, line := range []string{"GET / HTTP/1.1\r\n", "HEAD /a HTTP/1.1\r\n", "GET /b HTTP/1.0\r\n"} {
		in := []byte(line + fields)
		if v, _ := k.parse(&r, in); v != plain {
			t.Fatalf("%q is not plain", in)
		}
		if &r.asked.Host[0] != &k.headers[0].bytes[len("Host: ")] && i > 0 {
			t.Errorf("%q was read anew", line)
		}
		if r.size != len(in) || r.close != (i == 2) || r.asked.Head != (i == 1) || string(r.asked.Encoding) != "gzip" {
			t.Errorf("%q became %+v", in, r)
		}
	}
	for i := range 3 * maxCachedHeaders { // the old make way for the new
		in := []byte(fmt.Sprintf("GET / HTTP/1.1\r\nHost: %d\r\n\r\n", i))
		for range 2 {
			if v, _ := k.parse(&r, in); v != plain || string(r.asked.Host) != fmt.Sprint(i) {
				t.Fatalf("host %d is %q, %v", i, r.asked.Host, v)
			}
		}
	}
	if v, _ := k.parse(&r, []byte("GET / HTTP/1.1\r\nHost: a\r\nCookie: "+strings.Repeat("c", maxHeaderBytes)+"\r\n\r\n")); v != plain || string(r.asked.Host) != "a" {
		t.Error("a long block is not read")
	}
}

// A request that is like another but for some lines says what it says by itself,
// wherever they are and whatever they are.
func TestALineThatDiffersIsRead(t *testing.T) {
	odd := []string{
		"Cookie: id=123\r\n", "X-Odd: 1\r\n", "Host: other.test\r\n", "Content-Length: 3\r\n", "Accept-Encoding: br\r\n",
		"Connection: close\r\n", "no colon\r\n", "Cache-Control: no-cache\r\n", "If-None-Match: \"x\"\r\n", " folded\r\n", "A: \x00\r\n", "\r\n", "B: c\n",
	}
	for name, text := range browsers() {
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\r\n"), "\r\n")
		lines = lines[:len(lines)-1] // behind the last end of a line there is nothing
		for at := 1; at <= len(lines); at++ {
			for _, insert := range append([]string{""}, odd...) {
				for gone := range 4 {
					end := min(at+gone, len(lines))
					in := strings.Join(lines[:at], "") + insert + strings.Join(lines[end:], "") + "\r\n"
					for _, in := range []string{in, in[:len(in)-1], in[:len(in)-3]} {
						var k headerCache
						var first, fresh, again request
						k.parse(&first, []byte(text))
						want := fresh.saidOf(fresh.parse([]byte(in)))
						for range relearnEvery + 2 {
							if got := again.saidOf(k.verdict(&again, []byte(in))); got != want {
								t.Fatalf("after %s, %q says\n%s, and by itself\n%s", name, in, got, want)
							}
						}
					}
				}
			}
		}
	}
}

// A crowd whose cookies differ is known by the lines that do not, and what it sends
// most often becomes known whole.
func TestACookieOfOnesOwnIsOneLine(t *testing.T) {
	var k headerCache
	var r request
	with := func(cookie string) []byte {
		return []byte("GET / HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\nUser-Agent: x\r\n" + cookie + "Priority: u=0\r\n\r\n")
	}
	k.parse(&r, with(""))
	for i := range relearnEvery - 1 {
		in := with(fmt.Sprintf("Cookie: %d\r\n", i))
		at, _ := r.parseFirstLine(in)
		nearest, same := k.findClosest(in[at:])
		trail := lineMatcher{header: nearest, source: nearest, sameBytes: same}
		if r.parseFields(in, at, &trail); trail.linesMatched != 4 || trail.linesRead != 1 {
			t.Fatalf("%d lines are known and %d are read", trail.linesMatched, trail.linesRead)
		}
		k.parse(&r, in)
	}
	if k.headers[1].size != 0 {
		t.Error("each cookie is kept as a browser of its own")
	}
	k.parse(&r, with("Cookie: a\r\n"))
	if in := with("Cookie: a\r\n"); !bytes.HasSuffix(in, k.headers[0].bytes[:k.headers[0].size]) {
		t.Error("what is sent often does not become known")
	}
}

func TestCommon(t *testing.T) {
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

// What was read before never changes what a request says.
func FuzzWhatIsKnownChangesNothing(f *testing.F) {
	all := everySeed()
	for i, in := range all {
		f.Add(in, all[(i+1)%len(all)])
		f.Add(in, in)
	}
	f.Fuzz(func(t *testing.T, before, in []byte) {
		var k headerCache
		var first, fresh, again request
		k.parse(&first, before)
		want := fresh.saidOf(fresh.parse(in))
		for range 2 {
			if got := again.saidOf(k.verdict(&again, bytes.Clone(in))); got != want {
				t.Fatalf("after %q, %q says\n%s, and by itself\n%s", before, in, got, want)
			}
		}
	})
}

// A batch that has answered something answers again what it answered.
func TestABatchAnswersTheSameAgain(t *testing.T) {
	h := newHouse(t)
	b := new(replyBatch)
	say := func(in []byte) []byte {
		var out []byte
		for {
			n, next := b.answerRequests(in, &answerRules{fast: h})
			out = append(out, slices.Concat(b.unsent()...)...)
			b.clearReplies()
			b.replies = 0
			if in = in[n:]; next != actionFlush {
				return out
			}
		}
	}
	for _, in := range everySeed() {
		if first, second := say(in), say(in); !bytes.Equal(first, second) {
			t.Errorf("%q gets %q and then %q", in, first, second)
		}
	}
}
