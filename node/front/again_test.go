package front

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// answerAll is all that a batch says to some bytes, how many of them it has answered,
// and what is to be done then.
func (b *batch) answerAll(in []byte, r rules) (out []byte, used int, next step) {
	for {
		n, next := b.answer(in[used:], &r)
		out = append(out, slices.Concat(b.pieces()...)...)
		b.written()
		if used += n; next != stepFlush {
			return out, used, next
		}
	}
}

// afterAnswering fails if a batch that has answered before says anything else to in
// than a new one.
func (h *house) afterAnswering(t *testing.T, before, in []byte) {
	t.Helper()
	for _, r := range []rules{{hits: h}, {hits: h, secure: true, strict: []byte("Strict-Transport-Security: max-age=1\r\n")}, {hits: h, draining: true}} {
		want, used, next := new(batch).answerAll(bytes.Clone(in), r)
		b := new(batch)
		for range 2 {
			b.answerAll(before, rules{hits: h})
		}
		for range 2 {
			if like := b.known.find(&b.req, bytes.Clone(in)); like != nil && !b.req.close && !r.draining {
				like.last.wanted++
				confirmed := r
				if b.known.confirm(&confirmed) == 1 && (!bytes.Equal(like.last.whole, want) || used != len(in) || next != stepWait) {
					t.Fatalf("in a crowd after %q, %q gets\n%q\nand alone\n%q, %d bytes, then %v", before, in, like.last.whole, want, used, next)
				}
			}
			got, gotUsed, gotNext := b.answerAll(bytes.Clone(in), r)
			if !bytes.Equal(got, want) || gotUsed != used || gotNext != next {
				t.Fatalf("after %q, %q gets\n%q, %d bytes, then %v\nand alone\n%q, %d bytes, then %v", before, in, got, gotUsed, gotNext, want, used, next)
			}
		}
	}
}

// Whatever was answered before, a request gets what it gets by itself.
func TestWhatWasAnsweredChangesNothing(t *testing.T) {
	h := newHouse(t)
	all := everySeed()
	for i, before := range all {
		for j := range all {
			if (i+j)%5 == 0 { // some of the pairs: the fuzz test has others
				h.afterAnswering(t, before, all[j])
			}
		}
	}
}

func FuzzWhatWasAnsweredChangesNothing(f *testing.F) {
	all := everySeed()
	for i, in := range all {
		f.Add(in, in)
		f.Add(in, all[(i+1)%len(all)])
	}
	h := newHouse(f)
	f.Fuzz(func(t *testing.T, before, in []byte) {
		if len(before) <= maxRequest && len(in) <= maxRequest {
			h.afterAnswering(t, before, in)
		}
	})
}

// Of a crowd whose cookies differ each is given the kept answer, also when the block
// is renewed; and one that asks for something else is not.
func TestAKeptAnswerIsForAllThatMeanTheSame(t *testing.T) {
	h := newHouse(t)
	b := new(batch)
	r := rules{hits: h}
	for range 2 {
		b.answerAll(ownCookie(), r)
	}
	for i := range 2 * renewEvery {
		like := b.known.find(&b.req, ownCookie())
		if like == nil || like.last.size == 0 {
			t.Fatalf("request %d finds nothing", i)
		}
	}
	for _, odd := range [][2]string{
		{"DNT: 1", "Range: bytes=0-1"}, {"DNT: 1", `If-None-Match: "front"`}, {"DNT: 1", "X-Odd: 1"}, {"gzip, deflate, br, zstd", "br"},
		{testHost, "other.test"}, {"keep-alive", "close"}, {"GET / HTTP/1.1", "HEAD / HTTP/1.1"}, {"GET / HTTP/1.1", "GET / HTTP/1.0"},
	} {
		in := bytes.Replace(ownCookie(), []byte(odd[0]), []byte(odd[1]), 1)
		if b.known.find(&b.req, in) != nil && !b.req.close {
			t.Errorf("%s finds the answer to others", odd)
		}
	}
}

// The page that most ask for stays the one whose answer is kept.
func TestTheAnswerThatMostWantIsKept(t *testing.T) {
	b := new(batch)
	r := rules{hits: newHouse(t)}
	page := []byte(get("/"))
	for range 2 {
		b.answerAll(page, r)
	}
	for i := range 3 * keepEvery {
		b.answerAll([]byte(get(fmt.Sprintf("/%d", i))), r) // memory has none of them
		b.answerAll(page, r)
		if b.known.find(&b.req, page) == nil {
			t.Fatalf("after %d misses it is not kept", i+1)
		}
	}
	kept := 0
	for range 4 * keepEvery { // from now on another
		b.answerAll([]byte(get("/gone")), r)
		if b.known.find(&b.req, []byte(get("/gone"))) != nil {
			kept++
		}
	}
	if kept == 0 {
		t.Error("what is asked for since is never kept")
	}
}

// An answer that is on its way is not overwritten by one that is kept.
func TestAnAnswerOnItsWayStays(t *testing.T) {
	h := newHouse(t)
	page, other := get("/"), get("/gone")
	b := new(batch)
	for range 2 {
		b.answerAll([]byte(page), rules{hits: h})
	}
	in := []byte(page + strings.Repeat(other, keepEvery+1) + page)
	want, _, _ := new(batch).answerAll(bytes.Clone(in), rules{hits: h})
	if got, _, _ := b.answerAll(in, rules{hits: h}); !bytes.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// A block with more lines that bear on a request than are told one by one says no
// more of a request than that has.
func TestABlockThatIsNotToldWhole(t *testing.T) {
	with := func(directives int, more ...string) []byte {
		all := append([]string{"GET / HTTP/1.1", hostLine}, slices.Repeat([]string{"Cache-Control: max-age=0"}, directives)...)
		return []byte(lines(append(all, more...)...))
	}
	var k known
	var r, fresh request
	k.parse(&r, with(knownBearing+1, "Accept-Encoding: gzip"))
	in := with(knownBearing-1, "Cookie: b")
	if got, want := r.saidOf(k.verdict(&r, in)), fresh.saidOf(fresh.parse(in)); got != want {
		t.Errorf("it says\n%s, and by itself\n%s", got, want)
	}
}

// fading is memory whose answers hold until they are said not to.
type fading struct {
	*house
	faded bool
	asked int
}

func (h *fading) AppendHit(dst []byte, q *Asked) ([]byte, [][]byte, bool) {
	h.asked++
	q.Memo = h
	return h.house.AppendHit(dst, &Asked{Host: q.Host, Target: q.Target, Fields: q.Fields})
}

func (h *fading) Again(time.Duration, int) bool { return !h.faded }

// What does not hold any more is asked for anew, once.
func TestAnAnswerThatDoesNotHoldIsLetGo(t *testing.T) {
	h := &fading{house: newHouse(t)}
	b := new(batch)
	page := []byte(get("/"))
	for range 5 {
		b.answerAll(page, rules{hits: h})
	}
	if h.asked > 2 { // the first teaches the block, the second is kept
		t.Fatalf("asked %d times for one answer", h.asked)
	}
	before := h.asked
	h.faded = true
	b.answerAll(page, rules{hits: h})
	h.faded = false
	b.answerAll(page, rules{hits: h})
	if h.asked != before+1 {
		t.Errorf("asked %d times after the answer had faded", h.asked-before)
	}
}
