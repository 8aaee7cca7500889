package rackcache

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/cluster/link"
	"bramble/cluster/purge"
	"bramble/node/origin"
)

func newTestInvalidator() (i *invalidator, now *time.Duration) {
	now = new(time.Duration)
	*now = time.Hour
	i = newInvalidator()
	i.now = func() time.Duration { return *now }
	return i, now
}

// Changes of one page over the bound are merged into one purge, which follows.
func TestInvalidationsAreMerged(t *testing.T) {
	i, now := newTestInvalidator()
	change := func(key string) (atOnce bool) {
		if i.mergeChange(key, *now) {
			return false
		}
		i.countPurge(key, *now)
		return true
	}
	for n := range 50 { // twice a second
		if atOnce := change("/slow"); atOnce != (n%20 < maxInvalidations) {
			t.Errorf("change %d, after %v: purged at once %v", n, *now-time.Hour, atOnce)
		}
		*now += invalidateInterval / 20
		if n%20 == 10 {
			if !change("/other" + strings.Repeat("x", n)) {
				t.Errorf("a change of another page had to wait")
			}
			if due := i.takeDue(*now); due != nil {
				t.Errorf("%v is due too early", due)
			}
		}
		for _, key := range i.takeDue(*now) {
			if n%20 != 19 || key != "/slow" {
				t.Errorf("after change %d %s was due", n, key)
			}
		}
	}
	// The last change counts: once, when there is room.
	change("/slow")
	*now += 2 * invalidateInterval
	if due := i.takeDue(*now); !slices.Equal(due, []string{"/slow"}) || i.takeDue(*now) != nil {
		t.Errorf("at the end %v were due", due)
	}
}

// The purges of other boards count too: over the whole rack a page has one bound.
func TestInvalidationsOfOtherBoardsCount(t *testing.T) {
	i, now := newTestInvalidator()
	for range maxInvalidations {
		i.countPurge("/slow", *now)
	}
	if !i.mergeChange("/slow", *now) {
		t.Error("a fourth purge within the interval is not merged")
	}
}

func TestMergedChangesAreBounded(t *testing.T) {
	i, now := newTestInvalidator()
	for n := range 10 * maxMerged {
		key := "/" + strings.Repeat("x", n)
		for range maxInvalidations {
			i.countPurge(key, *now)
		}
		if merged := i.mergeChange(key, *now); merged != (n < maxMerged) {
			t.Fatalf("change %d: merged %v; over the bound a change counts at once", n, merged)
		}
	}
	if i.mergeChange(strings.Repeat("x", purge.MaxTarget+1), *now) {
		t.Error("a key that cannot be purged waits for its purge")
	}
}

// An applied purge of an unsafe request leaves a stand-in and is counted; an operator's is not.
func TestApplyOfInvalidation(t *testing.T) {
	h, err := New(Config{Self: "a", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.cache.Close()
	apply := PurgeApplier{Pages: h, Applied: func(purge.Purge, int) {}}
	const key = "http://shop.example/slow"
	for range 2 * maxInvalidations {
		apply.Apply(purge.Purge{Kind: purge.URL, Target: key, Soft: true})
	}
	if h.invalidator.mergeChange(key, h.cache.Now()) {
		t.Error("operators' purges count")
	}
	for range maxInvalidations {
		apply.Apply(purge.Purge{Kind: purge.URL, Target: key, Soft: true, Invalid: true})
	}
	if !h.invalidator.mergeChange(key, h.cache.Now()) {
		t.Error("purges of unsafe requests do not count")
	}
}

// brokenLink is a rack link on which each board breaks off after a part of the request was sent.
type brokenLink struct {
	refuses bool // the board answers that it could not handle the request
	unsent  bool // the board cannot be reached
	calls   []string
}

func (l *brokenLink) Up(string) bool      { return true }
func (l *brokenLink) InFlight(string) int { return 0 }
func (l *brokenLink) Do(ctx context.Context, board string, r *http.Request) (*http.Response, error) {
	l.calls = append(l.calls, board)
	if l.unsent {
		return nil, link.ErrPeerSilent
	}
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
	}
	if l.refuses {
		w := httptest.NewRecorder()
		writeRefused(w, "not now")
		return w.Result(), nil
	}
	return nil, errors.New("connection reset")
}

type noPeers struct{}

func (noPeers) Peers() []link.Peer { return nil }
func (noPeers) KnownCount() int    { return 1 }

// A request that may have changed something is not sent to a second board.
func TestUnsafeRequestIsRelayedOnce(t *testing.T) {
	for _, tt := range []struct {
		name, method, body string
		link               brokenLink
		calls              int
		want               error
	}{
		{"a DELETE that broke off", "DELETE", "", brokenLink{}, 1, origin.ErrDown},
		{"a POST without a body", "POST", "", brokenLink{}, 1, origin.ErrDown},
		{"a POST with one", "POST", "x", brokenLink{}, 1, origin.ErrDown},
		{"a POST with one, refused", "POST", "x", brokenLink{refuses: true}, 1, origin.ErrBusy},
		{"a DELETE, refused", "DELETE", "", brokenLink{refuses: true}, 3, nil},
		{"a DELETE that was not sent", "DELETE", "", brokenLink{unsent: true}, 3, nil},
		{"a POST that was not sent", "POST", "x", brokenLink{unsent: true}, 3, nil},
		{"a GET that broke off", "GET", "", brokenLink{}, 3, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &tt.link
			syncer := purge.NewSyncer(purge.NewLog(nil), nil, noPeers{}, purge.DefaultTiming(), slog.New(slog.DiscardHandler))
			h := &PageHandler{Backends: Backends{Link: l, Purges: syncer}}
			r := httptest.NewRequest(tt.method, "http://shop.example/p", strings.NewReader(tt.body))
			if tt.body == "" {
				r.Body, r.ContentLength = http.NoBody, 0
			}
			resp, err := originFetch{h}.fetchViaHolders(t.Context(), []string{"b", "c", "d"}, r)
			if resp != nil || len(l.calls) != tt.calls || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%v: %v, want %d boards and %v", l.calls, err, tt.calls, tt.want)
			}
		})
	}
}
