package front

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/node/front/http1/http1test"
)

// answerAll returns all replies to some bytes, the number of bytes that were answered,
// and the action that is due then.
func (b *replyBuffers) answerAll(in []byte, r answerRules) (out []byte, used int, next action) {
	for {
		n, next := b.answerRequests(in[used:], &r)
		out = append(out, slices.Concat(b.unsent()...)...)
		b.clearReplies()
		if used += n; next != actionSendFirst {
			return out, used, next
		}
	}
}

// compareAfter fails if buffers that have served before give another reply to in than new
// ones.
func (s *testSite) compareAfter(t *testing.T, before, in []byte) {
	t.Helper()
	for _, r := range []answerRules{{handler: s}, {handler: s, overTLS: true, hsts: []byte("Strict-Transport-Security: max-age=1\r\n")}, {handler: s, draining: true}} {
		want, used, next := new(replyBuffers).answerAll(bytes.Clone(in), r)
		b := new(replyBuffers)
		for range 2 {
			b.answerAll(before, answerRules{handler: s})
		}
		for range 2 {
			if header := b.headers.FindRemembered(&b.req.Request, bytes.Clone(in)); header != nil && !b.req.Close && !r.draining {
				memo := b.memos.of(header)
				memo.pendingUses++
				revalidated := r
				if b.memos.revalidatePending(&revalidated, revalidated.clock) == 1 && (!bytes.Equal(memo.bytes, want) || used != len(in) || next != actionWait) {
					t.Fatalf("in a batch after %q, %q gets\n%q\nand alone\n%q, %d bytes, then %v", before, in, memo.bytes, want, used, next)
				}
			}
			got, gotUsed, gotNext := b.answerAll(bytes.Clone(in), r)
			if !bytes.Equal(got, want) || gotUsed != used || gotNext != next {
				t.Fatalf("after %q, %q gets\n%q, %d bytes, then %v\nand alone\n%q, %d bytes, then %v", before, in, got, gotUsed, gotNext, want, used, next)
			}
		}
	}
}

// Whatever was answered before, a request gets the reply that it gets alone.
func TestEarlierRepliesChangeNoReply(t *testing.T) {
	t.Parallel()
	h := newTestSite(t)
	all, every := http1test.Inputs(), 5
	if testing.Short() {
		every = 25
	}
	for i, before := range all {
		for j := range all {
			if (i+j)%every == 0 { // some of the pairs: the fuzz test has others
				h.compareAfter(t, before, all[j])
			}
		}
	}
}

func FuzzEarlierRepliesChangeNoReply(f *testing.F) {
	all := http1test.Inputs()
	for i, in := range all {
		f.Add(in, in)
		f.Add(in, all[(i+1)%len(all)])
	}
	h := newTestSite(f)
	f.Fuzz(func(t *testing.T, before, in []byte) {
		if len(before) <= maxRequest && len(in) <= maxRequest {
			h.compareAfter(t, before, in)
		}
	})
}

// The memo serves all clients of a crowd whose cookies differ, also when the block is
// stored again, but no client that requests something else.
func TestAMemoServesRequestsWithTheSameMeaning(t *testing.T) {
	h := newTestSite(t)
	b := new(replyBuffers)
	r := answerRules{handler: h}
	for range 2 {
		b.answerAll(http1test.OwnCookie(), r)
	}
	const relearnEvery = 64 // of package http1
	for i := range 2 * relearnEvery {
		header := b.headers.FindRemembered(&b.req.Request, http1test.OwnCookie())
		if header == nil || !header.HasLine() {
			t.Fatalf("request %d finds no memo", i)
		}
	}
	for _, odd := range [][2]string{
		{"DNT: 1", "Range: bytes=0-1"}, {"DNT: 1", `If-None-Match: "front"`}, {"DNT: 1", "X-Odd: 1"}, {"gzip, deflate, br, zstd", "br"},
		{testHost, "other.test"}, {"keep-alive", "close"}, {"GET / HTTP/1.1", "HEAD / HTTP/1.1"}, {"GET / HTTP/1.1", "GET / HTTP/1.0"},
	} {
		in := bytes.Replace(http1test.OwnCookie(), []byte(odd[0]), []byte(odd[1]), 1)
		if b.headers.FindRemembered(&b.req.Request, in) != nil && !b.req.Close {
			t.Errorf("%s finds the reply to others", odd)
		}
	}
}

