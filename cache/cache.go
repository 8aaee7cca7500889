package cache

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Upstream is where a page comes from when it is not in memory: the owner of
// its key, or its origin server.
type Upstream interface {
	// Fetch sends the request and returns the reply with its final status, its
	// body still streaming; the caller closes the body. Like an
	// http.RoundTripper it does not change r, follows no redirect, and adds no
	// Accept-Encoding. It must return when ctx ends, and so must reads of the body.
	Fetch(ctx context.Context, r *http.Request) (*http.Response, error)
}

// Route says how one request is to be answered when memory does not do.
type Route struct {
	// Name keeps flights apart: requests of different routes never wait for one
	// fetch, so that two boards that disagree about the ring cannot wait for
	// each other.
	Name     string
	Upstream Upstream
	// Bypass, if not nil, is asked in place of Upstream by a client that goes
	// alone because the reply can neither be shared nor stored: what stands
	// between here and the origin could only add to the wait.
	Bypass Upstream
	// MayStore says whether this board may keep a copy of a new reply; nil is yes.
	// It is called once a fill, when the reply's fields are in, and must not
	// block. What is not kept is still shared with those who wait.
	MayStore func(key string) bool
	// Replicate has Config.OnStore called for what is stored.
	Replicate bool
	// ForwardOnlyIfCached has a request with only-if-cached sent upstream, directive and
	// all, if it cannot be answered here: for a board whose upstream is a cache
	// too. Otherwise such a request fails with ErrOnlyIfCached.
	ForwardOnlyIfCached bool
	// MaxAge, if not 0, keeps replies of a greater age from being served
	// without asking upstream: for a board that cannot know what was purged. If
	// upstream fails, they are served where a stale reply could be.
	MaxAge time.Duration
	// DeferStale leaves it to upstream whether a stale reply is served while it is
	// refreshed (RFC 5861 §3): for a board whose upstream is the page's owner,
	// which answers as fast and knows whether the page was refreshed since.
	DeferStale bool
}

// acceptsAge reports whether a stored reply is young enough for the route.
func (r Route) acceptsAge(o *Object, now time.Duration) bool {
	return r.MaxAge == 0 || o.age(now) < r.MaxAge
}

// Cache is a shared cache. All its methods may be called concurrently.
type Cache struct {
	cfg  Config
	name string // Config.Name as Cache-Status wants it
	// hitStatus is what stands between the age and the time left in a hit's
	// fields; "" without Cache-Status.
	hitStatus   string
	createdAt   time.Time
	realTime    bool // Config.Now is time.Now
	store       *store
	flights     flights
	fetchSlots  *semaphore.Weighted // limits fetches
	streamSlots *semaphore.Weighted // limits long replies that are not stored
	unshared    *negativeCache      // keys whose replies cannot be shared
	failures    *negativeCache      // keys for which upstream failed
	compressor  compressor
	fillBytes   atomic.Int64 // bytes set aside for bodies on their way in
	counters    counters
}

// New makes a cache. It fails if the budget is too small for what it should hold.
func New(cfg Config) (*Cache, error) {
	realTime := cfg.Now == nil
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache{
		cfg: cfg, name: quoteName(cfg.Name), createdAt: cfg.Now(), realTime: realTime,
		store:       newStore(cfg.Budget-cfg.Budget/fillPart, cfg.MaxObject, cfg.MaxVariants),
		fetchSlots:  semaphore.NewWeighted(int64(cfg.MaxFills)),
		streamSlots: semaphore.NewWeighted(int64(cfg.MaxFills+1) / 2),
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

// Now is the time since the cache was made, by Config.Now. With time.Now it is
// monotonic: a board that learns the date after start does not age its pages by
// forty years.
func (c *Cache) Now() time.Duration {
	if c.realTime {
		return time.Since(c.createdAt) // reads one clock, where time.Now reads two
	}
	return c.cfg.Now().Sub(c.createdAt)
}

// Key is the request's key in the store: its URL, which the caller has
// normalised, without a fragment. The method is not part of it, Vary is handled
// below it.
func Key(r *http.Request) string { return KeyOf(r.URL) }

// KeyOf is the key of a URL. Path and query are taken as they came: two
// spellings of one page are two pages, which costs memory and can confuse nobody.
func KeyOf(u *url.URL) string {
	key := u.Scheme + "://" + u.Host + u.EscapedPath()
	if u.RawQuery != "" || u.ForceQuery {
		key += "?" + u.RawQuery
	}
	return key
}
