package evict

import (
	"sync"
	"sync/atomic"
)

// strategy is a setting of a policy.
type strategy struct {
	share int64 // percent of the budget that probation may take
	onHit promotion
	eager bool // the request that added an item counts in its contest
}

// promotion is the effect of a hit in probation when the item reaches its end.
type promotion uint8

const (
	promoteByContest promotion = iota // one more request in the contest for main
	promoteAlways                     // promoted to main, whatever main has to evict
	promoteReturning                  // the same, and an evicted item that comes back goes straight to main
	stayInProbation                   // one more round in probation: least recently used goes first
)

// strategies are those that the tuner chooses from. Each was the best of all that
// were tried on some workload; DESIGN.md of cache has the measurements.
//   - 1 stay: almost all by frequency. Loops, scans, what never changes.
//   - 10 contest, 10 always: W-TinyLFU as it is known, and quicker to promote.
//   - 10 stay, eager: large rooms, where most items come back only once or twice and
//     old ones would stay for good.
//   - 30 always: like 2Q. Favourites that change.
//   - 30 stay: bursts, then never again.
//   - 30 returning: likewise, if they change seldom and together.
//   - 100 stay: least recently used.
var strategies = [...]strategy{
	{1, stayInProbation, false}, {10, promoteByContest, false}, {10, promoteAlways, false}, {10, stayInProbation, true},
	{30, promoteAlways, false}, {30, stayInProbation, false}, {30, promoteReturning, false}, {100, stayInProbation, false},
}

const (
	// initialStrategy is the strategy before the first decision.
	initialStrategy = 1
	// forgetRate is the part of each shadow cache's score that a round takes away, divided
	// by the tuner's patience. A change doubles the patience, up to maxPatience; each
	// round without one multiplies it by patienceDecay. When strategies alternate in
	// the lead, a long memory picks the one that is best on average: chasing the
	// leader cost 7 of 19 points on the zigzag workload.
	forgetRate    = 0.1
	maxPatience   = 16
	patienceDecay = 0.99
	// minAdvantage: a strategy replaces the present one if it has hit at least this
	// part of the present one's misses. Each change costs hits until the lists have
	// followed: a third of this lost two points where day and night differ.
	minAdvantage = 0.03
	// minRound is the least number of sampled requests between two decisions.
	minRound = 200
	// pendingHits bounds the sampled hits that wait for the shadows. If more come
	// before the next sampled miss, the oldest are lost.
	pendingHits = 256
	// tooFewPart: shadows that are full with less than this part of their items, an
	// eighth, get a larger sample. So do shadows that are too small for most of the
	// requested items.
	tooFewPart = 8
	// ShadowItemCost is the memory of an item in a shadow, in bytes: the item, its
	// list node, its map slot and its part of the sketch.
	ShadowItemCost = 260
	// MaxShadow is the number of items that a shadow needs to distinguish the
	// strategies; twice as many decided no better.
	MaxShadow = 512
)

// StrategyCount is the number of shadows that a tuner runs.
const StrategyCount = len(strategies)

// Tuner finds the best strategy for the requests as they come, by ghost caches: a
// sample of the keys, chosen by their hash, goes to one small shadow policy for each
// strategy, whose budget is the same part of the total as the sample is of all keys.
// The shadows hold no content. All see the same requests, so a difference between
// them is due to the strategies and not to the time of day. Trying one strategy after
// another could not distinguish the two.
//
// All methods may be called concurrently.
type Tuner struct {
	current atomic.Int32 // index in strategies
	mask    atomic.Uint64
	next    atomic.Uint32
	queue   [pendingHits]struct {
		hash atomic.Uint64
		cost atomic.Int64
	}

	mu sync.Mutex
	// Guarded by mu.
	shadows   [StrategyCount]*Policy[struct{}]
	score     [StrategyCount]float64 // hits, weighted by age
	requests  float64                // weighted likewise
	patience  float64                // divides forgetRate
	round     int                    // requests since the last decision
	oversized int                    // requests for items larger than a shadow, likewise
	seen      uint32                 // of next
	budget    int64
	maxItems  int // items a shadow may hold
}

