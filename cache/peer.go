package cache

import (
	"net/http"
)

// HasFresh reports whether Serve would answer the request from memory, fresh.
func (c *Cache) HasFresh(r *http.Request) bool {
	o := matchVariant(c.store.peek(Key(r)), r)
	return o != nil && o.isFresh(c.Now())
}

// Peek returns all variants of a key, to be sent to another board. It does not
// count as a use.
func (c *Cache) Peek(key string) []*Object { return c.store.peek(key) }

// Keys calls yield with every stored key until it returns false. No lock is
// held while yield runs; keys that come or go meanwhile may or may not be seen.
// Keys of which only parts are stored are left out.
func (c *Cache) Keys(yield func(key string) bool) {
	c.store.eachKey(func(key string) bool { return isPartsKey(key) || yield(key) })
}

// Insert stores an object that another board has sent (ParseObject). With a guard,
// an object that was purged since NewGuard is refused with ErrPurged, or stored
// stale if the purge was a soft one. ErrOlder means that the object stored here is
// at least as young, ErrTooLarge that the object is over MaxObject, ErrNotAdmitted
// that it does not fit. OnStore is not called.
func (c *Cache) Insert(o *Object, g *Guard) error {
	if o.size > c.cfg.MaxObject || len(o.key) > maxKey {
		return ErrTooLarge
	}
	copied := o.withBody(o.body)
	copied.born += c.Now()
	for _, have := range c.store.peek(o.key) {
		if have.variantKey == o.variantKey && have.born >= copied.born {
			return ErrOlder
		}
	}
	if g == nil {
		return c.commit(copied, nil)
	}
	if g.marks.key != o.key {
		return ErrPurged
	}
	return c.commit(copied, &g.marks)
}
