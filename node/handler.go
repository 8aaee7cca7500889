package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"bramble/cache"
	"bramble/cluster"
	"bramble/cluster/link"
	"bramble/cluster/purge"
	"bramble/node/origin"
)

// Names of the routes. Fetches of different routes never wait for each other,
// and each leads only to the next: so boards that disagree about the ring for a
// moment cannot wait in a circle.
const (
	rackRoute   = "rack"   // for a client: over the owner
	relayRoute  = "relay"  // for a board that took this one for the owner: over the owner
	originRoute = "origin" // this board asks the origin
	permitRoute = "place"  // for a board that has no place at the origin: this one has
)

// isolatedMaxAge is how long a board that is cut off from most of its rack
// believes a page after it has asked the origin for it: the time within which a
// purge must be obeyed, and a load of one request a page and second that the
// origin can bear.
const isolatedMaxAge = time.Second

// rackHandler is the first journey: a client's request is answered from this board's
// memory or, on a miss, over the ring's owner, who asks the origin once for the
// whole rack.
type rackHandler struct {
	self      string
	sites     *origin.Sites
	shop      shopHandler // nil: no site is the built-in shop
	cache     *cache.Cache
	ring      func() *cluster.Ring
	link      *link.Link
	purger    *purge.Syncer
	clockLead time.Duration // by which the cache's clock is ahead of the purger's
	hot       *hotKeys
	// maxObject is the largest body that the cache keeps, in bytes.
	maxObject int64
	now       func() time.Time
}

// shopHandler is the built-in shop, some of whose requests are between the client
// and this board alone.
type shopHandler interface {
	http.Handler
	Direct(r *http.Request) bool
}

// ServeHTTP answers a client.
func (p *rackHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, err := p.sites.Request(r)
	switch {
	case err != nil:
		writeRequestError(w, err)
	case p.shop != nil && p.sites.IsBuiltIn(asked.URL) && p.shop.Direct(r):
		// As the client sent it: the shop compares Origin with Host.
		p.shop.ServeHTTP(w, r)
	default:
		p.cache.Serve(w, asked, p.routeFor(asked, rackRoute))
	}
}

// routeFor says where a request goes that this board's memory cannot answer.
func (p *rackHandler) routeFor(r *http.Request, name string) cache.Route {
	route := cache.Route{Name: originRoute, Upstream: originFetch{p}}
	if !p.ensureLease(r.Context()) {
		route.MaxAge = isolatedMaxAge
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength != 0 {
		return route // between this client and the origin alone
	}
	key := cache.Key(r)
	first, _ := p.ring().Owners(key)
	if first == p.self || first == "" {
		route.Upstream = ownerFetch{p}
		route.Replicate = true
		return route
	}
	route.Name = name
	route.Upstream, route.Bypass, route.ForwardOnlyIfCached = rackFetch{p, name}, originFetch{p}, true
	// One board for the rack says when a page is refreshed, or each would have
	// its own first client served stale. A dead one is not waited for.
	route.DeferStale = p.link.Up(first)
	p.hot.countRequest(key, p.now())
	route.MayStore = p.isHotKey
	return route
}

// isHotKey is asked about keys that other boards own.
func (p *rackHandler) isHotKey(key string) bool { return p.hot.isHot(key, p.now()) }

// ensureLease reports whether this board's memory may be answered from. If it
// was stopped or cut off, it first tries to learn what it missed.
func (p *rackHandler) ensureLease(ctx context.Context) bool {
	return p.purger.LeaseValid() || p.purger.RenewLease(ctx)
}

// ownerFetch is a miss on the board that owns the key: the second owner may
// have a copy (it was the first until this board came, or this one has been
// restarted); if not, the origin is asked.
type ownerFetch struct{ p *rackHandler }

// Fetch returns the second owner's copy or the origin's reply.
func (o ownerFetch) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	_, second := o.p.ring().Owners(cache.Key(r))
	if second != "" && o.p.link.Up(second) && isUnconditional(r) {
		resp, err := o.p.fetchFromPeer(ctx, second, r, linkQuery{storedOnly: true})
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
	return originFetch(o).Fetch(ctx, r)
}

// isUnconditional: a request that renews a stale copy is for the origin alone.
func isUnconditional(r *http.Request) bool {
	return r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == ""
}

// rackFetch is a miss on a board that does not own the key. It asks the owner,
// then the second owner, and if neither lives the origin. Boards that turn out
// to be dead cost at most half a peer timeout each (link.Link.Do).
type rackFetch struct {
	p     *rackHandler
	route string
}

// Fetch returns the rack's reply or, without a living owner, the origin's.
func (f rackFetch) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	p := f.p
	key := cache.Key(r)
	ring := p.ring()
	first, second := ring.Owners(key)
	if second != p.self && ring.Pick(key, p.link.InFlight) == second {
		first, second = second, first
	}
	for _, board := range [...]string{first, second} {
		if board == "" || board == p.self || !p.link.Up(board) {
			continue
		}
		resp, err := p.fetchFromPeer(ctx, board, r, linkQuery{relayed: f.route == relayRoute})
		if err == nil || ctx.Err() != nil {
			return resp, err
		}
	}
	if isOnlyIfCached(r) {
		return nil, cache.ErrOnlyIfCached
	}
	return originFetch{p}.Fetch(ctx, r)
}

