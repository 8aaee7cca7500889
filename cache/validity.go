package cache

import "time"

// HitValidity validates one reply of AppendHit that a front has memoised: it records
// how long the reply may be sent again unchanged. It does not hold the reply.
//
// The invariant: the bytes of an answer depend on the request, on the variants
// stored under its key, on whether the object was softly purged, and on the whole
// seconds of its Age and its remaining lifetime. While none of these has changed,
// the same request gets the same bytes. StillValid checks exactly these, under one
// lock and with one map lookup: a fifth of the work of a new answer. So no purge
// needs to know which answers are memoised, and none can miss one.
//
// The zero value is never valid. A HitValidity keeps its page from being freed.
type HitValidity struct {
	storeRef
	object *Object
	// Age and ttl in the head are right at from and up to, but not at, until.
	from, until time.Duration
}

// set records that an object answered at now; with nil, that no object did.
func (v *HitValidity) set(found storeRef, o *Object, now time.Duration) {
	if o == nil {
		*v = HitValidity{}
		return
	}
	*v = HitValidity{storeRef: found, object: o, from: now, until: o.headChangesAt(now)}
}

// StillValid reports whether AppendHit would produce the same answer again at now,
// a reading of Now. If so, it counts n hits.
func (c *Cache) StillValid(v *HitValidity, now time.Duration, n int) bool {
	if v.object == nil || now < v.from || now >= v.until || v.object.softenedAt.Load() != 0 || !v.storeRef.confirmHits(n) {
		return false
	}
	c.counters.prepared.Add(int64(n))
	return true
}

// headChangesAt returns when the head of a fresh object changes next, because its Age or
// its remaining lifetime, both in whole seconds, changes, or because it becomes stale.
func (o *Object) headChangesAt(now time.Duration) time.Duration {
	age := o.age(now)
	next := o.born + age.Truncate(time.Second) + time.Second
	left := (o.lifetime - age).Truncate(time.Second)
	if left == 0 {
		return min(next, o.born+o.lifetime)
	}
	return min(next, o.born+o.lifetime-left+1)
}