// NewTuner returns a tuner for a cache of budget bytes in all. Its shadows hold at
// most about maxItems items each.
func NewTuner(budget int64, maxItems int) *Tuner {
	t := &Tuner{budget: budget, maxItems: max(maxItems, 16), patience: 1}
	t.current.Store(initialStrategy)
	for i := range t.shadows {
		t.shadows[i] = New[struct{}](budget, t.maxItems, nil, nil)
		t.shadows[i].strategy = strategies[i]
	}
	return t
}

// isSampled reports whether a key is in the sample, by bits that neither shards nor
// sketches use.
func (t *Tuner) isSampled(hash uint64) bool {
	return hash*0x9e3779b97f4a7c15>>40&t.mask.Load() == 0
}

// noteHit records n hits. It takes no lock: the shadows get them at the next miss.
func (t *Tuner) noteHit(hash uint64, cost int64, n int) {
	if !t.isSampled(hash) {
		return
	}
	for range min(n, pendingHits) {
		slot := &t.queue[(t.next.Add(1)-1)%pendingHits]
		slot.hash.Store(hash)
		slot.cost.Store(cost) // after a concurrent hit the cost may be wrong: no harm
	}
}

// noteMiss records a miss and returns the strategy from now on.
func (t *Tuner) noteMiss(hash uint64, cost int64) strategy {
	if t.isSampled(hash) {
		t.mu.Lock()
		t.catchUp()
		t.replayRequest(hash, cost)
		t.mu.Unlock()
	}
	return strategies[t.current.Load()]
}

// catchUp replays the hits since the last miss on the shadows. It needs mu.
func (t *Tuner) catchUp() {
	next := t.next.Load()
	if next-t.seen > pendingHits {
		t.seen = next - pendingHits
	}
	for ; t.seen != next; t.seen++ {
		slot := &t.queue[t.seen%pendingHits]
		if cost := slot.cost.Load(); cost > 0 {
			t.replayRequest(slot.hash.Load(), cost)
		}
	}
}

// replayRequest replays a request on every shadow. It needs mu.
func (t *Tuner) replayRequest(hash uint64, cost int64) {
	items := 0
	for i, s := range t.shadows {
		if e := s.Peek(hash); e != nil {
			e.countHits(1)
			t.score[i]++
		} else {
			s.Add(NewItem(hash, cost, struct{}{}))
		}
		items = max(items, s.Len())
	}
	if items > t.maxItems {
		t.resample(t.mask.Load()<<1|1, t.budget/2)
	}
	if cost > t.budget {
		t.oversized++
	}
	if t.round++; t.round >= max(minRound, items) {
		round := t.round
		t.chooseStrategy()
		full := t.shadows[0].Used() > t.budget/2
		if t.mask.Load() > 0 && (full && items < t.maxItems/tooFewPart || t.oversized > round/2) {
			t.resample(t.mask.Load()>>1, t.budget*2)
		}
		t.oversized = 0
	}
}

// chooseStrategy switches to another strategy if its score is high enough. It needs
// mu.
func (t *Tuner) chooseStrategy() {
	now := int(t.current.Load())
	t.requests += float64(t.round)
	t.round = 0
	best, score := now, t.score[now]+minAdvantage*(t.requests-t.score[now])+1
	for i, s := range t.score {
		if s > score {
			best, score = i, s
		}
	}
	t.current.Store(int32(best))
	if best != now {
		t.patience = min(2*t.patience, maxPatience)
	} else {
		t.patience = max(patienceDecay*t.patience, 1)
	}
	memory := 1 - forgetRate/t.patience
	for i := range t.score {
		t.score[i] *= memory
	}
	t.requests *= memory
}

// resample changes which keys the shadows see, and their budgets to match. So the
// sample fits the cache, whatever the size of its items. It needs mu.
func (t *Tuner) resample(mask uint64, budget int64) {
	t.mask.Store(mask)
	t.budget = budget
	for _, s := range t.shadows {
		s.SetBudget(budget)
		for _, e := range s.Items() {
			if !t.isSampled(e.hash) {
				s.Remove(e)
			}
		}
		s.Rebuild()
	}
}
