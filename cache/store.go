package cache

import (
	"hash/maphash"
	"math/bits"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"bramble/cache/evict"
)

const (
	// maxShards bounds the shards; more would not help a board with one core.
	maxShards = 64
	// objectsPerShard: each shard has room for at least four objects of the largest
	// size; with fewer a policy cannot choose.
	objectsPerShard = 4
	// expectedCost is the entry size, in bytes, for which the sketches are sized:
	// they take 16 to 32 bytes for each such part of the budget.
	expectedCost = 1 << 10
	// shadowPart: the policy's tuner may take a thirty-second of the budget.
	shadowPart = 32
	// tunerItem is the cost of an item in all of the tuner's shadows, in bytes.
	tunerItem = int64(evict.StrategyCount * evict.ShadowItemCost)
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

	budget     int64
	fixed      int64         // of budget: for sketches and tuner
	sinceCheck atomic.Int64  // bytes stored since the last rebalance
	checkDue   chan struct{} // has a value if a rebalance is due; never closed

	rebalancing sync.Mutex
	// Guarded by rebalancing.
	room        int64 // the part of budget that may be used (room.go)
	otherHeap   int64 // the heap that is not the store's, as of the last collection
	stuckChecks int   // consecutive checks at which even the minimum room was too much
}

// variants are the objects stored under one key, the youngest first; never empty.
// The slice is replaced, never changed: readers hold it without a lock.
type variants []*Object

type entry = evict.Item[variants]

func entryKey(e *entry) string { return e.Value[0].key }

type shard struct {
	mu sync.RWMutex
	// Guarded by mu; reading needs only the read lock.
	policy *evict.Policy[variants]
	// share is the shard's part of the budget; the policy gets it without the cost
	// of empty map slots.
	share int64
	// peak is the largest number of entries since the lists were last rebuilt:
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
		budget: budget, room: budget, checkDue: make(chan struct{}, 1),
	}
	most := int(min(budget/(shadowPart*tunerItem), evict.MaxShadow))
	tuner := evict.NewTuner(budget, most)
	s.fixed = int64(most) * tunerItem
	budget -= s.fixed
	for i := range s.shards {
		sh := &s.shards[i]
		sh.share = budget / int64(count)
		expect := int(min(sh.share/expectedCost, 1<<24))
		sh.policy = evict.New(0, expect, tuner, func(*entry) { s.evictions.Add(1) })
		sh.policy.SetBudget(sh.share - sh.policy.Overhead())
		s.fixed += sh.policy.Overhead()
	}
	return s
}

// shardOf returns the shard of a key, and the key's hash.
func (s *store) shardOf(key string) (*shard, uint64) {
	h := maphash.String(s.seed, key)
	return &s.shards[h>>s.shift], h // a shift of 64 gives 0
}

// get returns the variants of a key and counts a hit for the policy. It allocates
// nothing, and readers do not wait for each other. The slice must not be changed.
func (s *store) get(key string) []*Object { return s.findRef(key).objects }

// storeRef is a result of findRef: the objects stored under a key, and their location.
type storeRef struct {
	shard   *shard
	entry   *entry
	objects variants // nil: nothing is stored
}

// findRef is get with a result that confirmHits can confirm later.
func (s *store) findRef(key string) storeRef {
	sh, hash := s.shardOf(key)
	var found storeRef
	sh.mu.RLock()
	if e := sh.policy.Peek(hash); e != nil && entryKey(e) == key {
		sh.policy.Hit(e)
		found = storeRef{sh, e, e.Value}
	}
	sh.mu.RUnlock()
	return found
}

// confirmHits reports whether findRef would return the same result again. If so, it
// counts n hits.
func (ref *storeRef) confirmHits(n int) bool {
	ref.shard.mu.RLock()
	unchanged := ref.shard.policy.Contains(ref.entry) && &ref.entry.Value[0] == &ref.objects[0]
	if unchanged {
		ref.shard.policy.HitN(ref.entry, n)
	}
	ref.shard.mu.RUnlock()
	return unchanged
}

