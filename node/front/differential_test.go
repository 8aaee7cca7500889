package front

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"bramble/node/front/http1/http1test"
)

// sortFields sorts fields by name; lines of one name keep their order, which matters.
func sortFields(lines []string) {
	slices.SortStableFunc(lines, func(a, b string) int {
		one, _, _ := strings.Cut(a, ":")
		other, _, _ := strings.Cut(b, ":")
		return strings.Compare(one, other)
	})
}

// compare compares the replies of the fast path and of net/http to some bytes.
func (s *testSite) compare(t *testing.T, in []byte) answered {
	t.Helper()
	fast := s.viaFastPath(bytes.Clone(in), answerRules{})
	if len(fast.heads) == 0 && fast.next != actionLend {
		return fast // declined: the bytes are net/http's
	}
	full := s.viaNetHTTP(in)
	fastOut, fullOut := fast.out, full
	for i, head := range fast.heads {
		var one, other string
		var err error
		if one, fastOut, err = cutReply(fastOut, head); err != nil {
			t.Fatalf("reply %d of the fast path to %q: %v", i, in, err)
		}
		if other, fullOut, err = cutReply(fullOut, head); err != nil {
			t.Fatalf("reply %d of net/http to %q, where the fast path sends %q: %v", i, in, one, err)
		}
		if one != other {
			t.Fatalf("reply %d to %q\nfast path:\n%s\nnet/http:\n%s", i, in, one, other)
		}
	}
	switch {
	case len(fastOut) != 0:
		t.Fatalf("the fast path sends more than it counted to %q: %q", in, fastOut)
	case fast.next == actionClose && len(fullOut) != 0:
		t.Fatalf("the fast path closes after %d replies to %q, net/http sends %q", len(fast.heads), in, fullOut)
	case fast.next == actionWait && fast.used == len(in) && len(fullOut) != 0:
		t.Fatalf("the fast path waits after %d replies to %q, net/http sends %q", len(fast.heads), in, fullOut)
	}
	if fast.next == actionLend {
		s.compareLent(t, in[fast.used:], fast.pending)
	}
	return fast
}

// compareLent checks that what the fast path lends is one request for net/http, to the byte.
func (s *testSite) compareLent(t *testing.T, in []byte, size int) {
	t.Helper()
	for _, try := range []struct {
		bytes, want int
	}{{size, 1}, {size - 1, 0}} {
		before := s.calls.Load()
		out := s.viaNetHTTP(in[:try.bytes])
		if got := int(s.calls.Load() - before); got != try.want && !isRefusedByNetHTTP(out) {
			t.Fatalf("net/http read %d requests in %q, want %d; it sent %q", got, in[:try.bytes], try.want, out)
		}
	}
}

// isRefusedByNetHTTP reports a 400: for a Host that net/http does not accept, for example.
func isRefusedByNetHTTP(out []byte) bool { return bytes.HasPrefix(out, []byte("HTTP/1.1 400 ")) }

// Short names for functions that make requests.
func lines(all ...string) string               { return http1test.Lines(all...) }
func get(target string, more ...string) string { return http1test.Get(target, more...) }

const hostLine = http1test.HostLine

func TestBrowsersStayOnTheFastPath(t *testing.T) {
	h := newTestSite(t)
	for name, in := range http1test.Browsers() {
		if fast := h.compare(t, []byte(in)); len(fast.heads) != 1 || fast.next != actionWait || fast.used != len(in) {
			t.Errorf("%s: %d replies, next %v, %d of %d bytes", name, len(fast.heads), fast.next, fast.used, len(in))
		}
	}
}

// actionOf returns the action that must be due for a seed.
func actionOf(then http1test.Continuation) action {
	return [...]action{http1test.Wait: actionWait, http1test.Lend: actionLend, http1test.HandOff: actionHandOff, http1test.Close: actionClose}[then]
}

func TestFastPathAndNetHTTPAgree(t *testing.T) {
	h := newTestSite(t)
	for name, s := range http1test.Seeds() {
		if fast := h.compare(t, []byte(s.In)); len(fast.heads) != s.Replies || fast.next != actionOf(s.Then) {
			t.Errorf("%s: %d replies and then %v, want %d and %v", name, len(fast.heads), fast.next, s.Replies, actionOf(s.Then))
		}
	}
}

// Whatever bytes arrive, the fast path replies what net/http would, or nothing.
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
