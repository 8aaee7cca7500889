package rackcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/net/http/httpguts"

	"bramble/cache"
	"bramble/node/origin"
)

// secondOwnerOrOrigin fetches for the board that owns the key. The second owner may have
// the page in memory (it was the first owner until this board joined, or this board has
// restarted); if not, this board fetches from the origin.
type secondOwnerOrOrigin struct{ h *PageHandler }

func (s secondOwnerOrOrigin) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	_, second := s.h.Ring().Owners(cache.Key(r))
	if second != "" && s.h.Link.Up(second) && hasNoValidators(r) {
		resp, err := s.h.fetchFromPeer(ctx, second, r, linkQuery{storedOnly: true})
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
	return originFetch(s).Fetch(ctx, r)
}

// hasNoValidators reports whether a request has no validators. Only the origin can
// answer one that has some.
func hasNoValidators(r *http.Request) bool {
	return r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == ""
}

// rackFetch fetches for a board that does not own the key: from the owner, then from
// the second owner, and, if neither is alive, from the origin. A board that turns out
// to be dead costs at most half a peer timeout (link.Link.Do).
type rackFetch struct {
	h     *PageHandler
	level string
}

func (f rackFetch) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	h := f.h
	for _, board := range h.ownersByLoad(cache.Key(r)) {
		if board == "" || board == h.self || !h.Link.Up(board) {
			continue
		}
		resp, err := h.fetchFromPeer(ctx, board, r, linkQuery{relayed: f.level == levelRelay})
		if err == nil || ctx.Err() != nil {
			return resp, err
		}
	}
	if isOnlyIfCached(r) {
		return nil, cache.ErrOnlyIfCached
	}
	return originFetch{h}.Fetch(ctx, r)
}

// ownersByLoad returns the two owners of a key in the order in which to ask them: the
// second comes first if the ring's bounded loads choose it.
func (h *PageHandler) ownersByLoad(key string) [2]string {
	ring := h.Ring()
	first, second := ring.Owners(key)
	if second != h.self && ring.Pick(key, h.Link.InFlight) == second {
		return [2]string{second, first}
	}
	return [2]string{first, second}
}

// isOnlyIfCached reports whether a request may be answered only from a memory of
// the rack (RFC 9111 §5.2.1.7).
func isOnlyIfCached(r *http.Request) bool {
	return httpguts.HeaderValuesContainsToken(r.Header["Cache-Control"], "only-if-cached")
}

// holderRetryInterval is the pause before a board without a permit at the origin
// searches again for a live board that has one.
const holderRetryInterval = 200 * time.Millisecond

// originFetch fetches from the origin: directly, or, if this board has no permit
// there, through a board that has one.
type originFetch struct{ h *PageHandler }

// Fetch returns the origin's reply. It searches for a board with a permit for as long
// as a request may queue for a permit.
func (f originFetch) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	h := f.h
	for began := time.Now(); ; {
		holders, maxWait := h.Sites.PermitHolders(r.URL)
		if len(holders) == 0 {
			return directFetch{h}.Fetch(ctx, r)
		}
		resp, err := f.fetchViaHolders(ctx, holders, r)
		if resp != nil || err != nil {
			return resp, err
		}
		if time.Since(began) >= maxWait {
			return nil, relayError{fmt.Errorf("no board that has a permit at the origin answers: %w", origin.ErrBusy)}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(holderRetryInterval):
		}
	}
}

// relayError is the failure of a request that another board may have sent to the origin.
type relayError struct{ error }

func (e relayError) Unwrap() error { return e.error }

// fetchViaHolders sends the request to the boards that have a permit, one after
// another. An unsafe request that one of them may have passed on is not sent again: it would be
// done twice. It returns neither a reply nor an error if the caller should try again.
func (f originFetch) fetchViaHolders(ctx context.Context, holders []string, r *http.Request) (*http.Response, error) {
	body := &singleUseBody{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(ctx)
		r.Body = body
	}
	var sent atomic.Bool // an unsafe request is on its way
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	}
	first := xxhash.Sum64String(cache.Key(r)) // so that the load spreads over all of them
	for i := range holders {
		board := holders[(first+uint64(i))%uint64(len(holders))]
		if !f.h.Link.Up(board) {
			continue
		}
		resp, err := f.h.callPeer(ctx, board, originRelayPath, r, linkQuery{})
		switch {
		case err == nil:
			return resp, nil
		case ctx.Err() != nil:
			return nil, err
		case !body.begun.Load() && (!sent.Load() || errors.Is(err, errRefused)):
			sent.Store(false)
		case errors.Is(err, errRefused):
			return nil, relayError{fmt.Errorf("through %s: %w", board, origin.ErrBusy)}
		default:
			return nil, fmt.Errorf("through %s: %w: %w", board, origin.ErrDown, err)
		}
	}
	return nil, nil
}

// singleUseBody is a request body, which can be sent only once: it records whether
// sending has begun. The body inside is closed by its owner.
type singleUseBody struct {
	io.ReadCloser
	begun atomic.Bool
}

func (b *singleUseBody) Read(p []byte) (int, error) {
	b.begun.Store(true)
	return b.ReadCloser.Read(p)
}

func (b *singleUseBody) Close() error { return nil }

// directFetch fetches from the origin, waiting for a permit if necessary.
type directFetch struct{ h *PageHandler }

func (f directFetch) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	resp, err := f.h.Sites.Fetch(ctx, r)
	if err == nil {
		resp.Header.Del(headerRefused) // only a board may set it
	}
	return resp, err
}