// put stores an object in front of its key's other variants and replaces the one
// with the same variant key. It reports whether the object is in the store now.
func (s *store) put(o *Object) bool {
	s.noteStored(s.sizer.entry + s.sizer.objectCost(o))
	sh, h := s.shardOf(o.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	defer sh.publishTotals()
	p := sh.policy
	e := p.Peek(h)
	if e != nil && entryKey(e) != o.key {
		p.Evict(e) // two keys with one 64-bit hash: the younger stays
		e = nil
	}
	limit := sh.share / 2
	if e == nil {
		e = evict.NewItem(h, s.sizer.entryCost(variants{o}), variants{o})
		if e.Cost() > limit || !p.Add(e) {
			s.rejected.Add(1)
			return false
		}
		s.chargeMaps(sh)
		return p.Peek(h) == e
	}
	o.key = entryKey(e) // one copy of the key's bytes
	all := make(variants, 1, min(len(e.Value)+1, s.maxVariants))
	all[0] = o
	for _, old := range e.Value {
		if len(all) < s.maxVariants && old.variantKey != o.variantKey {
			all = append(all, old)
		}
	}
	cost := s.sizer.entryCost(all)
	for cost > limit && len(all) > 1 {
		all = all[:len(all)-1]
		cost = s.sizer.entryCost(all)
	}
	if cost > limit {
		s.rejected.Add(1)
		p.Remove(e) // what was stored is out of date now
		return false
	}
	e.Value = all[:len(all):len(all)]
	p.Resize(e, cost)
	return p.Peek(h) == e
}

// chargeMaps accounts for the maps: each entry pays for its slot, and when most slots
// of their largest extent are empty, the lists are rebuilt.
func (s *store) chargeMaps(sh *shard) {
	n := sh.policy.Len()
	sh.peak = max(sh.peak, n)
	empty := int64(sh.peak-n) * mapSlot
	if empty > sh.share/50 {
		sh.policy.Rebuild()
		sh.peak = n
		s.noteStored(int64(n) * s.sizer.entry) // the old lists are garbage now
	}
}

func (sh *shard) publishTotals() {
	sh.bytes.Store(sh.policy.Used())
	sh.count.Store(int64(sh.policy.Len()))
}

// dropMatching removes those of a key's objects that match selects, and returns
// their number.
func (s *store) dropMatching(key string, match func(*Object) bool) int {
	sh, h := s.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	defer sh.publishTotals()
	e := sh.policy.Peek(h)
	if e == nil || entryKey(e) != key {
		return 0
	}
	return s.pruneEntry(sh, e, match)
}

// dropAllMatching does the same for every key, under one shard's lock at a time.
func (s *store) dropAllMatching(match func(*Object) bool) int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, e := range sh.policy.Items() {
			n += s.pruneEntry(sh, e, match)
		}
		if sh.policy.Len() == 0 {
			sh.policy.Reset()
			sh.peak = 0
		}
		sh.publishTotals()
		sh.mu.Unlock()
	}
	return n
}

// pruneEntry needs the shard's lock.
func (s *store) pruneEntry(sh *shard, e *entry, match func(*Object) bool) int {
	if !slices.ContainsFunc(e.Value, match) {
		return 0
	}
	had := len(e.Value)
	keep := slices.Clone(slices.DeleteFunc(slices.Clone(e.Value), match))
	if len(keep) == 0 {
		sh.policy.Remove(e)
		return had
	}
	e.Value = keep
	sh.policy.Resize(e, s.sizer.entryCost(keep))
	return had - len(keep)
}

// eachKey calls yield with each key, no lock held, until it returns false. A
// shard's lock is held only while its keys are listed.
func (s *store) eachKey(yield func(string) bool) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		keys := make([]string, 0, sh.policy.Len())
		for _, e := range sh.policy.Items() {
			keys = append(keys, entryKey(e))
		}
		sh.mu.RUnlock()
		for _, key := range keys {
			if !yield(key) {
				return
			}
		}
	}
}

func (s *store) sumTotals() (objects, bytes int64) {
	for i := range s.shards {
		objects += s.shards[i].count.Load()
		bytes += s.shards[i].bytes.Load()
	}
	return objects, bytes
}

// matchVariant finds the variant that answers the request; the youngest comes first.
func matchVariant(objects []*Object, r *http.Request) *Object {
	for _, o := range objects {
		if o.Matches(r) {
			return o
		}
	}
	return nil
}

// peek is get without counting a hit.
func (s *store) peek(key string) []*Object {
	sh, h := s.shardOf(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if e := sh.policy.Peek(h); e != nil && entryKey(e) == key {
		return e.Value
	}
	return nil
}
