package node

import (
	"context"
	"errors"
	"net/http"
	"time"

	"bramble/cache"
	"bramble/cluster"
)

// Names of the routes. Fetches of different routes never wait for each other,
// and each leads only to the next: so boards that disagree about the ring for a
// moment cannot wait in a circle.
const (
	rackRoute   = "rack"   // for a client: over the owner
	relayRoute  = "relay"  // for a board that took this one for the owner: over the owner
	originRoute = "origin" // this board asks the origin itself
)

// cutOffBelief is how long a board that is cut off from most of its rack
// believes a page after it has asked the origin for it: the time within which a
// purge must be obeyed, and a load of one request a page and second that the
// origin can bear.
const cutOffBelief = time.Second

// pages is the first journey: a client's request is answered from this board's
// memory or, on a miss, over the ring's owner, who asks the origin once for the
// whole rack.
type pages struct {
	self   string
	site   site
	cache  *cache.Cache
	ring   func() *cluster.Ring
	link   *cluster.Link
	purger *cluster.Purger
	origin cache.Upstream
	hot    *hotness
	// maxObject is the largest body that the cache keeps, in bytes.
	maxObject int64
	now       func() time.Time
}

// ServeHTTP answers a client.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, err := p.site.request(r)
	switch {
	case errors.Is(err, errLoop):
		writeFault(w, http.StatusLoopDetected, err)
		return
	case err != nil:
		writeFault(w, http.StatusBadRequest, err)
		return
	}
	p.cache.Serve(w, r, p.route(r, rackRoute))
}

// route says where a request goes that this board's memory cannot answer.
func (p *pages) route(r *http.Request, name string) cache.Route {
	route := cache.Route{Name: originRoute, Upstream: p.origin}
	if !p.believable(r.Context()) {
		route.YoungerThan = cutOffBelief
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength != 0 {
		return route // between this client and the origin alone
	}
	key := cache.Key(r)
	first, _ := p.ring().Owners(key)
	if first == p.self || first == "" {
		route.Upstream = ownerFetch{p}
		route.Share = true
		return route
	}
	route.Name = name
	route.Upstream = rackFetch{p, name}
	p.hot.count(key, p.now())
	route.Keep = p.keep
	return route
}

// keep is asked about keys that other boards own.
func (p *pages) keep(key string) bool { return p.hot.hot(key, p.now()) }

// believable reports whether this board's memory may be answered from. If it
// was stopped or cut off, it first tries to learn what it missed.
func (p *pages) believable(ctx context.Context) bool {
	return p.purger.Believable() || p.purger.Sync(ctx)
}

// ownerFetch is a miss on the board that owns the key: the second owner may
// have a copy (it was the first until this board came, or this one has been
// restarted); if not, the origin is asked.
type ownerFetch struct{ p *pages }

// Fetch returns the second owner's copy or the origin's reply.
func (o ownerFetch) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	_, second := o.p.ring().Owners(cache.Key(r))
	if second != "" && o.p.link.Up(second) && unconditional(r) {
		resp, err := o.p.askPeer(ctx, second, r, linkQuery{storedOnly: true})
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
	return o.p.origin.Fetch(ctx, r)
}

// unconditional: a request that renews a stale copy is for the origin alone.
func unconditional(r *http.Request) bool {
	return r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == ""
}

// rackFetch is a miss on a board that does not own the key. It asks the owner,
// then the second owner, and if neither lives the origin. Boards that turn out
// to be dead cost at most half a peer timeout each (cluster.Link.Do).
type rackFetch struct {
	p     *pages
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
		resp, err := p.askPeer(ctx, board, r, linkQuery{relayed: f.route == relayRoute})
		if err == nil || ctx.Err() != nil {
			return resp, err
		}
	}
	return p.origin.Fetch(ctx, r)
}
