package front

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"bramble/node/front/http1/http1test"
)

// sortFields brings fields into an order that does not hang on who wrote them;
// lines of one name stay in theirs, which means something.
func sortFields(lines []string) {
	slices.SortStableFunc(lines, func(a, b string) int {
		one, _, _ := strings.Cut(a, ":")
		other, _, _ := strings.Cut(b, ":")
		return strings.Compare(one, other)
	})
}

// compare holds the lane against net/http for some bytes.
func (h *testSite) compare(t *testing.T, in []byte) answered {
	t.Helper()
	lane := h.viaFastPath(bytes.Clone(in), answerRules{})
	if len(lane.heads) == 0 && lane.next != actionLend {
		return lane // declined: the bytes are net/http's
	}
	full := h.viaNetHTTP(in)
	mine, theirs := lane.out, full
	for i, head := range lane.heads {
		var one, other string
		var err error
		if one, mine, err = cutReply(mine, head); err != nil {
			t.Fatalf("reply %d of the lane to %q: %v", i, in, err)
		}
		if other, theirs, err = cutReply(theirs, head); err != nil {
			t.Fatalf("reply %d of net/http to %q, where the lane says %q: %v", i, in, one, err)
		}
		if one != other {
			t.Fatalf("reply %d to %q\nlane:\n%s\nnet/http:\n%s", i, in, one, other)
		}
	}
	switch {
	case len(mine) != 0:
		t.Fatalf("the lane says more than it counted to %q: %q", in, mine)
	case lane.next == actionClose && len(theirs) != 0:
		t.Fatalf("the lane closes after %d replies to %q, net/http says %q", len(lane.heads), in, theirs)
	case lane.next == actionWait && lane.used == len(in) && len(theirs) != 0:
		t.Fatalf("the lane waits after %d replies to %q, net/http says %q", len(lane.heads), in, theirs)
	}
	if lane.next == actionLend {
		h.compareLent(t, in[lane.used:], lane.pending)
	}
	return lane
}

// compareLent: what the lane lends is one request for net/http, to the byte.
func (h *testSite) compareLent(t *testing.T, in []byte, size int) {
	t.Helper()
	for _, try := range []struct {
		bytes, want int
	}{{size, 1}, {size - 1, 0}} {
		before := h.asked.Load()
		out := h.viaNetHTTP(in[:try.bytes])
		if got := int(h.asked.Load() - before); got != try.want && !isRefusedByNetHTTP(out) {
			t.Fatalf("net/http read %d requests in %q, want %d; it said %q", got, in[:try.bytes], try.want, out)
		}
	}
}

// isRefusedByNetHTTP: a Host that net/http does not take, for example.
func isRefusedByNetHTTP(out []byte) bool { return bytes.HasPrefix(out, []byte("HTTP/1.1 400 ")) }

// Short names for requests.
func lines(all ...string) string               { return http1test.Lines(all...) }
func get(target string, more ...string) string { return http1test.Get(target, more...) }

const hostLine = http1test.HostLine

func TestBrowsersStayOnTheFastPath(t *testing.T) {
	h := newTestSite(t)
	for name, in := range http1test.Browsers() {
		if lane := h.compare(t, []byte(in)); len(lane.heads) != 1 || lane.next != actionWait || lane.used != len(in) {
			t.Errorf("%s: %d replies, next %v, %d of %d bytes", name, len(lane.heads), lane.next, lane.used, len(in))
		}
	}
}

// actionOf is what the fast path must do for an outcome.
func actionOf(then http1test.Continuation) action {
	return [...]action{http1test.Wait: actionWait, http1test.Lend: actionLend, http1test.HandOff: actionHandOff, http1test.Close: actionClose}[then]
}

func TestFastPathAndNetHTTPAgree(t *testing.T) {
	h := newTestSite(t)
	for name, s := range http1test.Seeds() {
		if lane := h.compare(t, []byte(s.In)); len(lane.heads) != s.Replies || lane.next != actionOf(s.Then) {
			t.Errorf("%s: %d replies and then %v, want %d and %v", name, len(lane.heads), lane.next, s.Replies, actionOf(s.Then))
		}
	}
}

// Whatever bytes come, the lane says what net/http would, or nothing.
func FuzzFastPathAndNetHTTPAgree(f *testing.F) {
	for _, s := range http1test.Seeds() {
		f.Add([]byte(s.In))
	}
	for _, in := range http1test.Browsers() {
		f.Add([]byte(in))
	}
	h := newTestSite(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) <= maxRequest {
			h.compare(t, in)
		}
	})
}
