package cache

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// A flight is one upstream fetch (the call of a singleflight): its request, the
// outcome of its reply, and the spool that the body runs through. Requests for
// the same page join it instead of going upstream again. Whether its reply may
// answer them is decided when the reply's fields are in, never before.

// flightID tells which requests may wait for one fetch; see lookup.flightID.
type flightID struct {
	level, url, method string
	authorized         bool
	onlyIfCached       bool
	byteRange, ifRange string // sent upstream
	variantKey         string
}

// fetchPlan describes a fetch before it is under way.
type fetchPlan struct {
	id     flightID
	route  Route
	client *http.Request // the request that causes the fetch
	// dropClientConditions: the client's own conditions and ranges are not sent upstream.
	dropClientConditions bool
	ranged               bool      // but its range is
	revalidates          *Object   // what is stored and may be confirmed by a 304
	candidates           []*Object // variants that do not match, one of which a 304 may choose
	part                 *Object   // a stored part, for which the rest is fetched
	background           bool      // no client waits, so it does not wait for a permit either
	retry                bool      // an earlier flight for the same clients failed
}

type flight struct {
	fetchPlan
	c        *Cache
	req      *http.Request // what is sent upstream; the flight's own copy
	cancel   context.CancelCauseFunc
	spool    *spool
	interims chan interim // for the leader

	// Used by run's goroutine only.
	permit   *semaphore.Weighted // the semaphore of which the flight holds a permit
	limit    *time.Timer         // cancels the fetch
	reserved int64               // bytes of Cache.incomingBytes that it holds
	split    bool                // the reply is stored in two variants, see storeSplit

	ready   chan struct{} // closed when outcome is set
	outcome flightOutcome

	// Guarded by flights.mu.
	marks     purgeMarks
	storing   bool
	published bool // outcome is set
}

// flightOutcome is what has become of a flight when the reply's fields are in.
type flightOutcome struct {
	err error
	// object is a complete stored reply that answers the request: confirmed by
	// upstream, or stale and allowed. Otherwise the rest describes the reply
	// whose body comes through the spool.
	object *Object
	stale  bool // object is served because upstream failed
	// cookies came with upstream's confirmation, for the leader only.
	cookies []string
	// shared: it may answer every request in the flight that matches its variant.
	shared bool
	status int         // upstream's
	header http.Header // all end-to-end fields, for the client that caused them
	head   *Object     // the reply as stored, without its body
	length int64       // of the body, -1 if unknown
	stored bool        // it is going into the store
}

// reply is the reply, with or without its body.
func (out *flightOutcome) reply() *Object {
	if out.object != nil {
		return out.object
	}
	return out.head
}

// flights are all fetches under way.
type flights struct {
	mu       sync.Mutex
	joinable map[flightID]*flight
	active   map[*flight]struct{}
	guards   map[*Guard]struct{}
	closed   bool
	done     sync.WaitGroup // one for each active flight
}

// joinedFlight is the flight that a request takes part in.
type joinedFlight struct {
	flight *flight
	reader *spoolReader // nil for a background flight
	leader bool         // the request has started the flight
	// stored, if not nil, answers the request, and there is no flight.
	stored *Object
}

// joinFlight attaches to the flight with the plan's id, or starts that flight.
// With shared false it starts one for this request alone. It starts none if an
// earlier flight has just stored what this one would fetch: storing and joining
// exclude each other, so no request slips in between. It fails if the cache is
// closed, or if the second fetch for the same requests has just failed.
func (c *Cache) joinFlight(plan fetchPlan, shared bool) (joinedFlight, error) {
	fl := &c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.closed {
		return joinedFlight{}, ErrClosed
	}
	if shared {
		if other := fl.joinable[plan.id]; other != nil {
			if plan.background {
				return joinedFlight{flight: other}, nil
			}
			if rd := other.spool.attach(); rd != nil {
				return joinedFlight{flight: other, reader: rd}, nil
			}
		}
	}
	now := c.Now()
	if o := matchVariant(c.store.peek(plan.id.url), plan.client); o != nil && o != plan.revalidates && plan.route.acceptsAge(o, now) && o.isFresh(now) {
		return joinedFlight{stored: o}, nil
	}
	if plan.retry && c.failures.has(failedTwiceKey(plan.id.url), now) {
		return joinedFlight{}, ErrUpstream
	}
	f := c.newFlight(plan)
	if shared {
		fl.joinable[f.id] = f
	}
	joined := joinedFlight{flight: f, leader: true}
	if !f.background {
		joined.reader = f.spool.attach()
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(f.req.Context()))
	f.cancel = cancel
	fl.active[f] = struct{}{}
	fl.done.Add(1)
	go f.run(ctx)
	return joined, nil
}