// isOnlyIfCached: the request may be answered from a memory of the rack, and by
// nobody else (RFC 9111 §5.2.1.7).
func isOnlyIfCached(r *http.Request) bool {
	for _, line := range r.Header["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "only-if-cached") {
				return true
			}
		}
	}
	return false
}

// holderRetryInterval is the pause before a board without a place at the origin tries
// anew to find a board that has one, and is alive.
const holderRetryInterval = 200 * time.Millisecond

// originFetch asks the origin: from here, or, if this board has no place there,
// by way of a board that has one.
type originFetch struct{ p *rackHandler }

// Fetch returns the origin's reply. It looks for a place as long as a request
// may queue for one.
func (o originFetch) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	p := o.p
	for began := p.now(); ; {
		holders, patience := p.sites.PermitHolders(r.URL)
		if len(holders) == 0 {
			return localOriginFetch(o).Fetch(ctx, r)
		}
		resp, err := o.fetchViaHolders(ctx, holders, r)
		if resp != nil || err != nil {
			return resp, err
		}
		if p.now().Sub(began) >= patience {
			return nil, fmt.Errorf("no board that has a place at the origin answers: %w", origin.ErrBusy)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(holderRetryInterval):
		}
	}
}

// fetchViaHolders asks the boards that have a place, one after another. It returns
// neither a reply nor an error if another try makes sense.
func (o originFetch) fetchViaHolders(ctx context.Context, holders []string, r *http.Request) (*http.Response, error) {
	sent := &singleUseBody{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(ctx)
		r.Body = sent
	}
	first := xxhash.Sum64String(cache.Key(r)) // so that all of them bear a part
	for i := range holders {
		board := holders[(first+uint64(i))%uint64(len(holders))]
		if !o.p.link.Up(board) {
			continue
		}
		resp, err := o.p.callPeer(ctx, board, originRelayPath, r, linkQuery{})
		switch {
		case err == nil:
			return resp, nil
		case ctx.Err() != nil:
			return nil, err
		case !sent.begun.Load():
		case errors.Is(err, errRefused):
			return nil, fmt.Errorf("by way of %s: %w", board, origin.ErrBusy)
		default:
			return nil, fmt.Errorf("by way of %s: %w: %w", board, origin.ErrDown, err)
		}
	}
	return nil, nil
}

// singleUseBody is a request's body, which can be sent once only: it notes whether
// that has begun. Who made it closes it.
type singleUseBody struct {
	io.ReadCloser
	begun atomic.Bool
}

func (b *singleUseBody) Read(p []byte) (int, error) {
	b.begun.Store(true)
	return b.ReadCloser.Read(p)
}

func (b *singleUseBody) Close() error { return nil }

// localOriginFetch asks the origin from here, after a wait for a place if need be.
type localOriginFetch struct{ p *rackHandler }

// Fetch returns the origin's reply.
func (f localOriginFetch) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	resp, err := f.p.sites.Fetch(ctx, r)
	if err == nil {
		resp.Header.Del(headerRefused) // only a board may say this
	}
	return resp, err
}
