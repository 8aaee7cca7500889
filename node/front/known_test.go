package front

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// saidOf is all that a request says, in words.
func (r *request) saidOf(v verdict) string {
	if v != plain {
		return fmt.Sprint(v)
	}
	a := r.asked
	return fmt.Sprintf("%d %q %q %v %q %v %q %v %q %v %v %v %v %v", v, a.Host, a.Target, a.Head,
		a.Encoding, a.Encoding == nil, a.NoneMatch, a.NoneMatch == nil, a.Since, a.Since == nil, a.Directives, r.size, r.close, r.old)
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
			var k known
			var first, fresh, again request
			k.parse(&first, before)
			want := fresh.saidOf(fresh.parse(in))
			if got := again.saidOf(k.parse(&again, in)); got != want {
				t.Fatalf("after %q, %q says\n%s, and by itself\n%s", before, in, got, want)
			}
		}
	}
}

func TestAKnownBlockIsTakenForOtherPages(t *testing.T) {
	var k known
	var r request
	fields := "Host: shop.test\r\nAccept-Encoding: gzip\r\nCookie: " + strings.Repeat("c", 100) + "\r\n\r\n"
	for i, line := range []string{"GET / HTTP/1.1\r\n", "HEAD /a HTTP/1.1\r\n", "GET /b HTTP/1.0\r\n"} {
		in := []byte(line + fields)
		if k.parse(&r, in) != plain {
			t.Fatalf("%q is not plain", in)
		}
		if &r.asked.Host[0] != &k.blocks[0].bytes[len("Host: ")] && i > 0 {
			t.Errorf("%q was read anew", line)
		}
		if r.size != len(in) || r.close != (i == 2) || r.asked.Head != (i == 1) || string(r.asked.Encoding) != "gzip" {
			t.Errorf("%q became %+v", in, r)
		}
	}
	for i := range 3 * knownBlocks { // the old make way for the new
		in := []byte(fmt.Sprintf("GET / HTTP/1.1\r\nHost: %d\r\n\r\n", i))
		for range 2 {
			if v := k.parse(&r, in); v != plain || string(r.asked.Host) != fmt.Sprint(i) {
				t.Fatalf("host %d is %q, %v", i, r.asked.Host, v)
			}
		}
	}
	if k.parse(&r, []byte("GET / HTTP/1.1\r\nHost: a\r\nCookie: "+strings.Repeat("c", knownBytes)+"\r\n\r\n")) != plain || string(r.asked.Host) != "a" {
		t.Error("a long block is not read")
	}
}

func TestAlike(t *testing.T) {
	room := make([]byte, 80)
	for i := range room {
		room[i] = byte(i)
	}
	for size := range 60 {
		for shift := range 5 {
			other := make([]byte, shift+size)
			copy(other[shift:], room[1:])
			if !alike(room[1:1+size], other[shift:]) {
				t.Fatalf("%d bytes at %d differ", size, shift)
			}
			for i := range size {
				other[shift+i] ^= 0x10
				if alike(room[1:1+size], other[shift:]) {
					t.Fatalf("byte %d of %d at %d is not looked at", i, size, shift)
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
		var k known
		var first, fresh, again request
		k.parse(&first, before)
		want := fresh.saidOf(fresh.parse(in))
		for range 2 {
			if got := again.saidOf(k.parse(&again, bytes.Clone(in))); got != want {
				t.Fatalf("after %q, %q says\n%s, and by itself\n%s", before, in, got, want)
			}
		}
	})
}

// A batch that has answered something answers again what it answered.
func TestABatchAnswersTheSameAgain(t *testing.T) {
	h := newHouse(t)
	b := new(batch)
	say := func(in []byte) []byte {
		_, _ = b.answer(in, &rules{hits: h})
		out := slices.Concat(b.pieces()...)
		b.written()
		b.replies = 0
		return out
	}
	for _, in := range everySeed() {
		if first, second := say(in), say(in); !bytes.Equal(first, second) {
			t.Errorf("%q gets %q and then %q", in, first, second)
		}
	}
}
