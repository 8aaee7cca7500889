package evict

import (
	"sync"
	"sync/atomic"
)

// way is how a policy shares out its room.
type way struct {
	share int64 // percent of the room that probation may take
	hit   worth
	eager bool // the request that brought an item in counts in its contest
}

// worth is what a hit in probation does for an item that reaches its end.
type worth uint8

const (
	counts  worth = iota // one more request in the contest for main
	moves                // it moves to main, whatever has to go for it
	returns              // the same, and what comes back after it was pushed out goes straight to main
	stays                // it goes round probation once more: least recently used goes first
)

// ways are those that the tuner chooses from. Each was the best of all that were
// tried on some workload; DESIGN.md of cache has the measurements.
//   - 1 stays: almost all by frequency. Loops, scans, what never changes.
//   - 10 counts, 10 moves: W-TinyLFU as it is known, and quicker to believe.
//   - 10 stays, eager: large rooms, where most comes back once or twice at all and
//     what is old would stay for good.
//   - 30 moves: like 2Q. Favourites that change.
//   - 30 stays: bursts, then never again.
//   - 30 returns: likewise, if they change seldom and together.
//   - 100 stays: least recently used.
var ways = [...]way{
	{1, stays, false}, {10, counts, false}, {10, moves, false}, {10, stays, true},
	{30, moves, false}, {30, stays, false}, {30, returns, false}, {100, stays, false},
}

const (
	// firstWay is the way before anything is known.
	firstWay = 1
	// forgets is the part of each shadow's score that a round takes away, divided
	// by the tuner's patience. A change doubles its patience, up to mostPatience,
	// and each round without one leaves calm of it. Where ways lead by turns, who
	// looks back far takes the one that is good on the whole; to run after the
	// leader lost 7 points of a zigzag's 19.
	forgets      = 0.1
	mostPatience = 16
	calm         = 0.99
	// advantage is what part of the present way's misses another way must have
	// hit before it is taken. Each change costs hits until the lists have
	// followed: a third of this lost two points where day and night differ.
	advantage = 0.03
	// leastRound is the least number of sampled requests between two decisions.
	leastRound = 200
	// pending bounds the sampled hits that wait to be shown to the shadows. If
	// more come before the next sampled miss, the oldest are forgotten.
	pending = 256
	// tooFew: shadows that are full with less than this part of their items, an
	// eighth, are shown more keys. So are shadows too small for most of what is
	// asked for.
	tooFew = 8
	// ShadowItemCost is what an item in a shadow takes, in bytes: the item, its
	// list node, its map slot and its part of the sketch.
	ShadowItemCost = 260
	// MaxShadow is as many items as a shadow needs to tell the ways apart;
	// twice as many decided no better.
	MaxShadow = 512
)

// Ways is the number of shadows that a tuner runs.
const Ways = len(ways)

// Tuner finds the best of a few ways for the requests as they come. It shows a
// sample of the keys, chosen by their hash, to one small shadow policy for each
// way, whose room is the same part of the whole as the sample is of all keys. The
// shadows hold no content. As all see the same requests, a difference between
// them is the ways' doing, not the hour's: that is what trying one way after the
// other cannot tell apart.
//
// All methods may be called concurrently.
type Tuner struct {
	way   atomic.Int32 // index in ways
	mask  atomic.Uint64
	next  atomic.Uint32
	queue [pending]struct {
		hash atomic.Uint64
		cost atomic.Int64
	}

	mu sync.Mutex
	// Guarded by mu.
	shadows  [Ways]*Policy[struct{}]
	score    [Ways]float64 // hits, the older the less they count
	requests float64       // in the same way
	patience float64       // what forgets is divided by
	round    int           // requests since the last decision
	misfits  int           // requests for what is larger than a shadow, likewise
	seen     uint32        // of next
	budget   int64
	most     int // items a shadow may hold
}

// NewTuner makes one for a cache of budget bytes in all, whose shadows hold at
// most about most items each.
func NewTuner(budget int64, most int) *Tuner {
	t := &Tuner{budget: budget, most: max(most, 16), patience: 1}
	t.way.Store(firstWay)
	for i := range t.shadows {
		t.shadows[i] = New[struct{}](budget, t.most, nil, nil)
		t.shadows[i].way = ways[i]
	}
	return t
}

// sampled picks keys by bits that neither shards nor sketches use by themselves.
func (t *Tuner) sampled(hash uint64) bool {
	return hash*0x9e3779b97f4a7c15>>40&t.mask.Load() == 0
}

// hit notes a hit. Nobody waits: the shadows see it at the next miss.
func (t *Tuner) hit(hash uint64, cost int64, times int) {
	if !t.sampled(hash) {
		return
	}
	for range min(times, pending) {
		slot := &t.queue[(t.next.Add(1)-1)%pending]
		slot.hash.Store(hash)
		slot.cost.Store(cost) // one that another hit overtook has a wrong cost: no harm
	}
}

// miss notes a miss and gives the way to go from here.
func (t *Tuner) miss(hash uint64, cost int64) way {
	if t.sampled(hash) {
		t.mu.Lock()
		t.catchUp()
		t.ask(hash, cost)
		t.mu.Unlock()
	}
	return ways[t.way.Load()]
}

// catchUp shows the shadows the hits since the last miss. It needs mu.
func (t *Tuner) catchUp() {
	next := t.next.Load()
	if next-t.seen > pending {
		t.seen = next - pending
	}
	for ; t.seen != next; t.seen++ {
		slot := &t.queue[t.seen%pending]
		if cost := slot.cost.Load(); cost > 0 {
			t.ask(slot.hash.Load(), cost)
		}
	}
}

// ask makes one request of every shadow. It needs mu.
func (t *Tuner) ask(hash uint64, cost int64) {
	items := 0
	for i, s := range t.shadows {
		if e := s.Peek(hash); e != nil {
			e.touch(1)
			t.score[i]++
		} else {
			s.Add(NewItem(hash, cost, struct{}{}))
		}
		items = max(items, s.Len())
	}
	if items > t.most {
		t.sample(t.mask.Load()<<1|1, t.budget/2)
	}
	if cost > t.budget {
		t.misfits++
	}
	if t.round++; t.round >= max(leastRound, items) {
		round := t.round
		t.decide()
		full := t.shadows[0].Used() > t.budget/2
		if t.mask.Load() > 0 && (full && items < t.most/tooFew || t.misfits > round/2) {
			t.sample(t.mask.Load()>>1, t.budget*2)
		}
		t.misfits = 0
	}
}

// decide takes another way if it has earned enough. It needs mu.
func (t *Tuner) decide() {
	now := int(t.way.Load())
	t.requests += float64(t.round)
	t.round = 0
	best, score := now, t.score[now]+advantage*(t.requests-t.score[now])+1
	for i, s := range t.score {
		if s > score {
			best, score = i, s
		}
	}
	t.way.Store(int32(best))
	if best != now {
		t.patience = min(2*t.patience, mostPatience)
	} else {
		t.patience = max(calm*t.patience, 1)
	}
	memory := 1 - forgets/t.patience
	for i := range t.score {
		t.score[i] *= memory
	}
	t.requests *= memory
}

// sample has the shadows see other keys, and sets their rooms to match. So the
// sample fits the cache, whatever the size of its items. It needs mu.
func (t *Tuner) sample(mask uint64, budget int64) {
	t.mask.Store(mask)
	t.budget = budget
	for _, s := range t.shadows {
		s.SetBudget(budget)
		for _, e := range s.Items() {
			if !t.sampled(e.hash) {
				s.Remove(e)
			}
		}
		s.Rebuild()
	}
}
