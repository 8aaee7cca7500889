package rackcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bramble/cache"
	"bramble/cluster/link"
	"bramble/cluster/purge"
	"bramble/node/origin"
)

// Changes of one page over the bound are merged into one purge, which follows.
func TestInvalidationsAreMerged(t *testing.T) {
	i, now := newInvalidator(), time.Hour
	takeDue := func() []string { return i.takeDue(now, func(string) bool { return true }) }
	for n := range 50 { // twice a second
		if merged := i.mergeChange("/slow", now); merged == (n%20 < maxInvalidations) {
			t.Errorf("change %d, after %v: merged %v", n, now-time.Hour, merged)
		}
		now += invalidateInterval / 20
		if n%20 == 10 {
			if i.mergeChange("/other"+strings.Repeat("x", n), now) {
				t.Errorf("a change of another page had to wait")
			}
			if due := takeDue(); due != nil {
				t.Errorf("%v is due too early", due)
			}
		}
		for _, key := range takeDue() {
			if n%20 != 19 || key != "/slow" {
				t.Errorf("after change %d %s was due", n, key)
			}
		}
	}
	// The last change counts: once, when there is room, whichever board's purge it is.
	i.mergeChange("/slow", now)
	now += 2 * invalidateInterval
	if due := takeDue(); !slices.Equal(due, []string{"/slow"}) || takeDue() != nil {
		t.Errorf("at the end %v were due", due)
	}
	for range maxInvalidations + 1 {
		i.mergeChange("/slow", now)
	}
	now += 2 * invalidateInterval
	i.mergeChange("/slow", now)
	if due := takeDue(); due != nil {
		t.Errorf("after a purge from another board %v were due", due)
	}
	// A page that has left the memory needs no purge.
	for range maxInvalidations + 1 {
		i.mergeChange("/gone", now)
	}
	if due := i.takeDue(now, func(string) bool { return false }); due != nil || len(i.merged) > 0 {
		t.Errorf("%v were due, %v wait", due, i.merged)
	}
}

// A page is invalidated at most maxInvalidations times in the interval, whatever else clients change; an operator's
// purge always counts.
func TestInvalidationsOfAPageAreBounded(t *testing.T) {
	now := time.Now()
	h, err := New(Config{Self: "a", Logger: slog.New(slog.DiscardHandler), Cache: cache.Config{Now: func() time.Time { return now }}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.cache.Close()
	now = now.Add(time.Hour)
	var fetches atomic.Int64
	origin := upstreamFunc(func(r *http.Request) *http.Response {
		fetches.Add(1)
		return &http.Response{StatusCode: 200, Header: http.Header{"Cache-Control": {"max-age=600"}}, Body: io.NopCloser(strings.NewReader("x")), ContentLength: 1}
	})
	read := func(key string) {
		h.cache.Serve(httptest.NewRecorder(), httptest.NewRequest("GET", key, nil), cache.Route{Upstream: origin})
	}
	apply := PurgeApplier{Pages: h, Applied: func(purge.Purge, int) {}}
	invalidate := func(key string) {
		apply.Apply(purge.Purge{Kind: purge.URL, Target: key, Soft: true, Invalid: true})
	}
	const key, others = "http://shop.example/slow", 20 * invalidateSlots
	read(key)
	for n := range others {
		if n%(others/20) == 0 {
			invalidate(key)
			read(key)
		}
		invalidate(fmt.Sprintf("http://shop.example/%d", n))
	}
	if fetches.Load() != 1+maxInvalidations || len(h.invalidator.merged) != 1 {
		t.Errorf("%d fetches, want the first and %d; %d wait", fetches.Load(), maxInvalidations, len(h.invalidator.merged))
	}
	apply.Apply(purge.Purge{Kind: purge.URL, Target: key, Soft: true})
	read(key)
	if fetches.Load() != 2+maxInvalidations {
		t.Errorf("%d fetches after an operator's purge", fetches.Load())
	}
	now = now.Add(invalidateInterval)
	if due := h.invalidator.takeDue(h.cache.Now(), h.cache.Holds); !slices.Equal(due, []string{key}) {
		t.Errorf("%v are due", due)
	}
}

type upstreamFunc func(r *http.Request) *http.Response

func (f upstreamFunc) Fetch(_ context.Context, r *http.Request) (*http.Response, error) {
	return f(r), nil
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
