package cache

import (
	"context"
	"net/http"
	"sync"
)

// A flight is one upstream fetch: its request, its reply's fate, and the spool
// that its body runs through. Clients that want the same page join it instead of
// asking upstream again. Whether its reply may be theirs is decided when the
// reply's fields are in, never before.

// flightID tells which requests may wait for one fetch.
type flightID struct {
	route string // Route.Name
	key   string
	class string // method, authorization and variant, see question.class
}

type flight struct {
	c             *Cache
	id            flightID
	route         Route
	client        *http.Request // of the client that caused it, until it is under way
	req           *http.Request // what to send; a copy that belongs to the flight
	unconditional bool          // the client's conditions were taken off req
	stale         *Object       // what is stored and may be confirmed by a 304
	candidates    []*Object     // variants, none of which matches, one of which a 304 may choose
	part          *Object       // a stored part, for which the rest is asked
	ranged        bool          // the client's range was left on req
	split         bool          // the reply is kept in two variants, see keepSplit
	// background: nobody waits, so it does not queue for a place either.
	background bool
	// retry: an earlier flight for the same clients failed.
	retry  bool
	cancel context.CancelCauseFunc
	spool  *spool

	interims chan interim  // for the leader
	ready    chan struct{} // closed when out is set
	outcome  flightOutcome

	// Guarded by flights.mu.
	guard   purgeMarks
	storing bool
	landed  bool // out is set
}

// flightOutcome is what became of a flight when the reply's fields were in.
type flightOutcome struct {
	err error
	// object is a whole stored reply that answers the request: confirmed by
	// upstream, or stale and allowed. Otherwise the rest describes the reply
	// whose body comes through the spool.
	object *Object
	stale  bool // object is served because upstream failed
	// cookies came with upstream's confirmation, for the leader only.
	cookies []string
	// shared: whoever waits may have it, if head's selector matches the request.
	shared bool
	status int         // upstream's
	header http.Header // all end-to-end fields, for the client that caused them
	head   *Object     // the reply as stored, without its body
	length int64       // of the body, -1 if unknown
	stored bool        // it is going into the store
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

// joinFlight attaches to the flight with f's id, or makes f that flight and starts it.
// shared false starts f for one client alone. No flight is started, and joined is
// nil, if the cache was closed, or if an earlier flight has just stored what
// this one would fetch (found): storing and joining exclude each other, so no
// client slips between the two. Nor is it if the second try of the same clients
// has just failed. rd is nil for a background flight.
func (c *Cache) joinFlight(f *flight, shared bool) (joined *flight, rd *spoolReader, leader bool, found *Object, err error) {
	fl := &c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.closed {
		return nil, nil, false, nil, ErrClosed
	}
	if shared {
		if other := fl.joinable[f.id]; other != nil {
			if f.background {
				return other, nil, false, nil, nil
			}
			if rd := other.spool.attach(); rd != nil {
				return other, rd, false, nil, nil
			}
		}
	}
	if o := matchVariant(c.store.peek(f.id.key), f.client); o != nil && o != f.stale && f.route.acceptsAge(o, c.Now()) && o.isFresh(c.Now()) {
		return nil, nil, false, o, nil
	}
	if f.retry && c.failures.has(retryMark+f.id.key, c.Now()) {
		return nil, nil, false, nil, ErrUpstream
	}
	if shared {
		fl.joinable[f.id] = f
	}
	f.c = c
	f.req = upstreamRequest(f.client, f.unconditional)
	narrowEncoding(f.req.Header)
	if f.ranged {
		for _, name := range [...]string{"Range", "If-Range"} {
			if lines, has := f.client.Header[name]; has {
				f.req.Header[name] = lines
			}
		}
	}
	f.client = nil
	f.guard.key = f.id.key
	f.ready = make(chan struct{})
	f.interims = make(chan interim, maxInterim)
	f.spool = newSpool(c.cfg.ReaderStall)
	if !f.background {
		rd = f.spool.attach()
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(f.req.Context()))
	f.cancel = cancel
	fl.active[f] = struct{}{}
	fl.done.Add(1)
	go f.run(ctx)
	return f, rd, true, nil, nil
}

// leave takes a client's reader off the flight. When the last one goes, a
// fetch of which nothing will be kept is cancelled.
func (f *flight) leave(rd *spoolReader) {
	if f.spool.detach(rd) > 0 {
		return
	}
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if f.storing || !f.landed && fl.joinable[f.id] == f {
		return
	}
	f.cancel(context.Canceled)
}

// publish lets the waiting clients see the outcome. store says that the body is
// to be kept; the answer says whether it still is, after purges.
func (f *flight) publish(out flightOutcome, store bool) bool {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if out.head != nil {
		if f.guard.applyTagPurges(out.head); f.guard.purged {
			store = false
		}
	}
	out.stored = store
	f.storing, f.landed, f.outcome = store, true, out
	if !store {
		f.closeToJoiners()
		if f.spool.hasNoReaders() {
			f.cancel(context.Canceled)
		}
	}
	close(f.ready)
	return store
}

// closeToJoiners lets nobody else join. It needs flights.mu.
func (f *flight) closeToJoiners() {
	if f.c.flights.joinable[f.id] == f {
		delete(f.c.flights.joinable, f.id)
	}
}

// commit puts an object into the store unless it was purged on its way.
func (f *flight) commit(o *Object) error {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	defer f.closeToJoiners()
	f.storing = false
	return f.c.commitLocked(o, &f.guard)
}

func (c *Cache) commit(o *Object, g *purgeMarks) error {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	return c.commitLocked(o, g)
}

// commitLocked needs flights.mu. A purge marks flights and guards first and
// empties the store afterwards, and this looks at the guard and stores under the
// same lock, so one of the two sees the other.
func (c *Cache) commitLocked(o *Object, g *purgeMarks) error {
	if g != nil {
		if g.applyTagPurges(o); g.purged {
			return ErrPurged
		}
		if g.softened {
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

// stopStoring stops keeping the body; the readers that are there get the rest.
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

// finish is the last thing that a flight does.
func (f *flight) finish() {
	fl := &f.c.flights
	fl.mu.Lock()
	f.closeToJoiners()
	delete(fl.active, f)
	fl.mu.Unlock()
	f.cancel(nil)
	fl.done.Done()
}

// hasNoReaders reports whether nobody reads.
func (s *spool) hasNoReaders() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readers) == 0
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
