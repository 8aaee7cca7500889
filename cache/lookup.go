package cache

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// lookup is one request on its way through Serve. Its methods are in the order in which
// a miss calls them. The flight runs on its own goroutine (flight.go), while
// answerFromFlight waits.
type lookup struct {
	c          *Cache
	w          http.ResponseWriter
	r          *http.Request
	route      Route
	key        string
	stored     *Object // the stored variant that matches the request; nil if none does
	variantKey string  // the request's, by the fields that the page is known to vary on
	fwdReason  string  // why the request goes upstream, for Cache-Status

	onlyIfCached bool // the client accepts a stored reply only
	fetchesAlone bool // the request neither joins a flight nor lets others join
	joins        int  // flights whose reply could not answer this request
}

// Serve answers the request: from memory if the rules allow it, otherwise from
// upstream, with one fetch for all concurrent requests for the same page. r.URL must
// have scheme and host.
//
// If a reply breaks off midway, Serve panics with http.ErrAbortHandler. net/http
// then closes the connection, so that no client takes the part for the complete page.
func (c *Cache) Serve(w http.ResponseWriter, r *http.Request, route Route) {
	c.counters.requests.Add(1)
	if r.Method != http.MethodGet && r.Method != http.MethodHead || hasBody(r) {
		c.passThrough(w, r, route)
		return
	}
	l := &lookup{c: c, w: w, r: r, route: route, key: Key(r)}
	l.findStored()
	if l.stored != nil && l.answerFromMemory() || l.stored == nil && l.answerFromParts() {
		return
	}
	l.onlyIfCached = hasListMember(r.Header["Cache-Control"], "only-if-cached")
	if l.onlyIfCached && !route.ForwardOnlyIfCached {
		l.writeError(ErrOnlyIfCached)
		return
	}
	l.fetchFromUpstream()
}

// hasBody reports whether a request has content. Such a GET is so unusual that the cache
// only passes it through.
func hasBody(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
}

func (l *lookup) findStored() {
	variants := l.c.store.get(l.key)
	l.stored = matchVariant(variants, l.r)
	switch {
	case l.stored != nil:
		l.variantKey = l.stored.variantKey
	case len(variants) > 0:
		l.fwdReason = fwdVary
		l.variantKey, _ = variantKeyFor(variantKeyNames(variants[0].variantKey), l.r)
	default:
		l.fwdReason = fwdMiss
	}
}

// answerFromMemory answers with the stored reply if that needs no upstream.
func (l *lookup) answerFromMemory() bool {
	c, o := l.c, l.stored
	now := c.Now()
	l.fwdReason = fwdStale
	if !l.route.acceptsAge(o, now) {
		l.fwdReason = fwdRequest
		return false
	}
	usable := o.isFresh(now)
	if c.cfg.ClientDirectives {
		if want := parseControl(l.r.Header["Cache-Control"]); !want.acceptsStored(o, now, &usable, l.r) {
			l.fwdReason = fwdRequest
			return false
		}
	}
	counter, status := &c.counters.stale, c.newCacheStatus().addFlag("hit").addTTL(o.ttl(now))
	switch {
	case usable && o.ttl(now) > 0:
		counter = &c.counters.hits
	case usable: // stale, and the client accepts that
	case o.mayServeWhile(now) && (!l.route.DeferStale || c.failures.has(failedKey(l.key), now)):
		// RFC 5861 §3. No client waits for the refresh.
		if !c.failures.has(failedKey(l.key), now) {
			l.refreshInBackground()
		}
	case c.failures.has(failedKey(l.key), now) && o.mayServeOnError(now, c.cfg.StaleOnError):
		status = status.addWord("detail", "upstream-failed")
	default:
		return false
	}
	counter.Add(1)
	l.writeStored(o, status)
	return true
}

// acceptsStored applies a client's directives (RFC 9111 §5.2.1) to a stored
// reply. It returns false if the client requires a request to upstream, and sets
// usable if the client accepts the reply although it is stale.
func (c control) acceptsStored(o *Object, now time.Duration, usable *bool, r *http.Request) bool {
	noControl := len(r.Header["Cache-Control"]) == 0
	switch {
	case c.noCache || c.noStore || noControl && hasListMember(r.Header["Pragma"], "no-cache"):
		return false
	case c.maxAge.set && o.age(now) > c.maxAge.duration() && !c.maxStaleAny:
		return false
	case c.minFresh.set && o.ttl(now) < c.minFresh.duration():
		return false
	}
	if o.flags&(flagNoCache|flagNoStale|flagSharedAge) == 0 && o.ttl(now) <= 0 {
		*usable = *usable || c.maxStaleAny || c.maxStale.set && -o.ttl(now) <= c.maxStale.duration()
	}
	return true
}

