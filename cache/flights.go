package cache

import (
	"context"
	"sync"
)

// flightID identifies the requests that may wait for one fetch; see lookup.flightID.
type flightID struct {
	level, url, method string
	authorized         bool
	onlyIfCached       bool
	byteRange, ifRange string // sent upstream
	variantKey         string
}

// flights holds all fetches under way (the calls of a singleflight).
type flights struct {
	mu       sync.Mutex
	joinable map[flightID]*flight
	active   map[*flight]struct{}
	guards   map[*Guard]struct{}
	closed   bool
	done     sync.WaitGroup // one for each active flight
}

// joinedFlight is a flight as one of its requests sees it.
type joinedFlight struct {
	flight    *flight
	reader    *spoolReader // nil for a background flight
	isStarter bool         // the request started the flight
	// stored, if not nil, answers the request; then there is no flight.
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
	joined := joinedFlight{flight: f, isStarter: true}
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

// newFlight returns the flight for a plan, with the request that it sends.
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

// leave detaches a request's reader from the flight. When the last reader leaves, a
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

// closeToJoiners lets no other request join. It needs flights.mu.
func (f *flight) closeToJoiners() {
	if f.c.flights.joinable[f.id] == f {
		delete(f.c.flights.joinable, f.id)
	}
}

func (c *Cache) commit(o *Object, marks *purgeMarks) error {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	return c.commitLocked(o, marks)
}

// commitLocked needs flights.mu. A purge marks flights and guards first and
// empties the store afterwards; commitLocked reads the marks and stores under one
// lock. So one of the two sees the other.
func (c *Cache) commitLocked(o *Object, marks *purgeMarks) error {
	if marks != nil {
		if marks.applyTagPurges(o); marks.purged {
			return ErrPurged
		}
		if marks.softened {
			o.soften(c.Now(), marks.invalid)
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
// get ErrClosed; stored objects can still be read.
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
