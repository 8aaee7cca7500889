package cache

import (
	"hash/maphash"
	"math/bits"
	"net/http"
	"sync"
	"sync/atomic"
)

const (
	// maxShards bounds the shards; more would not help a board with one core.
	maxShards = 64
	// objectsPerShard is how many objects of the largest size each shard has
	// room for at least: below that a policy cannot choose.
	objectsPerShard = 4
	// expectedCost is the size of entry, in bytes, that the sketches are made
	// for: eight bytes of sketch an entry.
	expectedCost = 1 << 10
)

// store holds all objects: shards with a lock and a share of the budget each.
type store struct {
	seed   maphash.Seed
	shift  uint // hash >> shift is the shard
	shards []shard
	sizer  *sizer

	maxVariants int
	evictions   atomic.Int64
	rejected    atomic.Int64
}

type shard struct {
	mu sync.RWMutex
	// Guarded by mu; reading needs only the read lock.
	policy *policy
	// share is the shard's part of the budget; the policy gets what the maps
	// do not take.
	share int64
	// peak is the most entries there were since the lists were last rebuilt:
	// Go's maps never shrink.
	peak int
	// bytes and count mirror the policy's figures for Stats.
	bytes, count atomic.Int64
	_            [64]byte // shards do not share a cache line
}

// newStore divides budget bytes.
func newStore(budget, maxObject int64, maxVariants int) *store {
	n := budget / (objectsPerShard * max(maxObject, 1))
	count := 1
	for count*2 <= maxShards && int64(count*2) <= n {
		count *= 2
	}
	s := &store{
		seed: maphash.MakeSeed(), shift: uint(64 - bits.TrailingZeros(uint(count))),
		shards: make([]shard, count), sizer: newSizer(), maxVariants: maxVariants,
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.share = budget / int64(count)
		expect := int(min(sh.share/expectedCost, 1<<24))
		sh.policy = newPolicy(0, expect, func(*entry) { s.evictions.Add(1) })
		sh.policy.budget = sh.share - int64(8*len(sh.policy.sketch.words))
	}
	return s
}

func (s *store) shard(key string) (*shard, uint64) {
	h := maphash.String(s.seed, key)
	return &s.shards[h>>s.shift], h // a shift of 64 gives 0
}

// get gives the variants of a key and counts a hit for the policy. It allocates
// nothing, and readers do not wait for each other. The slice must not be changed.
func (s *store) get(key string) []*Object {
	sh, h := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	e := sh.policy.peek(h)
	if e == nil || e.key != key {
		return nil
	}
	e.touch()
	sh.policy.climb.hits.Add(1)
	return e.objects
}

// put stores an object in front of its key's other variants, in place of one
// with the same selector. It reports whether the object is in the store now.
func (s *store) put(o *Object) bool {
	sh, h := s.shard(o.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	defer sh.note()
	p := sh.policy
	e := p.peek(h)
	if e != nil && e.key != o.key {
		p.evict(e) // two keys with one 64-bit hash: the younger stays
		e = nil
	}
	limit := sh.share / 2
	if e == nil {
		e = &entry{hash: h, key: o.key, objects: []*Object{o}}
		e.cost = s.sizer.entryCost(e.key, e.objects)
		if e.cost > limit || !p.add(e) {
			s.rejected.Add(1)
			return false
		}
		sh.grown()
		return p.peek(h) == e
	}
	o.key = e.key // one copy of the key's bytes
	objects := make([]*Object, 1, min(len(e.objects)+1, s.maxVariants))
	objects[0] = o
	for _, old := range e.objects {
		if len(objects) < s.maxVariants && old.vary != o.vary {
			objects = append(objects, old)
		}
	}
	cost := s.sizer.entryCost(e.key, objects)
	for cost > limit && len(objects) > 1 {
		objects = objects[:len(objects)-1]
		cost = s.sizer.entryCost(e.key, objects)
	}
	if cost > limit {
		s.rejected.Add(1)
		p.remove(e) // what was stored is out of date now
		return false
	}
	e.objects = objects[:len(objects):len(objects)]
	p.resize(e, cost)
	return p.peek(h) == e
}

// grown pays for the maps: they are charged by the slot with each entry, and
// when most slots of their largest extent are empty, the lists are built anew.
func (sh *shard) grown() {
	n := sh.policy.len()
	sh.peak = max(sh.peak, n)
	empty := int64(sh.peak-n) * mapSlot
	if empty > sh.share/50 {
		sh.policy.rebuild()
		sh.peak = n
	}
}

func (sh *shard) note() {
	sh.bytes.Store(sh.policy.used())
	sh.count.Store(int64(sh.policy.len()))
}

// drop removes what match says of one key's objects and returns how many.
func (s *store) drop(key string, match func(*Object) bool) int {
	sh, h := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	defer sh.note()
	e := sh.policy.peek(h)
	if e == nil || e.key != key {
		return 0
	}
	return s.prune(sh, e, match)
}

// dropAll does the same for every key, one shard's lock at a time.
func (s *store) dropAll(match func(*Object) bool) int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, e := range sh.policy.entries() {
			n += s.prune(sh, e, match)
		}
		if sh.policy.len() == 0 {
			sh.policy.reset()
			sh.peak = 0
		}
		sh.note()
		sh.mu.Unlock()
	}
	return n
}

// prune needs the shard's lock.
func (s *store) prune(sh *shard, e *entry, match func(*Object) bool) int {
	n := 0
	for _, o := range e.objects {
		if match(o) {
			n++
		}
	}
	switch {
	case n == 0:
	case n == len(e.objects):
		sh.policy.remove(e)
	default:
		keep := make([]*Object, 0, len(e.objects)-n)
		for _, o := range e.objects {
			if !match(o) {
				keep = append(keep, o)
			}
		}
		e.objects = keep
		sh.policy.resize(e, s.sizer.entryCost(e.key, keep))
	}
	return n
}

// keys calls yield with each key, no lock held, until it returns false. A
// shard's lock is held only while its entries are listed.
func (s *store) keys(yield func(string) bool) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		all := sh.policy.entries()
		sh.mu.RUnlock()
		for _, e := range all {
			if !yield(e.key) {
				return
			}
		}
	}
}

// totals sums up all shards.
func (s *store) totals() (objects, bytes int64) {
	for i := range s.shards {
		objects += s.shards[i].count.Load()
		bytes += s.shards[i].bytes.Load()
	}
	return objects, bytes
}

// match finds the variant that answers the request; the youngest comes first.
func match(objects []*Object, r *http.Request) *Object {
	for _, o := range objects {
		if o.Matches(r) {
			return o
		}
	}
	return nil
}

// peek is get without counting a hit.
func (s *store) peek(key string) []*Object {
	sh, h := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if e := sh.policy.peek(h); e != nil && e.key == key {
		return e.objects
	}
	return nil
}
