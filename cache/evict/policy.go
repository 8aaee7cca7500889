package evict

import (
	"math"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxHits is where an item's own count of hits stops.
	maxHits = sketchMax
	// maxContest bounds the residents that one newcomer may push out, and
	// maxChances those that get a second chance, in one step.
	maxContest = 32
	maxChances = 32
	// returningCount is from how many requests lately, this one included, something
	// that comes back is taken for a favourite at once.
	returningCount = 3
)

// Item is one thing in the cache.
type Item[V any] struct {
	hash  uint64
	cost  int64
	hits  atomic.Uint32
	Value V
}

// NewItem makes an item of cost bytes (at least 1). hash stands for the key: its
// bits must look random, and of two keys with the same hash a policy holds one.
func NewItem[V any](hash uint64, cost int64, value V) *Item[V] {
	return &Item[V]{hash: hash, cost: max(cost, 1), Value: value}
}

// Cost is the item's share of the budget, in bytes.
func (i *Item[V]) Cost() int64 { return i.cost }

// countHits counts hits. Those of several readers at once may count as one's.
func (i *Item[V]) countHits(times uint32) {
	if n := i.hits.Load(); n < maxHits {
		i.hits.Store(min(n+times, maxHits))
	}
}

// Policy decides what stays within a number of bytes. What is new enters
// probation; at its end it moves to main if there is room, or if it was asked
// for more often than anything that main would give up for it. How large probation is
// and what a hit in it is worth is its way, and a Tuner finds that.
//
// A hit only counts; the lists move when something is added, so that readers can
// share a lock: Peek, Holds, Hit, Hits and Items may be called side by side, everything else
// needs to be alone.
type Policy[V any] struct {
	probation, main         *simplelru.LRU[uint64, *Item[V]]
	probationUsed, mainUsed int64
	budget                  int64
	sketch                  sketch
	tuner                   *Tuner // nil: way is fixed
	strategy                strategy
	evicted                 func(*Item[V])
}

// noLimit: the lists count items, the policy counts bytes.
const noLimit = 1<<31 - 1

// New makes a policy for budget bytes and about expect items; with more it
// still works but is easier to deceive. tuner may be shared by several policies,
// the shards of one cache. evicted, if not nil, is told of what was pushed out.
func New[V any](budget int64, expect int, tuner *Tuner, evicted func(*Item[V])) *Policy[V] {
	p := &Policy[V]{budget: budget, sketch: newSketch(expect), tuner: tuner, evicted: evicted}
	p.Reset()
	return p
}

// Reset forgets all items, and keeps what is known of how often they were wanted.
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

// SetBudget changes the room, in bytes. What is too much goes with the next Add.
func (p *Policy[V]) SetBudget(bytes int64) { p.budget = bytes }

// Used is the sum of all costs.
func (p *Policy[V]) Used() int64 { return p.probationUsed + p.mainUsed }

// Len is the number of items.
func (p *Policy[V]) Len() int { return p.probation.Len() + p.main.Len() }

// Overhead is what the policy takes besides its items and lists, in bytes.
func (p *Policy[V]) Overhead() int64 { return int64(8 * len(p.sketch.words)) }

// Peek finds an item; nil if there is none. It is no use of it.
func (p *Policy[V]) Peek(hash uint64) *Item[V] {
	if e, ok := p.main.Peek(hash); ok {
		return e
	}
	e, _ := p.probation.Peek(hash)
	return e
}

// Contains reports whether an item is in the policy still.
func (p *Policy[V]) Contains(e *Item[V]) bool { return p.Peek(e.hash) == e }

// Hit counts a use of an item that is in the policy. It allocates nothing.
func (p *Policy[V]) Hit(e *Item[V]) { p.HitN(e, 1) }

// HitN counts so many uses in a row.
func (p *Policy[V]) HitN(e *Item[V], times int) {
	e.countHits(uint32(times))
	if p.tuner != nil {
		p.tuner.noteHit(e.hash, e.cost, times)
	}
}

// Add takes in a new item, after a miss, and makes room for it first. It
// reports whether the item fits at all. Its hash must not be there already.
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

// Resize notes that an item's cost changed, and makes room. The item itself may
// have to go.
func (p *Policy[V]) Resize(e *Item[V], cost int64) {
	if p.main.Contains(e.hash) {
		p.mainUsed += cost - e.cost
	} else {
		p.probationUsed += cost - e.cost
	}
	e.cost = cost
	p.makeRoom(0, 0)
}

// Remove drops an item that is no longer wanted.
func (p *Policy[V]) Remove(e *Item[V]) {
	if p.main.Remove(e.hash) {
		p.mainUsed -= e.cost
	} else if p.probation.Remove(e.hash) {
		p.probationUsed -= e.cost
	}
}

// Evict removes an item for want of room; what is known of it stays known.
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

// makeRoom evicts until a newcomer of so many bytes fits, to probation or to
// main. What has been in probation longest goes first as soon as probation would
// outgrow its share.
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

// leaveProbation moves the oldest newcomer on to main, or out, or lets it stay
// for another round.
func (p *Policy[V]) leaveProbation(e *Item[V]) {
	wanted := e.hits.Load() > 0
	if wanted && p.strategy.onHit == stayInProbation {
		p.flushHits(e)
		p.probation.Get(e.hash)
		return
	}
	need := e.cost - (p.budget - p.probationTarget() - p.mainUsed)
	if need > 0 && !p.winContest(e, need, wanted && p.strategy.onHit != promoteByContest) {
		p.Evict(e)
		return
	}
	p.Remove(e)
	p.main.Add(e.hash, e)
	p.mainUsed += e.cost
}

// winContest makes need bytes of room in main for e if e is sure to move, or if it
// was asked for more often than each that would have to go. Otherwise nobody
// goes. (More often than all of them together would favour small pages more: three
// points more requests hit on mixed sizes, and two points fewer bytes.)
//
// Unless the way is eager, the request that brought e in does not count. Residents
// have had no chance of theirs yet, and in a loop each newcomer would beat one that
// comes next.
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
			p.main.Get(v.hash) // to the front, so that the next is another
		}
	}
	for _, v := range losers[:n] {
		p.Evict(v)
	}
	return true
}

// nextVictim is the resident of main that is to go next. One that was hit since it
// was last looked at goes to the front instead.
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

// Items lists all, probation first.
func (p *Policy[V]) Items() []*Item[V] { return append(p.probation.Values(), p.main.Values()...) }

// Rebuild gives both lists maps of the right size, because Go's maps never
// shrink; their order stays.
func (p *Policy[V]) Rebuild() {
	for _, l := range []**simplelru.LRU[uint64, *Item[V]]{&p.probation, &p.main} {
		all := (*l).Values()
		*l = newList[V]()
		for _, e := range all {
			(*l).Add(e.hash, e)
		}
	}
}
