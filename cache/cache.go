package cache

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
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
	fetchSlots  chan struct{} // places for fetches
	streamSlots chan struct{} // places for long replies that are not stored
	unshared    *recent
	failures    *recent
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
		fetchSlots:  make(chan struct{}, cfg.MaxFills),
		streamSlots: make(chan struct{}, (cfg.MaxFills+1)/2),
		flights: flights{
			joinable: make(map[flightID]*flight),
			active:   make(map[*flight]struct{}),
			guards:   make(map[*Guard]struct{}),
		},
	}
	if !cfg.NoCacheStatus {
		c.hitStatus = "\r\nCache-Status: " + c.name + "; hit; ttl="
	}
	if c.unshared, err = newRecent(); err != nil {
		return nil, err
	}
	if c.failures, err = newRecent(); err != nil {
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

// lookup is one request on its way through Serve.
type lookup struct {
	c          *Cache
	w          http.ResponseWriter
	r          *http.Request
	route      Route
	key        string
	stored     *Object // answers the request as far as Vary goes; nil if nothing does
	fwdReason  string  // why it goes upstream, for Cache-Status
	variantKey string  // selector, as far as the variants are known
	// onlyIfCached: the client wants no page that has to be fetched.
	onlyIfCached bool
}

// Serve answers the request: from memory if the rules allow it, otherwise from
// upstream, together with all who want the same. r.URL must have scheme and host.
//
// A reply that breaks off midway makes Serve panic with http.ErrAbortHandler,
// which is how net/http is told to cut the connection, so that no client takes
// the part for the whole.
func (c *Cache) Serve(w http.ResponseWriter, r *http.Request, route Route) {
	c.counters.requests.Add(1)
	if r.Method != http.MethodGet && r.Method != http.MethodHead || hasBody(r) {
		c.passThrough(w, r, route)
		return
	}
	q := &lookup{c: c, w: w, r: r, route: route, key: Key(r)}
	variants := c.store.get(q.key)
	q.stored = matchVariant(variants, r)
	switch {
	case q.stored != nil:
		q.variantKey = q.stored.variantKey
	case len(variants) > 0:
		q.fwdReason = fwdVary
		q.variantKey, _ = variantKeyFor(variantKeyNames(variants[0].variantKey), r)
	default:
		q.fwdReason = fwdMiss
	}
	if q.stored != nil && q.answerFromMemory() || q.stored == nil && q.answerFromParts() {
		return
	}
	q.onlyIfCached = hasMember(r.Header["Cache-Control"], "only-if-cached")
	if q.onlyIfCached && !route.ForwardOnlyIfCached {
		q.writeError(ErrOnlyIfCached)
		return
	}
	q.fetchFromUpstream()
}

// hasBody reports whether a request brings content. Such a GET is unusual
// enough to be between client and origin alone.
func hasBody(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
}

// answerFromMemory answers with the stored reply if that needs no upstream.
func (q *lookup) answerFromMemory() bool {
	c, o := q.c, q.stored
	now := c.Now()
	q.fwdReason = fwdStale
	if !q.route.acceptsAge(o, now) {
		q.fwdReason = fwdRequest
		return false
	}
	usable := o.isFresh(now)
	if c.cfg.ClientDirectives {
		if want := parseControl(q.r.Header["Cache-Control"]); !want.acceptsStored(o, now, &usable, q.r) {
			q.fwdReason = fwdRequest
			return false
		}
	}
	switch {
	case usable && o.ttl(now) > 0:
		c.counters.hits.Add(1)
		q.writeStored(o, c.newCacheStatus().addFlag("hit").addTTL(o.ttl(now)))
	case usable: // stale, and the client said that it takes it
		c.counters.stale.Add(1)
		q.writeStored(o, c.newCacheStatus().addFlag("hit").addTTL(o.ttl(now)))
	case o.mayServeWhile(now) && (!q.route.DeferStale || c.failures.has(q.key, now)):
		// RFC 5861 §3. Nobody waits for the refresh.
		c.counters.stale.Add(1)
		if !c.failures.has(q.key, now) {
			f := q.newFlight()
			f.background = true
			c.joinFlight(f, true)
		}
		q.writeStored(o, c.newCacheStatus().addFlag("hit").addTTL(o.ttl(now)))
	case c.failures.has(q.key, now) && o.mayServeOnError(now, c.cfg.StaleOnError):
		c.counters.stale.Add(1)
		q.writeStored(o, c.newCacheStatus().addFlag("hit").addTTL(o.ttl(now)).addWord("detail", "upstream-failed"))
	default:
		return false
	}
	return true
}

// acceptsStored applies a client's directives (RFC 9111 §5.2.1) to a stored reply. It
// reports false if the client wants upstream asked, and sets usable if it takes
// a stale reply.
func (want control) acceptsStored(o *Object, now time.Duration, usable *bool, r *http.Request) bool {
	noControl := len(r.Header["Cache-Control"]) == 0
	switch {
	case want.noCache || want.noStore || noControl && hasMember(r.Header["Pragma"], "no-cache"):
		return false
	case want.maxAge.set && o.age(now) > want.maxAge.duration() && !want.maxStaleAny:
		return false
	case want.minFresh.set && o.ttl(now) < want.minFresh.duration():
		return false
	}
	if o.flags&(flagNoCache|flagNoStale|flagSharedAge) == 0 && o.ttl(now) <= 0 {
		*usable = *usable || want.maxStaleAny || want.maxStale.set && -o.ttl(now) <= want.maxStale.duration()
	}
	return true
}

// flightClass tells apart the requests that must not wait for each other: HEAD has
// no body to share, a reply to Authorization is not for others as a rule, a
// range that is sent upstream gets a part, and variants are different pages.
func (q *lookup) flightClass() string {
	class := q.r.Method
	if len(q.r.Header["Authorization"]) > 0 {
		class += " authorized"
	}
	if q.onlyIfCached {
		class += " stored"
	}
	if text, ok := singleRange(q.r); ok && q.stored == nil {
		class += " " + text + " " + strings.Join(q.r.Header["If-Range"], ",")
	}
	return class + "\x00" + q.variantKey
}

// markKey is under what it is remembered that replies cannot be shared. Clients
// with credentials or cookies have a memory of their own, so that one of them
// does not take coalescing away from the crowd.
func (f *flight) markKey() string { return markKey(f.id.key, f.req) }

func markKey(key string, r *http.Request) string {
	mark := r.Method
	if len(r.Header["Authorization"]) > 0 {
		mark += " authorized"
	}
	if len(r.Header["Cookie"]) > 0 {
		mark += " cookie"
	}
	return mark + " " + key
}

// newFlight is a fetch that would answer the question for all who ask it.
func (q *lookup) newFlight() *flight {
	f := &flight{
		id:    flightID{q.route.Name, q.key, q.flightClass()},
		route: q.route, client: q.r, stale: q.stored, unconditional: true,
	}
	if q.stored != nil || q.onlyIfCached {
		return f
	}
	if _, f.ranged = singleRange(q.r); !f.ranged && q.r.Method == http.MethodGet {
		f.part, f.candidates = q.findCompletable(), q.c.store.peek(q.key)
	}
	return f
}

// aloneMark sets the keys whose reply could not be stored either apart from
// those whose reply could only not be shared.
const aloneMark = "alone "

// maxJoins bounds the flights that a request waits for before it goes alone.
const maxJoins = 2

// fetchFromUpstream gets the reply from upstream: in a flight with others if that may be, and
// alone otherwise. It joins twice at most. The second time it knows from the
// first reply what the page varies on, or gives a failed fetch, which may have
// been the first client's own fault, another try.
func (q *lookup) fetchFromUpstream() {
	c := q.c
	alone := c.unshared.has(markKey(q.key, q.r), c.Now())
	for joins := 0; ; joins++ {
		alone = alone || joins == maxJoins
		f := q.newFlight()
		f.retry = joins > 0
		if alone && q.stored == nil {
			// Nothing to confirm and nothing to share: the client's own
			// conditions and ranges go through.
			f.unconditional, f.ranged, f.part, f.candidates = false, false, nil, nil
		}
		if alone && q.route.Bypass != nil && c.unshared.has(aloneMark+markKey(q.key, q.r), c.Now()) {
			f.route.Upstream = q.route.Bypass
		}
		f, rd, leader, found, err := c.joinFlight(f, !alone)
		switch {
		case found != nil:
			c.counters.coalesced.Add(1)
			q.writeStored(found, c.newCacheStatus().addFlag("hit").addTTL(found.ttl(c.Now())))
			return
		case err != nil:
			q.writeError(err)
			return
		}
		if q.awaitFlight(f, rd, leader, joins, &alone) {
			return
		}
	}
}

// awaitFlight waits for a flight's reply and answers with it if it may; it reports
// false if the question must be asked again, and whether alone.
func (q *lookup) awaitFlight(f *flight, rd *spoolReader, leader bool, joins int, alone *bool) bool {
	defer f.leave(rd)
	if !q.awaitOutcome(f, leader) {
		q.writeError(context.Cause(q.r.Context()))
		return true
	}
	out := &f.outcome
	switch {
	case out.err != nil:
		if leader || joins > 0 || !worthRetry(out.err) {
			q.writeError(out.err)
			return true
		}
		return false
	case leader:
	case !out.shared:
		*alone = true
		return false
	case out.object != nil && !out.object.Matches(q.r), out.object == nil && !out.head.Matches(q.r):
		head := out.head
		if head == nil {
			head = out.object
		}
		q.variantKey, _ = variantKeyFor(variantKeyNames(head.variantKey), q.r)
		if q.stored != nil && q.stored.variantKey != q.variantKey {
			q.stored, q.fwdReason = nil, fwdVary
		}
		return false
	}
	if !leader {
		q.c.counters.coalesced.Add(1)
	}
	if out.object != nil {
		q.writeConfirmed(f, leader)
		return true
	}
	q.streamReply(f, rd, leader)
	return true
}

// retryMark sets the keys whose second try failed too apart from those that
// failed at all.
const retryMark = "again "

// worthRetry reports whether a failure may have been about the request of the
// client that led the flight. Where a wait ran out, another would only add to it.
func worthRetry(err error) bool {
	var timeout net.Error
	return errors.Is(err, ErrUpstream) && !errors.Is(err, context.DeadlineExceeded) &&
		!(errors.As(err, &timeout) && timeout.Timeout())
}

// writeError answers with an error.
func (q *lookup) writeError(err error) { q.c.writeError(q.w, q.r, q.fwdReason, err) }

func (c *Cache) writeError(w http.ResponseWriter, r *http.Request, why string, err error) {
	if errors.Is(r.Context().Err(), context.Canceled) {
		// Nobody is there to answer, and to return would be to answer 200.
		panic(http.ErrAbortHandler)
	}
	status := c.forwardStatus(why, 0).addWord("detail", "failed")
	if errors.Is(err, ErrOnlyIfCached) {
		status = c.newCacheStatus().addWord("detail", "only-if-cached")
	}
	c.signReply(w.Header(), status)
	c.cfg.ErrorHandler(w, r, err)
}

// ErrorStatus is the status that suits an error given to Config.Fail: 503 if
// there was no place, 504 if a wait ran out or the client wanted only a stored
// reply, otherwise 502.
func ErrorStatus(err error) int {
	var timeout net.Error
	switch {
	case errors.Is(err, ErrBusy), errors.Is(err, ErrClosed):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrOnlyIfCached), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

func writePlainError(w http.ResponseWriter, r *http.Request, err error) {
	status := ErrorStatus(err)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.WriteString(w, http.StatusText(status)+"\n")
	}
}