// refreshInBackground starts a flight that no client waits for, unless one is under
// way or none can start.
func (l *lookup) refreshInBackground() {
	plan := l.planFetch()
	plan.background = true
	_, _ = l.c.joinFlight(plan, true)
}

// maxJoins bounds the flights that a request waits for before it is fetched alone.
const maxJoins = 2

// fetchFromUpstream gets the reply from upstream: in a flight with other requests
// if possible, alone otherwise. It joins two flights at most. The second time, the
// first reply has shown which fields the page varies on; or the first fetch failed, and
// the request that caused it may be to blame.
func (l *lookup) fetchFromUpstream() {
	c := l.c
	l.fetchesAlone = c.unshared.has(unsharedKey(notShareable, l.key, l.r), c.Now())
	for ; ; l.joins++ {
		l.fetchesAlone = l.fetchesAlone || l.joins == maxJoins
		joined, err := c.joinFlight(l.planFetch(), !l.fetchesAlone)
		switch {
		case err != nil:
			l.writeError(err)
			return
		case joined.stored != nil:
			c.counters.coalesced.Add(1)
			l.writeStored(joined.stored, c.newCacheStatus().addFlag("hit").addTTL(joined.stored.ttl(c.Now())))
			return
		case l.answerFromFlight(joined):
			return
		}
	}
}

// planFetch describes the fetch whose reply would answer this request and all
// requests with the same flightID.
func (l *lookup) planFetch() fetchPlan {
	c := l.c
	p := fetchPlan{
		id: l.flightID(), route: l.route, client: l.r, revalidates: l.stored,
		dropClientConditions: true, retry: l.joins > 0,
	}
	if l.fetchesAlone && l.route.Bypass != nil && c.unshared.has(unsharedKey(notStorable, l.key, l.r), c.Now()) {
		p.route.Upstream = l.route.Bypass
	}
	switch {
	case l.fetchesAlone && l.stored == nil:
		// Nothing to confirm and nothing to share: the client's own conditions and
		// ranges go through.
		p.dropClientConditions = false
	case l.stored != nil || l.onlyIfCached:
	default:
		if _, p.ranged = singleRange(l.r); !p.ranged && l.r.Method == http.MethodGet {
			p.part, p.candidates = l.findCompletable(), c.store.peek(l.key)
		}
	}
	return p
}

// flightID separates the requests that must not wait for each other: HEAD has
// no body to share, a reply to Authorization is usually not for others, a range
// that is sent upstream gets a part, and variants are different pages.
func (l *lookup) flightID() flightID {
	id := flightID{
		level: l.route.Level, url: l.key, method: l.r.Method, variantKey: l.variantKey,
		authorized: len(l.r.Header["Authorization"]) > 0, onlyIfCached: l.onlyIfCached,
	}
	if text, ok := singleRange(l.r); ok && l.stored == nil {
		id.byteRange, id.ifRange = text, strings.Join(l.r.Header["If-Range"], ",")
	}
	return id
}

// answerFromFlight waits for the outcome of a flight and answers with it if it is
// for this request. It returns false if the request needs another flight; l then
// records what this one has shown.
func (l *lookup) answerFromFlight(j joinedFlight) bool {
	f := j.flight
	defer f.leave(j.reader)
	if !l.awaitOutcome(j) {
		l.writeError(context.Cause(l.r.Context()))
		return true
	}
	out := &f.outcome
	switch {
	case out.err != nil:
		if !j.isStarter && l.joins == 0 && isWorthRetry(out.err) {
			return false
		}
		l.writeError(out.err)
		return true
	case j.isStarter:
	case !out.shared:
		l.fetchesAlone = true
		return false
	case !out.reply().Matches(l.r):
		l.noteVary(out.reply())
		return false
	}
	if !j.isStarter {
		l.c.counters.coalesced.Add(1)
	}
	if out.object != nil {
		l.writeConfirmed(j)
	} else {
		l.streamReply(j)
	}
	return true
}

// noteVary records which fields the page varies on, after a reply that does not match.
func (l *lookup) noteVary(reply *Object) {
	l.variantKey, _ = variantKeyFor(variantKeyNames(reply.variantKey), l.r)
	if l.stored != nil && l.stored.variantKey != l.variantKey {
		l.stored, l.fwdReason = nil, fwdVary
	}
}
