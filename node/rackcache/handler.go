package rackcache

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"bramble/cache"
	"bramble/cluster/purge"
	"bramble/node/origin"
)

// Levels of a fetch. Fetches of different levels never wait for each other, and each
// leads only to the next one: so boards that disagree about the ring for a moment
// cannot wait in a circle.
const (
	levelRack   = "rack"   // for a client: through the owner
	levelRelay  = "relay"  // for a board that took this one for the owner: through the owner
	levelOrigin = "origin" // from the origin, or from what the second owner has stored
	levelPermit = "permit" // from the origin, for a board that has no permit there
)

// isolatedMaxAge limits how long a board that is cut off from most of its rack trusts
// a page after it has asked the origin. A purge must be applied within that time, and
// the origin can bear the load: one request per page and second.
const isolatedMaxAge = time.Second

// OwnerRing maps keys to the boards that own them (cluster.Ring).
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
	// BypassesCache reports whether a request bypasses the cache.
	BypassesCache(r *http.Request) bool
	// SharesPage reports whether boards may show each other's page at a URL now. If not, each
	// board answers its clients from its own shop, and neither gives that page to another board
	// nor takes it from one.
	SharesPage(u *url.URL) bool
}

// Config configures a PageHandler before its board has joined the rack.
type Config struct {
	// Self is the board's name.
	Self string
	// Cache configures this board's memory. New sets its hooks.
	Cache cache.Config
	// Logger gets what goes wrong. It may be rate-limited.
	Logger *slog.Logger
}

// Backends are the parts of the rack, and the origins, that a PageHandler uses.
type Backends struct {
	Ring func() OwnerRing // returns the current ring
	Link PeerLink
	// Purges is a concrete type because its clock and its lease are read on the fast
	// path, where the compiler inlines them.
	Purges *purge.Syncer
	Sites  *origin.Sites
	Shop   ShopHandler // nil: no site is the built-in shop
}

// PageHandler answers clients from this board's memory or, on a miss, through the
// page's owner on the ring, which fetches from the origin once for the whole rack.
type PageHandler struct {
	Backends
	self        string
	cache       *cache.Cache
	clockLead   time.Duration // the cache's clock minus the clock of the purges
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
	cfg.Cache.OnInvalidate = h.invalidator.purgeKey
	cfg.Cache.AwaitInvalidation = h.invalidator.awaitPurge
	var err error
	h.cache, err = cache.New(cfg.Cache)
	return h, err
}

// Connect attaches the handler to its rack and origins. Call it once, before it serves.
func (h *PageHandler) Connect(b Backends) {
	h.Backends = b
	h.clockLead = h.cache.Now() - b.Purges.Now()
}

// Cache returns this board's memory.
func (h *PageHandler) Cache() *cache.Cache { return h.cache }

// Run sends copies to second owners and late purges to their boards, until ctx ends.
func (h *PageHandler) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { h.invalidator.run(ctx, h.Purges, h.cache) })
	h.replicator.run(ctx)
	running.Wait()
}

// ServeHTTP answers a client.
func (h *PageHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	siteRequest, err := h.Sites.RewriteForSite(r)
	switch {
	case err != nil:
		writeRequestError(w, err)
	case h.Shop != nil && h.Sites.IsBuiltIn(siteRequest.URL) && h.Shop.BypassesCache(r):
		// As the client sent it: the shop compares Origin with Host.
		h.Shop.ServeHTTP(w, r)
	default:
		h.cache.Serve(w, siteRequest, h.routeFor(siteRequest, levelRack))
	}
}

// routeFor returns the route of a request that this board's memory cannot answer. level
// is that of a page which another board owns.
func (h *PageHandler) routeFor(r *http.Request, level string) cache.Route {
	maxAge := h.maxStoredAge(r.Context())
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength != 0 {
		// Between this client and the origin alone.
		return cache.Route{Level: levelOrigin, Upstream: originFetch{h}, MaxAge: maxAge, KeepStored: !h.Sites.Invalidates(r.URL)}
	}
	if h.isOwnView(r.URL) {
		return cache.Route{Level: levelOrigin, Upstream: originFetch{h}, MaxAge: maxAge}
	}
	key := cache.Key(r)
	owner, _ := h.Ring().Owners(key)
	if owner == h.self || owner == "" {
		return cache.Route{Level: levelOrigin, Upstream: secondOwnerOrOrigin{h}, Replicate: true, MaxAge: maxAge}
	}
	h.hotKeys.countRequest(key, time.Now())
	return cache.Route{
		Level: level, Upstream: rackFetch{h, level}, Bypass: originFetch{h}, ForwardOnlyIfCached: true,
		MayStore: h.isHotKey, MaxAge: maxAge,
		// One board of the rack decides when a page is refreshed; otherwise each would
		// serve its own first client a stale page. A dead owner is not waited for.
		DeferStale: h.Link.Up(owner),
	}
}

// isOwnView reports whether a page is one of this board's shop that no other board may
// show, nor this board another's.
func (h *PageHandler) isOwnView(u *url.URL) bool {
	return h.Shop != nil && h.Sites.IsBuiltIn(u) && !h.Shop.SharesPage(u)
}

// isOwnViewKey reports the same of a key. One that no URL has is refused too: its objects, such as the
// parts of a page, would answer requests for another URL.
func (h *PageHandler) isOwnViewKey(key string) bool {
	page, err := url.Parse(key)
	return err != nil || cache.KeyOf(page) != key || h.isOwnView(page)
}

// maxStoredAge returns the age up to which this board may answer from its memory without
// asking the origin; 0 for any. A board that was stopped or cut off first tries to learn
// the purges that it missed.
func (h *PageHandler) maxStoredAge(ctx context.Context) time.Duration {
	if h.Purges.LeaseValid() || h.Purges.RenewLease(ctx) {
		return 0
	}
	return isolatedMaxAge
}

// isHotKey reports whether a key that another board owns deserves a copy here.
func (h *PageHandler) isHotKey(key string) bool { return h.hotKeys.isHot(key, time.Now()) }
