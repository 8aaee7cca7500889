package rackcache

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"bramble/cache"
	"bramble/cluster/purge"
	"bramble/node/origin"
)

// Names of the routes. Fetches of different routes never wait for each other,
// and each leads only to the next: so boards that disagree about the ring for a
// moment cannot wait in a circle.
const (
	levelRack   = "rack"   // for a client: by way of the owner
	levelRelay  = "relay"  // for a board that took this one for the owner: by way of the owner
	levelOrigin = "origin" // this board fetches from the origin
	levelPermit = "permit" // for a board that has no permit at the origin: this one has
)

// isolatedMaxAge limits how long a board that is cut off from most of its rack trusts
// a page after it has asked the origin: the time within which a purge must be
// applied, and a load that the origin can bear, one request a page and second.
const isolatedMaxAge = time.Second

// OwnerRing says which boards own a key (cluster.Ring).
type OwnerRing interface {
	// Owners returns the first and second owner of a key, "" for none.
	Owners(key string) (first, second string)
	// Pick returns the less loaded owner of a key.
	Pick(key string, inFlight func(board string) int) string
}

// PeerLink carries requests to the other boards (link.Link).
type PeerLink interface {
	// Do sends a request to a board. It fails soon if the board is silent.
	Do(ctx context.Context, board string, r *http.Request) (*http.Response, error)
	// Up reports whether a board is believed to answer.
	Up(board string) bool
	// InFlight returns how many requests to a board have no reply yet.
	InFlight(board string) int
}

// ShopHandler is the built-in shop, some of whose requests are between the client
// and this board alone.
type ShopHandler interface {
	http.Handler
	// Direct reports whether a request goes round the cache.
	Direct(r *http.Request) bool
}

// Config is what a PageHandler is made of before its board has met the rack.
type Config struct {
	// Self is the board's name.
	Self string
	// Cache configures this board's memory. New sets its hooks.
	Cache cache.Config
	// Logger gets what goes wrong. It may be rate-limited.
	Logger *slog.Logger
}

// Backends is what a PageHandler needs of its rack and of the origins.
type Backends struct {
	Ring func() OwnerRing // the ring of this moment
	Link PeerLink
	// Purges is a concrete type because its clock and its lease are read on the fast
	// path, where the compiler inlines them.
	Purges *purge.Syncer
	Sites  *origin.Sites
	Shop   ShopHandler // nil: no site is the built-in shop
}

// PageHandler answers clients from this board's memory or, on a miss, by way of the
// ring's owner, which fetches from the origin once for the whole rack.
type PageHandler struct {
	Backends
	self        string
	cache       *cache.Cache
	clockLead   time.Duration // by which the cache's clock is ahead of that of the purges
	hotKeys     *hotKeys
	replicator  *replicator
	invalidator *invalidator
	maxObject   int64 // the largest body that the cache stores, in bytes
}

// New makes a handler with an empty cache. It answers after Connect.
func New(cfg Config) (*PageHandler, error) {
	h := &PageHandler{self: cfg.Self, hotKeys: newHotKeys(time.Now()), maxObject: cfg.Cache.MaxObject, invalidator: newInvalidator()}
	h.replicator = newReplicator(h, cfg.Logger)
	cfg.Cache.Name = cfg.Self
	cfg.Cache.ErrorHandler = newFailHandler(cfg.Logger)
	cfg.Cache.OnStore = h.replicator.queueReplica
	cfg.Cache.OnInvalidate, cfg.Cache.OnReplace = h.invalidator.purgeKey, h.invalidator.purgeKey
	cfg.Cache.AwaitInvalidation = h.invalidator.awaitPurge
	var err error
	h.cache, err = cache.New(cfg.Cache)
	return h, err
}

// Connect joins the handler to its rack and its origins, once, before it answers.
func (h *PageHandler) Connect(b Backends) {
	h.Backends = b
	h.clockLead = h.cache.Now() - b.Purges.Now()
}

// Cache returns this board's memory.
func (h *PageHandler) Cache() *cache.Cache { return h.cache }

// Run sends copies to second owners and late purges to their boards, until ctx ends.
func (h *PageHandler) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.invalidator.run(ctx, h.Purges)
	}()
	h.replicator.run(ctx)
	<-done
}

// ServeHTTP answers a client.
func (h *PageHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	siteRequest, err := h.Sites.RewriteForSite(r)
	switch {
	case err != nil:
		writeRequestError(w, err)
	case h.Shop != nil && h.Sites.IsBuiltIn(siteRequest.URL) && h.Shop.Direct(r):
		// As the client sent it: the shop compares Origin with Host.
		h.Shop.ServeHTTP(w, r)
	default:
		h.cache.Serve(w, siteRequest, h.routeFor(siteRequest, levelRack))
	}
}

// routeFor returns the route of a request that this board's memory cannot answer.
func (h *PageHandler) routeFor(r *http.Request, level string) cache.Route {
	route := cache.Route{Level: levelOrigin, Upstream: originFetch{h}}
	if !h.ensureLease(r.Context()) {
		route.MaxAge = isolatedMaxAge
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength != 0 {
		return route // between this client and the origin alone
	}
	key := cache.Key(r)
	first, _ := h.Ring().Owners(key)
	if first == h.self || first == "" {
		route.Upstream = secondOwnerOrOrigin{h}
		route.Replicate = true
		return route
	}
	route.Level = level
	route.Upstream, route.Bypass, route.ForwardOnlyIfCached = rackFetch{h, level}, originFetch{h}, true
	// One board for the rack decides when a page is refreshed; otherwise each would
	// serve its own first client a stale page. A dead owner is not waited for.
	route.DeferStale = h.Link.Up(first)
	h.hotKeys.countRequest(key, time.Now())
	route.MayStore = h.isHotKey
	return route
}

// isHotKey reports whether a key that another board owns deserves a copy here.
func (h *PageHandler) isHotKey(key string) bool { return h.hotKeys.isHot(key, time.Now()) }

// ensureLease reports whether this board may answer from its memory. A board that
// was stopped or cut off first tries to learn the purges that it missed.
func (h *PageHandler) ensureLease(ctx context.Context) bool {
	return h.Purges.LeaseValid() || h.Purges.RenewLease(ctx)
}
