package cache

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"bramble/cache/fairshare"
)

// Upstream fetches a page that is not in memory: from the owner of its key, or from
// its origin server.
type Upstream interface {
	// Fetch sends the request and returns the reply with its final status, its
	// body still streaming; the caller closes the body. Like an
	// http.RoundTripper it does not change r, follows no redirect, and adds no
	// Accept-Encoding. It must return when ctx ends, and so must reads of the body.
	Fetch(ctx context.Context, r *http.Request) (*http.Response, error)
}

// Route is the path by which a request is answered if the store cannot answer it: the
// upstream, and the rules for sharing and storing its reply.
type Route struct {
	// Level separates flights: requests of different levels never wait for the same
	// fetch, so that two boards that disagree about the ring cannot wait for
	// each other.
	Level    string
	Upstream Upstream
	// Bypass, if not nil, replaces Upstream for a request that is fetched alone because
	// its reply can neither be shared nor stored: other boards on the way to the
	// origin would only add to the wait.
	Bypass Upstream
	// MayStore reports whether this board may store a new reply; nil means yes. It
	// is called once per fetch, when the reply's fields have arrived, and must not block.
	// A reply that is not stored is still shared with the requests that wait.
	MayStore func(key string) bool
	// Replicate: Config.OnStore is called for each object that is stored.
	Replicate bool
	// ForwardOnlyIfCached sends a request with only-if-cached upstream, directive
	// included, if it cannot be answered here: for a board whose upstream is a
	// cache too. Otherwise such a request fails with ErrOnlyIfCached.
	ForwardOnlyIfCached bool
	// MaxAge, if not 0, limits the age of replies that are served without asking
	// upstream: for a board that cannot know what was purged. If upstream fails,
	// older replies are served under the rules for stale ones.
	MaxAge time.Duration
	// DeferStale leaves it to upstream whether a stale reply is served while it is
	// refreshed (RFC 5861 §3): for a board whose upstream is the page's owner,
	// which answers as fast and knows whether the page was refreshed since.
	DeferStale bool
	// KeepStored: an unsafe request invalidates nothing.
	KeepStored bool
}

// acceptsAge reports whether a stored reply is young enough for the route.
func (r Route) acceptsAge(o *Object, now time.Duration) bool {
	return r.MaxAge == 0 || o.age(now) < r.MaxAge
}

// Cache is a shared cache. All its methods may be called concurrently.
type Cache struct {
	cfg  Config
	name string // Config.Name in the syntax of Cache-Status
	// hitStatus is the text between the age and the remaining lifetime in the fields of
	// a hit; "" without Cache-Status.
	hitStatus     string
	createdAt     time.Time
	realTime      bool // Config.Now is time.Now
	store         *store
	flights       flights
	fetchPermits  *fairshare.Permits // limits fetches
	streamPermits *fairshare.Permits // limits long replies that are not stored
	unshared      *negativeCache     // keys whose replies cannot be shared
	failures      *negativeCache     // keys for which upstream failed
	compressor    compressor
	incomingBytes atomic.Int64 // reserved for bodies on their way into the store
	counters      counters
}

// New returns a cache. It fails if the configuration cannot work, for example if the
// budget is too small for the objects.
func New(cfg Config) (*Cache, error) {
	realTime := cfg.Now == nil
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache{
		cfg: cfg, name: quoteName(cfg.Name), createdAt: cfg.Now(), realTime: realTime,
		store:         newStore(cfg.Budget-cfg.Budget/incomingPart, cfg.MaxObject, cfg.MaxVariants),
		fetchPermits:  fairshare.New(cfg.MaxFetches, maxFetchQueue, cfg.SharesFetches),
		streamPermits: fairshare.New((cfg.MaxFetches+1)/2, maxFetchQueue, cfg.SharesFetches),
		flights: flights{
			joinable: make(map[flightID]*flight),
			active:   make(map[*flight]struct{}),
			guards:   make(map[*Guard]struct{}),
		},
	}
	if !cfg.NoCacheStatus {
		c.hitStatus = "\r\nCache-Status: " + c.name + "; hit; ttl="
	}
	if c.unshared, err = newNegativeCache(); err != nil {
		return nil, err
	}
	if c.failures, err = newNegativeCache(); err != nil {
		return nil, err
	}
	return c, nil
}

// Now returns the time since the cache was created, by Config.Now. With time.Now it is
// monotonic: when a board learns the date after its start, its pages do not age by
// forty years.
func (c *Cache) Now() time.Duration {
	if c.realTime {
		return time.Since(c.createdAt) // reads one clock, where time.Now reads two
	}
	return c.cfg.Now().Sub(c.createdAt)
}

// Key returns the request's key in the store: its URL, which the caller has normalised,
// without the fragment. The method is not part of it; variants (Vary) are stored
// together under one key.
func Key(r *http.Request) string { return KeyOf(r.URL) }

// KeyOf returns the key of a URL. Path and query stay as they came: two spellings of one
// page are two pages, which costs memory and is always correct.
func KeyOf(u *url.URL) string {
	key := u.Scheme + "://" + u.Host + u.EscapedPath()
	if u.RawQuery != "" || u.ForceQuery {
		key += "?" + u.RawQuery
	}
	return key
}
