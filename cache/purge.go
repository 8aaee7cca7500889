package cache

import (
	"net/url"
)

// A purge marks the objects that are on their way first and empties the store
// afterwards; commitLocked explains why that order leaves no gap.

// Selector selects the objects to purge, by one of URL, Tag and All.
type Selector struct {
	URL string // all its variants, and its stored parts
	Tag string // every object with the tag (Surrogate-Key, Cache-Tag)
	All bool
	// Soft marks objects as stale instead of dropping them. They are served again
	// as stale replies are (RFC 5861, or when upstream fails), or after upstream
	// has confirmed them.
	Soft bool
	// Invalid, with Soft and URL: an unsafe request has changed the page, so it is not
	// served either while it is refreshed (RFC 9111 §4.4), only when upstream fails.
	Invalid bool
}

// Purge drops or marks what the selector names and returns the number of objects.
// A fetch under way that the purge may concern is not joined any more. If its reply
// is concerned, it is not stored, or stored stale after a soft purge; the clients
// that wait for it still get it. An empty selector purges nothing.
//
// There is no index of tags: a purge checks every object, under one shard's lock at a
// time. That takes a few milliseconds and no memory, and cannot become inconsistent.
func (c *Cache) Purge(s Selector) int { return c.purgeExcept(s, nil) }

// purgeExcept exempts one guard: that of the request which causes the purge. With a
// guard, the selector's URL is a key already.
func (c *Cache) purgeExcept(s Selector, except *Guard) int {
	n := 0
	effect := func(*Object) bool { return true }
	if s.Soft {
		now := c.Now()
		effect = func(o *Object) bool {
			if o.soften(now, s.Invalid) {
				n++
			}
			return false
		}
	}
	switch {
	case s.All:
		c.markInFlight(except, func(marks *purgeMarks, _ *Object) bool { return marks.notePurge(s) })
		n += c.store.dropAllMatching(effect)
	case s.Tag != "":
		if !validTag(s.Tag) {
			return 0
		}
		c.markInFlight(except, func(marks *purgeMarks, head *Object) bool { return marks.noteTagPurge(s.Tag, s.Soft, head) })
		n += c.store.dropAllMatching(func(o *Object) bool { return o.hasTag(s.Tag) && effect(o) })
	case s.URL != "":
		key := s.URL
		if parsed, err := url.Parse(key); err == nil && except == nil {
			key = KeyOf(parsed) // otherwise s.URL is a key already
		}
		c.markInFlight(except, func(marks *purgeMarks, _ *Object) bool { return marks.key == key && marks.notePurge(s) })
		n += c.store.dropMatching(key, effect)
		n += c.store.dropMatching(partsKey(key), effect)
	}
	c.counters.purged.Add(int64(n))
	return n
}

// Holds reports whether a key has an object in memory, fresh or not, or a part of one.
func (c *Cache) Holds(key string) bool {
	return len(c.store.peek(key)) > 0 || len(c.store.peek(partsKey(key))) > 0
}

// markInFlight records a purge in every flight and guard. hit reports whether the purge
// may concern a flight, which then is not joined any more; head is nil until its
// reply's fields are in.
func (c *Cache) markInFlight(except *Guard, hit func(guard *purgeMarks, head *Object) bool) {
	fl := &c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for f := range fl.active {
		var head *Object
		if f.published {
			head = f.outcome.head
		}
		if hit(&f.marks, head) {
			f.closeToJoiners()
		}
	}
	for guard := range fl.guards {
		if guard != except {
			hit(&guard.marks, nil)
		}
	}
}

// Guard records the purges that happen while an object is on its way from another
// board.
type Guard struct {
	c     *Cache
	marks purgeMarks // guarded by flights.mu
}

// NewGuard begins to watch a key. Call it before the object is requested or read,
// pass the guard to Insert, and Release it.
func (c *Cache) NewGuard(key string) *Guard {
	g := &Guard{c: c, marks: purgeMarks{key: key}}
	fl := &c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.guards[g] = struct{}{}
	return g
}

// Release ends the watch. It may be called twice.
func (g *Guard) Release() {
	fl := &g.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	delete(fl.guards, g)
}

// expectPurges exempts the next n purges of the key, which the owner of the guard
// is about to cause itself.
func (g *Guard) expectPurges(n int) {
	fl := &g.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	g.marks.expected = n
}
