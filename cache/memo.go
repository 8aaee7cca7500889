package cache

import "time"

// HitMemo is what one answer of AppendHit hung on beside the request: what was stored
// under its key, and the time. While neither changes, the same request gets the same
// bytes, and to find that out (Again) takes a fifth of making them anew. The zero
// value is that of no answer. It keeps the stored page from being freed.
type HitMemo struct {
	storeRef
	object *Object
	// The head says the same from from until, but not at, until.
	from, until time.Duration
}

// set takes down an answer with an object at a time, or that there was none.
func (m *HitMemo) set(found storeRef, o *Object, now time.Duration) {
	if o == nil {
		*m = HitMemo{}
		return
	}
	*m = HitMemo{storeRef: found, object: o, from: now, until: o.headChangesAt(now)}
}

// StillValid reports whether AppendHit would answer the request for which m was noted
// just so at a reading of Now. If it would, that counts as so many answers of its.
func (c *Cache) StillValid(m *HitMemo, now time.Duration, times int) bool {
	if m.object == nil || now < m.from || now >= m.until || m.object.softenedAt.Load() != 0 || !m.storeRef.confirmHits(times) {
		return false
	}
	c.counters.plain.Add(int64(times))
	return true
}

// headChangesAt is when a head that tells of a fresh object says something else: when Age
// or what is left of its lifetime, both in whole seconds, changes, or it is stale.
func (o *Object) headChangesAt(now time.Duration) time.Duration {
	age := o.age(now)
	next := o.born + age.Truncate(time.Second) + time.Second
	left := (o.lifetime - age).Truncate(time.Second)
	if left == 0 {
		return min(next, o.born+o.lifetime)
	}
	return min(next, o.born+o.lifetime-left+1)
}