// The page that most clients request keeps its memo.
func TestTheMostPopularReplyIsMemoised(t *testing.T) {
	b := new(replyBuffers)
	r := answerRules{handler: newTestSite(t)}
	page := []byte(get("/"))
	for range 2 {
		b.answerAll(page, r)
	}
	for i := range 3 * replaceEvery {
		b.answerAll([]byte(get(fmt.Sprintf("/%d", i))), r) // none of these pages is in memory
		b.answerAll(page, r)
		if b.headers.FindRemembered(&b.req.Request, page) == nil {
			t.Fatalf("after %d misses it is not memoised", i+1)
		}
	}
	kept := 0
	for range 4 * replaceEvery { // from now on another page
		b.answerAll([]byte(get("/gone")), r)
		if b.headers.FindRemembered(&b.req.Request, []byte(get("/gone"))) != nil {
			kept++
		}
	}
	if kept == 0 {
		t.Error("the page that is requested since is never memoised")
	}
}

// A reply that has not been sent yet is not overwritten by a new memo.
func TestAPendingReplyIsNotOverwritten(t *testing.T) {
	h := newTestSite(t)
	page, other := get("/"), get("/gone")
	b := new(replyBuffers)
	for range 2 {
		b.answerAll([]byte(page), answerRules{handler: h})
	}
	in := []byte(page + strings.Repeat(other, replaceEvery+1) + page)
	want, _, _ := new(replyBuffers).answerAll(bytes.Clone(in), answerRules{handler: h})
	if got, _, _ := b.answerAll(in, answerRules{handler: h}); !bytes.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Repeated bytes get the replies of the first time.
func TestABatchRepeatsItsReplies(t *testing.T) {
	h := newTestSite(t)
	b := new(replyBuffers)
	say := func(in []byte) []byte {
		var out []byte
		for {
			n, next := b.answerRequests(in, &answerRules{handler: h})
			out = append(out, slices.Concat(b.unsent()...)...)
			b.clearReplies()
			b.replies = 0
			if in = in[n:]; next != actionSendFirst {
				return out
			}
		}
	}
	for _, in := range http1test.Inputs() {
		if first, second := say(in), say(in); !bytes.Equal(first, second) {
			t.Errorf("%q gets %q and then %q", in, first, second)
		}
	}
}

func TestAnswersAllocateNothing(t *testing.T) {
	h := newTestSite(t)
	b := new(replyBuffers)
	for name, in := range http1test.Browsers() {
		p := []byte(in)
		if n := testing.AllocsPerRun(100, func() {
			if used, _ := b.answerRequests(p, &answerRules{handler: h}); used != len(p) {
				t.Fatalf("%s was not answered", name)
			}
			b.clearReplies()
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// expiringHandler answers from memory; its replies are valid until faded is set.
type expiringHandler struct {
	*testSite
	faded bool
	calls int
}

func (h *expiringHandler) AppendHit(dst []byte, q *FastRequest) ([]byte, [][]byte, bool) {
	h.calls++
	q.Validity = h
	return h.testSite.AppendHit(dst, &FastRequest{Request: q.Request})
}

func (h *expiringHandler) StillValid(time.Duration, int) bool { return !h.faded }

// When a memo has become invalid, the handler is called once.
func TestAnInvalidMemoIsForgotten(t *testing.T) {
	h := &expiringHandler{testSite: newTestSite(t)}
	b := new(replyBuffers)
	page := []byte(get("/"))
	for range 5 {
		b.answerAll(page, answerRules{handler: h})
	}
	if h.calls > 2 { // the first stores the block, the second is memoised
		t.Fatalf("%d calls for one reply", h.calls)
	}
	before := h.calls
	h.faded = true
	b.answerAll(page, answerRules{handler: h})
	h.faded = false
	b.answerAll(page, answerRules{handler: h})
	if h.calls != before+1 {
		t.Errorf("%d calls after the memo had become invalid", h.calls-before)
	}
}
