package evict

import (
	"math"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxHits is where an item's own hit count stops.
	maxHits = sketchMax
	// maxContest bounds the residents that one newcomer may evict, and maxChances
	// those that get a second chance, in one call.
	maxContest = 32
	maxChances = 32
	// returningCount: an evicted item that comes back goes straight to main if it had
	// at least this many recent requests, this one included.
	returningCount = 3
)

// Item is one thing in the cache.
type Item[V any] struct {
	hash  uint64
	cost  int64
	hits  atomic.Uint32
	Value V
}

// NewItem returns an item of cost bytes (at least 1). hash stands for the key: its
// bits must look random, and of two keys with the same hash a policy holds one.
func NewItem[V any](hash uint64, cost int64, value V) *Item[V] {
	return &Item[V]{hash: hash, cost: max(cost, 1), Value: value}
}

// Cost is the item's share of the budget, in bytes.
func (i *Item[V]) Cost() int64 { return i.cost }

// countHits adds n hits. Hits of concurrent readers may be lost.
func (i *Item[V]) countHits(n uint32) {
	if have := i.hits.Load(); have < maxHits {
		i.hits.Store(min(have+n, maxHits))
	}
}

// Policy decides what stays within a number of bytes. New items enter probation. At
// its end an item is promoted to main if there is room, or if it was requested more
// often than each item that main would evict for it. The strategy sets the size of
// probation and the effect of a hit in it; a Tuner chooses the strategy.
//
// A hit only counts. The lists change when an item is added, so that readers can
// share a lock: Peek, Contains, Hit, HitN and Items may run concurrently; everything
// else needs exclusive access.
type Policy[V any] struct {
	probation, main         *simplelru.LRU[uint64, *Item[V]]
	probationUsed, mainUsed int64
	budget                  int64
	sketch                  sketch
	tuner                   *Tuner // nil: the strategy is fixed
	strategy                strategy
	evicted                 func(*Item[V])
}

// noLimit: the lists count items, the policy counts bytes.
const noLimit = 1<<31 - 1

// New returns a policy for budget bytes and about expect items; with more items its
// estimates of popularity get worse. Several policies, the shards of one cache, may
// share a tuner. evicted, if not nil, is called with each evicted item.
func New[V any](budget int64, expect int, tuner *Tuner, evicted func(*Item[V])) *Policy[V] {
	p := &Policy[V]{budget: budget, sketch: newSketch(expect), tuner: tuner, evicted: evicted}
	p.Reset()
	return p
}

// Reset drops all items, but not their request counts.
func (p *Policy[V]) Reset() {
	p.probation, p.main = newList[V](), newList[V]()
	p.probationUsed, p.mainUsed = 0, 0
}