// newFlight makes the flight for a plan, with the request that it sends.
func (c *Cache) newFlight(plan fetchPlan) *flight {
	f := &flight{
		fetchPlan: plan, c: c, req: upstreamRequest(plan.client, plan.dropClientConditions),
		marks: purgeMarks{key: plan.id.url}, spool: newSpool(c.cfg.ReaderStall),
		ready: make(chan struct{}), interims: make(chan interim, maxInterim),
	}
	narrowEncoding(f.req.Header)
	if f.ranged {
		for _, name := range [...]string{"Range", "If-Range"} {
			if lines, has := f.client.Header[name]; has {
				f.req.Header[name] = lines
			}
		}
	}
	f.client = nil // the flight may outlive it
	return f
}

// leave detaches a request's reader from the flight. When the last one goes, a
// fetch of which nothing will be stored is cancelled.
func (f *flight) leave(rd *spoolReader) {
	if f.spool.detach(rd) > 0 {
		return
	}
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if f.storing || !f.published && fl.joinable[f.id] == f {
		return
	}
	f.cancel(context.Canceled)
}

// publish shows the outcome to the requests that wait. store says that the body
// should be stored; publish returns whether it still should, after purges.
func (f *flight) publish(out flightOutcome, store bool) bool {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if out.head != nil {
		if f.marks.applyTagPurges(out.head); f.marks.purged {
			store = false
		}
	}
	out.stored = store
	f.storing, f.published, f.outcome = store, true, out
	if !store {
		f.closeToJoiners()
		if f.spool.hasNoReaders() {
			f.cancel(context.Canceled)
		}
	}
	close(f.ready)
	return store
}

// closeToJoiners lets no other request join. It needs flights.mu.
func (f *flight) closeToJoiners() {
	if f.c.flights.joinable[f.id] == f {
		delete(f.c.flights.joinable, f.id)
	}
}

// isStoring reports whether the body is still to be stored.
func (f *flight) isStoring() bool {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return f.storing
}

// stopStoring stops storing the body; the readers that are attached get the rest.
func (f *flight) stopStoring() {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	f.storing = false
	f.closeToJoiners()
	f.spool.startSliding()
	if f.spool.hasNoReaders() {
		f.cancel(context.Canceled)
	}
}

// commit puts an object into the store unless it was purged on its way.
func (f *flight) commit(o *Object) error {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	defer f.closeToJoiners()
	f.storing = false
	return f.c.commitLocked(o, &f.marks)
}

func (c *Cache) commit(o *Object, marks *purgeMarks) error {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	return c.commitLocked(o, marks)
}

// commitLocked needs flights.mu. A purge marks flights and guards first and
// empties the store afterwards; this looks at the marks and stores under one lock.
// So one of the two sees the other.
func (c *Cache) commitLocked(o *Object, marks *purgeMarks) error {
	if marks != nil {
		if marks.applyTagPurges(o); marks.purged {
			return ErrPurged
		}
		if marks.softened {
			o.soften(c.Now())
		}
	}
	c.prepareHead(o)
	if !c.store.put(o) {
		return ErrNotAdmitted
	}
	c.counters.stored.Add(1)
	if !isPartsKey(o.key) {
		if parts := partsKey(o.key); c.store.peek(parts) != nil {
			c.store.dropMatching(parts, func(*Object) bool { return true })
		}
	}
	return nil
}

// deregister ends the flight.
func (f *flight) deregister() {
	fl := &f.c.flights
	fl.mu.Lock()
	f.closeToJoiners()
	delete(fl.active, f)
	fl.mu.Unlock()
	f.cancel(nil)
	fl.done.Done()
}

// Close cancels all fetches and waits until they have ended. Requests that wait
// get ErrClosed; what is stored can still be read.
func (c *Cache) Close() error {
	fl := &c.flights
	fl.mu.Lock()
	fl.closed = true
	for f := range fl.active {
		f.cancel(ErrClosed)
	}
	fl.mu.Unlock()
	fl.done.Wait()
	return nil
}
