package cache

import (
	"math"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Tuning of the policy; DESIGN.md has the measurements behind the values.
const (
	// firstShare is the part of the budget, in percent, in which what is new
	// must show that it is asked for again, before the policy learns better.
	firstShare = 10
	// leastShare and mostShare bound what it learns.
	leastShare, mostShare = 1, 80
	// firstStep is by how many percent of the budget it first tries to change.
	firstStep = 8
	// sampleSize is how many requests an entry it watches before a change.
	sampleSize = 10
	// maxHits is where an entry's own count of hits stops.
	maxHits = sketchMax
	// maxContest bounds the residents that one newcomer may push out, and
	// maxChances those that get a second chance, in one step.
	maxContest = 32
	maxChances = 32
)

// entry is one key's place in the store.
type entry struct {
	hash    uint64
	key     string
	objects []*Object // variants, the youngest first; replaced, never changed
	cost    int64     // bytes, all told (cost.go)
	hits    atomic.Uint32
}

// touch counts a hit. Several at once may count as one.
func (e *entry) touch() {
	if n := e.hits.Load(); n < maxHits {
		e.hits.Store(n + 1)
	}
}

// policy decides what stays within a number of bytes. It is two simplelru lists
// and a sketch. What is new enters probation; at its end it may move to main if
// there is room, or if it was asked for more often than what main would give up
// for it. A hit only counts; the lists move when something is stored, so that
// readers share a lock. A scan runs through probation and is gone; a loop larger
// than the budget leaves main alone.
//
// A policy is guarded by its shard's lock.
type policy struct {
	probation, main         *simplelru.LRU[uint64, *entry]
	probationUsed, mainUsed int64
	budget                  int64
	sketch                  sketch
	climb                   climb
	evicted                 func(*entry)
}

// noLimit: the lists count entries, the policy counts bytes.
const noLimit = 1<<31 - 1

// newPolicy makes one for budget bytes and about expect entries. evicted is
// told of what was pushed out.
func newPolicy(budget int64, expect int, evicted func(*entry)) *policy {
	p := &policy{budget: budget, sketch: newSketch(2 * expect), evicted: evicted}
	p.climb = climb{share: firstShare, step: firstStep}
	p.reset()
	return p
}

func (p *policy) reset() {
	p.probation, p.main = newList(), newList()
	p.probationUsed, p.mainUsed = 0, 0
}

func newList() *simplelru.LRU[uint64, *entry] {
	l, err := simplelru.NewLRU[uint64, *entry](noLimit, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return l
}

func (p *policy) used() int64 { return p.probationUsed + p.mainUsed }
func (p *policy) len() int    { return p.probation.Len() + p.main.Len() }

// peek finds an entry and moves nothing, so that readers may do it together.
func (p *policy) peek(hash uint64) *entry {
	if e, ok := p.main.Peek(hash); ok {
		return e
	}
	e, _ := p.probation.Peek(hash)
	return e
}

// add takes in a new entry and makes room for it first. It reports whether the
// entry fits at all.
func (p *policy) add(e *entry) bool {
	p.climb.miss(p.len())
	p.sketch.add(e.hash, 1)
	if e.cost > p.budget {
		return false
	}
	p.makeRoom(e.cost)
	p.probation.Add(e.hash, e)
	p.probationUsed += e.cost
	return true
}

// resize notes that an entry's cost changed, and makes room. The entry itself
// may have to go.
func (p *policy) resize(e *entry, cost int64) {
	if p.main.Contains(e.hash) {
		p.mainUsed += cost - e.cost
	} else {
		p.probationUsed += cost - e.cost
	}
	e.cost = cost
	p.makeRoom(0)
}

// remove drops an entry that is no longer wanted.
func (p *policy) remove(e *entry) {
	if p.main.Remove(e.hash) {
		p.mainUsed -= e.cost
	} else if p.probation.Remove(e.hash) {
		p.probationUsed -= e.cost
	}
}

// evict removes an entry for want of room; the sketch keeps what it knows of it.
func (p *policy) evict(e *entry) {
	p.remove(e)
	if n := e.hits.Load(); n > 0 {
		p.sketch.add(e.hash, n)
	}
	p.evicted(e)
}

// makeRoom evicts until a newcomer of so many bytes fits. What has been in
// probation longest goes first as soon as probation would outgrow its share.
func (p *policy) makeRoom(incoming int64) {
	for p.used()+incoming > p.budget && p.len() > 0 {
		if p.main.Len() > 0 && (p.probation.Len() == 0 || p.probationUsed+incoming <= p.probationTarget()) {
			p.evict(p.victim())
			continue
		}
		_, e, _ := p.probation.GetOldest()
		p.leaveProbation(e)
	}
}

func (p *policy) probationTarget() int64 {
	return int64(float64(p.budget) / 100 * p.climb.share)
}

// climb finds the share of probation by trial: it changes the share, looks
// whether more requests were hits than before, and goes on or turns back. Where
// what is new matters most it grows, under a scan it shrinks (the hill climber of
// Einziger, Eytan, Friedman, Manes, "Adaptive Software Cache Management", 2018).
type climb struct {
	hits   atomic.Int64 // in this sample
	misses int64
	share  float64 // percent of the budget
	step   float64 // percent; its sign is the direction
	rate   float64 // part of hits in the sample before
}

func (m *climb) miss(entries int) {
	m.misses++
	hits := m.hits.Load()
	n := hits + m.misses
	if n < int64(sampleSize*max(entries, 16)) {
		return
	}
	rate := float64(hits) / float64(n)
	change := rate - m.rate
	if change < 0 {
		m.step = -m.step
	}
	m.share = min(max(m.share+m.step, leastShare), mostShare)
	m.step *= 0.98
	if change > 0.05 || change < -0.05 {
		// Another workload: take large steps again.
		m.step = math.Copysign(firstStep, m.step)
	}
	m.hits.Store(0)
	m.misses, m.rate = 0, rate
}

// leaveProbation moves the oldest newcomer on to main, or out.
func (p *policy) leaveProbation(e *entry) {
	need := e.cost - (p.budget - p.probationTarget() - p.mainUsed)
	if need > 0 && !p.contest(e, need) {
		p.evict(e)
		return
	}
	p.remove(e)
	p.main.Add(e.hash, e)
	p.mainUsed += e.cost
}

// contest makes need bytes of room in main for e if e was hit in probation, or
// if it was asked for more often than all that would have to go together.
// Otherwise nobody goes.
func (p *policy) contest(e *entry, need int64) bool {
	bid := p.popularity(e)
	if e.hits.Load() > 0 {
		// What is wanted right now beats a long memory: without this, a rack
		// whose catalogue has just changed clings to yesterday's pages.
		bid = math.MaxUint32
	}
	var losers [maxContest]*entry
	n, freed, worth := 0, int64(0), uint32(0)
	for freed < need {
		if n == maxContest || p.main.Len() == n {
			return false
		}
		v := p.victim()
		if worth += p.popularity(v); worth >= bid {
			return false
		}
		losers[n] = v
		n++
		if freed += v.cost; freed < need {
			p.main.Get(v.hash) // to the front, so that the next is another
		}
	}
	for _, v := range losers[:n] {
		p.evict(v)
	}
	return true
}

// victim is the resident of main that is to go next. One that was hit since it
// was last looked at goes to the front instead, its hits noted in the sketch.
func (p *policy) victim() *entry {
	_, e, _ := p.main.GetOldest()
	for range maxChances {
		n := e.hits.Load()
		if n == 0 {
			break
		}
		e.hits.Store(0)
		p.sketch.add(e.hash, n)
		p.main.Get(e.hash)
		_, e, _ = p.main.GetOldest()
	}
	return e
}

func (p *policy) popularity(e *entry) uint32 {
	return p.sketch.estimate(e.hash) + e.hits.Load()
}

// entries lists all, probation first.
func (p *policy) entries() []*entry { return append(p.probation.Values(), p.main.Values()...) }

// rebuild gives both lists maps of the right size; their order stays.
func (p *policy) rebuild() {
	for _, l := range []**simplelru.LRU[uint64, *entry]{&p.probation, &p.main} {
		all := (*l).Values()
		*l = newList()
		for _, e := range all {
			(*l).Add(e.hash, e)
		}
	}
}