func newList[V any]() *simplelru.LRU[uint64, *Item[V]] {
	l, err := simplelru.NewLRU[uint64, *Item[V]](noLimit, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return l
}

// SetBudget changes the budget, in bytes. The next Add evicts the excess.
func (p *Policy[V]) SetBudget(bytes int64) { p.budget = bytes }

// Used is the sum of all costs.
func (p *Policy[V]) Used() int64 { return p.probationUsed + p.mainUsed }

// Len is the number of items.
func (p *Policy[V]) Len() int { return p.probation.Len() + p.main.Len() }

// Overhead is the memory of the policy without its items and lists, in bytes.
func (p *Policy[V]) Overhead() int64 { return int64(8 * len(p.sketch.words)) }

// Peek finds an item; nil if there is none. It does not count as a use.
func (p *Policy[V]) Peek(hash uint64) *Item[V] {
	if e, ok := p.main.Peek(hash); ok {
		return e
	}
	e, _ := p.probation.Peek(hash)
	return e
}

// Contains reports whether this very item is in the policy.
func (p *Policy[V]) Contains(e *Item[V]) bool { return p.Peek(e.hash) == e }

// Hit counts a use of an item that is in the policy. It allocates nothing.
func (p *Policy[V]) Hit(e *Item[V]) { p.HitN(e, 1) }

// HitN counts n uses in a row.
func (p *Policy[V]) HitN(e *Item[V], n int) {
	e.countHits(uint32(n))
	if p.tuner != nil {
		p.tuner.noteHit(e.hash, e.cost, n)
	}
}

// Add makes room for a new item, after a miss, and adds it. It returns false if the
// item is larger than the budget. The policy must not contain its hash yet.
func (p *Policy[V]) Add(e *Item[V]) bool {
	if p.tuner != nil {
		p.strategy = p.tuner.noteMiss(e.hash, e.cost)
	}
	p.sketch.setMemory(p.Len())
	p.sketch.add(e.hash, 1)
	if e.cost > p.budget {
		return false
	}
	if p.strategy.onHit == promoteReturning && p.sketch.estimate(e.hash) >= returningCount {
		p.makeRoom(0, e.cost)
		p.main.Add(e.hash, e)
		p.mainUsed += e.cost
		return true
	}
	p.makeRoom(e.cost, 0)
	p.probation.Add(e.hash, e)
	p.probationUsed += e.cost
	return true
}

// Resize changes an item's cost and makes room, which may evict the item itself.
func (p *Policy[V]) Resize(e *Item[V], cost int64) {
	if p.main.Contains(e.hash) {
		p.mainUsed += cost - e.cost
	} else {
		p.probationUsed += cost - e.cost
	}
	e.cost = cost
	p.makeRoom(0, 0)
}

// Remove drops an item that is out of date.
func (p *Policy[V]) Remove(e *Item[V]) {
	if p.main.Remove(e.hash) {
		p.mainUsed -= e.cost
	} else if p.probation.Remove(e.hash) {
		p.probationUsed -= e.cost
	}
}

// Evict removes an item for lack of room; the sketch retains its popularity.
func (p *Policy[V]) Evict(e *Item[V]) {
	p.Remove(e)
	p.flushHits(e)
	if p.evicted != nil {
		p.evicted(e)
	}
}

// flushHits moves an item's hits into the sketch.
func (p *Policy[V]) flushHits(e *Item[V]) {
	if n := e.hits.Swap(0); n > 0 {
		p.sketch.add(e.hash, n)
	}
}

// makeRoom evicts until a newcomer with the given bytes fits, in probation or in
// main. The oldest item of probation goes first if probation would outgrow its share.
func (p *Policy[V]) makeRoom(probation, main int64) {
	for p.Used()+probation+main > p.budget && p.Len() > 0 {
		if p.main.Len() > 0 && (p.probation.Len() == 0 || p.probationUsed+probation <= p.probationTarget()) {
			p.Evict(p.nextVictim())
			continue
		}
		_, e, _ := p.probation.GetOldest()
		p.leaveProbation(e)
	}
}

func (p *Policy[V]) probationTarget() int64 { return p.budget * p.strategy.share / 100 }

// leaveProbation promotes the oldest item of probation to main, or evicts it, or lets
// it stay for another round.
func (p *Policy[V]) leaveProbation(e *Item[V]) {
	hit := e.hits.Load() > 0
	if hit && p.strategy.onHit == stayInProbation {
		p.flushHits(e)
		p.probation.Get(e.hash)
		return
	}
	need := e.cost - (p.budget - p.probationTarget() - p.mainUsed)
	if need > 0 && !p.winContest(e, need, hit && p.strategy.onHit != promoteByContest) {
		p.Evict(e)
		return
	}
	p.Remove(e)
	p.main.Add(e.hash, e)
	p.mainUsed += e.cost
}

// winContest frees need bytes in main for e, if e is sure to be promoted or was
// requested more often than each item that would have to go. Otherwise it evicts
// nothing and returns false. (To require more requests than all of them together
// would favour small pages more: three points more requests hit on mixed sizes, and
// two points fewer bytes.)
//
// Unless the strategy is eager, the request that added e does not count. The
// residents have had no chance of theirs yet, and in a loop each newcomer would evict
// an item that comes next.
func (p *Policy[V]) winContest(e *Item[V], need int64, sure bool) bool {
	bid := uint32(math.MaxUint32)
	if !sure {
		bid = p.popularity(e)
		if !p.strategy.eager {
			bid -= min(bid, 1)
		}
	}
	var losers [maxContest]*Item[V]
	n, freed := 0, int64(0)
	for freed < need {
		if n == maxContest || p.main.Len() == n {
			return false
		}
		v := p.nextVictim()
		if p.popularity(v) >= bid {
			return false
		}
		losers[n] = v
		n++
		if freed += v.cost; freed < need {
			p.main.Get(v.hash) // to the front, so that the next victim is another
		}
	}
	for _, v := range losers[:n] {
		p.Evict(v)
	}
	return true
}

// nextVictim is the item of main that goes next. Items that were hit since they last
// came here go to the front instead (CLOCK's second chance).
func (p *Policy[V]) nextVictim() *Item[V] {
	_, e, _ := p.main.GetOldest()
	for range maxChances {
		if e.hits.Load() == 0 {
			break
		}
		p.flushHits(e)
		p.main.Get(e.hash)
		_, e, _ = p.main.GetOldest()
	}
	return e
}

func (p *Policy[V]) popularity(e *Item[V]) uint32 {
	return p.sketch.estimate(e.hash) + e.hits.Load()
}

// Items lists all items, probation first.
func (p *Policy[V]) Items() []*Item[V] { return append(p.probation.Values(), p.main.Values()...) }

// Rebuild replaces both lists, in the same order, by ones with maps of the right
// size: Go's maps never shrink.
func (p *Policy[V]) Rebuild() {
	for _, l := range []**simplelru.LRU[uint64, *Item[V]]{&p.probation, &p.main} {
		all := (*l).Values()
		*l = newList[V]()
		for _, e := range all {
			(*l).Add(e.hash, e)
		}
	}
}
