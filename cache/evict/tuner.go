package evict

import (
	"sync"
	"sync/atomic"
)

// strategy is how a policy shares out its room.
type strategy struct {
	share int64 // percent of the room that probation may take
	onHit promotion
	eager bool // the request that brought an item in counts in its contest
}

// promotion is what a hit in probation does for an item that reaches its end.
type promotion uint8

const (
	promoteByContest promotion = iota // one more request in the contest for main
	promoteAlways                     // it moves to main, whatever has to go for it
	promoteReturning                  // the same, and what comes back after it was pushed out goes straight to main
	stayInProbation                   // it goes round probation once more: least recently used goes first
)

// strategies are those that the tuner chooses from. Each was the best of all that were
// tried on some workload; DESIGN.md of cache has the measurements.
//   - 1 stays: almost all by frequency. Loops, scans, what never changes.
//   - 10 counts, 10 moves: W-TinyLFU as it is known, and quicker to believe.
//   - 10 stays, eager: large rooms, where most comes back once or twice at all and
//     what is old would stay for good.
//   - 30 moves: like 2Q. Favourites that change.
//   - 30 stays: bursts, then never again.
//   - 30 returns: likewise, if they change seldom and together.
//   - 100 stays: least recently used.
var strategies = [...]strategy{
	{1, stayInProbation, false}, {10, promoteByContest, false}, {10, promoteAlways, false}, {10, stayInProbation, true},
	{30, promoteAlways, false}, {30, stayInProbation, false}, {30, promoteReturning, false}, {100, stayInProbation, false},
}

const (
	// initialStrategy is the way before anything is known.
	initialStrategy = 1
	// forgetRate is the part of each shadow's score that a round takes away, divided
	// by the tuner's patience. A change doubles its patience, up to mostPatience,
	// and each round without one leaves calm of it. Where ways lead by turns, who
	// looks back far takes the one that is good on the whole; to run after the
	// leader lost 7 points of a zigzag's 19.
	forgetRate    = 0.1
	maxPatience   = 16
	patienceDecay = 0.99
	// minAdvantage is what part of the present way's misses another way must have
	// hit before it is taken. Each change costs hits until the lists have
	// followed: a third of this lost two points where day and night differ.
	minAdvantage = 0.03
	// minRound is the least number of sampled requests between two decisions.
	minRound = 200
	// pendingHits bounds the sampled hits that wait to be shown to the shadows. If
	// more come before the next sampled miss, the oldest are forgotten.
	pendingHits = 256
	// tooFewPart: shadows that are full with less than this part of their items, an
	// eighth, are shown more keys. So are shadows too small for most of what is
	// asked for.
	tooFewPart = 8
	// ShadowItemCost is what an item in a shadow takes, in bytes: the item, its
	// list node, its map slot and its part of the sketch.
	ShadowItemCost = 260
	// MaxShadow is as many items as a shadow needs to tell the ways apart;
	// twice as many decided no better.
	MaxShadow = 512
)

// StrategyCount is the number of shadows that a tuner runs.
const StrategyCount = len(strategies)

// Tuner finds the best of a few ways for the requests as they come. It shows a
// sample of the keys, chosen by their hash, to one small shadow policy for each
// way, whose room is the same part of the whole as the sample is of all keys. The
// shadows hold no content. As all see the same requests, a difference between
// them is the ways' doing, not the hour's: that is what trying one way after the
// other cannot tell apart.
//
// All methods may be called concurrently.
type Tuner struct {
	current atomic.Int32 // index in ways
	mask    atomic.Uint64
	next    atomic.Uint32
	queue   [pendingHits]struct {
		hash atomic.Uint64
		cost atomic.Int64
	}

	mu sync.Mutex
	// Guarded by mu.
	shadows   [StrategyCount]*Policy[struct{}]
	score     [StrategyCount]float64 // hits, the older the less they count
	requests  float64                // in the same way
	patience  float64                // what forgets is divided by
	round     int                    // requests since the last decision
	oversized int                    // requests for what is larger than a shadow, likewise
	seen      uint32                 // of next
	budget    int64
	maxItems  int // items a shadow may hold
}

// NewTuner makes one for a cache of budget bytes in all, whose shadows hold at
// most about most items each.
func NewTuner(budget int64, most int) *Tuner {
	t := &Tuner{budget: budget, maxItems: max(most, 16), patience: 1}
	t.current.Store(initialStrategy)
	for i := range t.shadows {
		t.shadows[i] = New[struct{}](budget, t.maxItems, nil, nil)
		t.shadows[i].strategy = strategies[i]
	}
	return t
}

// isSampled picks keys by bits that neither shards nor sketches use by themselves.
func (t *Tuner) isSampled(hash uint64) bool {
	return hash*0x9e3779b97f4a7c15>>40&t.mask.Load() == 0
}

// noteHit notes a hit. Nobody waits: the shadows see it at the next miss.
func (t *Tuner) noteHit(hash uint64, cost int64, times int) {
	if !t.isSampled(hash) {
		return
	}
	for range min(times, pendingHits) {
		slot := &t.queue[(t.next.Add(1)-1)%pendingHits]
		slot.hash.Store(hash)
		slot.cost.Store(cost) // one that another hit overtook has a wrong cost: no harm
	}
}

// noteMiss notes a miss and gives the way to go from here.
func (t *Tuner) noteMiss(hash uint64, cost int64) strategy {
	if t.isSampled(hash) {
		t.mu.Lock()
		t.catchUp()
		t.replayRequest(hash, cost)
		t.mu.Unlock()
	}
	return strategies[t.current.Load()]
}

// catchUp shows the shadows the hits since the last miss. It needs mu.
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

// replayRequest makes one request of every shadow. It needs mu.
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

// chooseStrategy takes another way if it has earned enough. It needs mu.
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

// resample has the shadows see other keys, and sets their rooms to match. So the
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
