package cache

import "time"

// HitValidity says for how long one answer of AppendHit may be sent again as it is.
//
// The invariant: the bytes of an answer depend on the request, on the variants
// stored under its key, on whether the object was softly purged, and on the whole
// seconds of its Age and its remaining lifetime. While none of these has changed,
// the same request gets the same bytes. StillValid checks exactly these, under one
// lock and with one map lookup: a fifth of the work of a new answer. So no purge
// needs to know which answers are memoised, and none can miss one.
//
// The zero value is the memo of no answer. A memo keeps its page from being freed.
type HitValidity struct {
	storeRef
	object *Object
	// Age and ttl in the head are right at from and up to, but not at, until.
	from, until time.Duration
}

// set records an answer with an object at a time; with nil, that there was none.
func (m *HitValidity) set(found storeRef, o *Object, now time.Duration) {
	if o == nil {
		*m = HitValidity{}
		return
	}
	*m = HitValidity{storeRef: found, object: o, from: now, until: o.headChangesAt(now)}
}

// StillValid reports whether AppendHit would produce the same answer again at now,
// a reading of Now. If so, it counts n hits.
func (c *Cache) StillValid(m *HitValidity, now time.Duration, n int) bool {
	if m.object == nil || now < m.from || now >= m.until || m.object.softenedAt.Load() != 0 || !m.storeRef.confirmHits(n) {
		return false
	}
	c.counters.prepared.Add(int64(n))
	return true
}

// headChangesAt is when the head of a fresh object changes: its Age or its remaining
// lifetime, both in whole seconds, is another, or the object is stale.
func (o *Object) headChangesAt(now time.Duration) time.Duration {
	age := o.age(now)
	next := o.born + age.Truncate(time.Second) + time.Second
	left := (o.lifetime - age).Truncate(time.Second)
	if left == 0 {
		return min(next, o.born+o.lifetime)
	}
	return min(next, o.born+o.lifetime-left+1)
}
