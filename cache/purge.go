package cache

import (
	"net/url"
)

// A purge marks what is on its way first and empties the store afterwards; see
// flight.commit for why that order leaves no gap.

// PurgeURL drops all variants of a URL and returns how many there were. A
// fetch of it that is under way is neither stored nor joined any more; the
// clients that wait for it get their reply.
func (c *Cache) PurgeURL(u string) int {
	if parsed, err := url.Parse(u); err == nil {
		u = KeyOf(parsed)
	}
	return c.purgeKey(u)
}

func (c *Cache) purgeKey(key string) int {
	c.mark(func(g *guard, _ *Object) bool {
		if g.key != key {
			return false
		}
		g.purged = true
		return true
	})
	return c.purged(c.store.drop(key, func(*Object) bool { return true }))
}

// PurgeTag drops every object that carries the tag (Surrogate-Key, Cache-Tag)
// and returns how many there were. A fetch whose tags are not known yet is not
// joined any more, and not stored if it turns out to carry the tag.
//
// There is no index of tags: the purge looks at every object, one shard's lock
// at a time. That is a few milliseconds, costs no memory, and cannot be wrong.
func (c *Cache) PurgeTag(tag string) int {
	if !validTag(tag) {
		return 0
	}
	c.mark(func(g *guard, head *Object) bool {
		g.purgeTag(tag, head)
		return head == nil || g.purged
	})
	return c.purged(c.store.dropAll(func(o *Object) bool { return o.hasTag(tag) }))
}

// PurgeAll drops everything and returns how many objects there were.
func (c *Cache) PurgeAll() int {
	c.mark(func(g *guard, _ *Object) bool {
		g.purged = true
		return true
	})
	return c.purged(c.store.dropAll(func(*Object) bool { return true }))
}

func (c *Cache) purged(n int) int {
	c.counters.purged.Add(int64(n))
	return n
}

// mark shows a purge to everything under way. hit reports whether a flight must
// not be joined any more; head is nil while its reply's fields are not in.
func (c *Cache) mark(hit func(g *guard, head *Object) bool) {
	fl := &c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for f := range fl.active {
		var head *Object
		if f.landed {
			head = f.out.head
		}
		if hit(&f.guard, head) {
			f.close()
		}
	}
	for g := range fl.guards {
		hit(&g.guard, nil)
	}
}

// Guard watches for purges while an object is on its way from another board.
type Guard struct {
	c     *Cache
	guard guard // guarded by flights.mu
}

// Guard begins to watch a key. Take it before the object is asked for or read,
// hand it to Insert, and Release it.
func (c *Cache) Guard(key string) *Guard {
	g := &Guard{c: c, guard: guard{key: key}}
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
