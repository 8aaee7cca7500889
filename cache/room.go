package cache

import (
	"context"
	"runtime"
	"runtime/metrics"
	"time"
)

// A store counts what its objects take. Go does not move objects, so what was
// evicted leaves gaps between those that stay, and until the next collection it is
// in the heap itself. Both are kept within the tenth by which the heap may exceed
// the budget: the collector runs when that tenth is used up, not when the heap has
// doubled, so that gaps are filled while they are few; and what gaps are left after
// that comes out of the room that the objects have.

const (
	// checkPart is how much has to be stored between two looks at the heap: a
	// thirty-second of the budget. A collection marks every object, and this is
	// what bounds how often it does.
	checkPart = 32
	// maxHeapPercent is what objects, gaps and garbage may take together, in percent of
	// the budget. The rest of the promised 110 is what the store may be wrong by
	// (live/counted in TestHeapWithinBudget).
	maxHeapPercent = 108
	// collectPercent is from where the garbage is collected: early, so that what is
	// stored next finds gaps to fill.
	collectPercent = 105
	// roomStep is how much more room is tried for at each look while the heap is
	// not too large: what fills gaps does not make it larger, and whether it does
	// is only seen afterwards. A 1024th of the budget: each way up ends in evictions,
	// and with steps four times as large a steady crowd had half a point fewer hits.
	roomStep = 1024
	// overStep is the part of an excess that goes at each look: a quarter. What is
	// evicted leaves gaps first, and whoever took away the whole excess at once
	// would not see what that did before it was too much.
	overStep = 4
	// minRoomPercent is the part of the budget, in percent, that the store keeps
	// whatever the heap looks like: a shard must have place for an object of the
	// largest size, which may be a quarter of it (objectsPerShard).
	minRoomPercent = 33
	// maxStuckChecks is how many looks in a row may find the heap too large with the
	// least room there is. Then everything is dropped: old objects that hold a
	// span each are only got rid of with all others, and a bound that gives way
	// when sizes change is none. On 32 bits, where small objects are smaller
	// still, this was seen with all of 10 bytes, then 1,000, then 5,000.
	maxStuckChecks = 4
	// restFactor is how many times as long as settle took nothing is settled after
	// it: a board that stores as fast as its network brings pages gives at most a
	// tenth of its time to this. Gaps may pass their bound then until the crowd
	// asks for less that is new; the runtime's own limit stands behind.
	restFactor = 9
)

// heapSizes is what the runtime says of the process's heap, in bytes.
type heapSizes struct {
	objects int64 // live ones, and garbage that was not swept yet
	gaps    int64 // what the spans that hold objects take besides
}

// readHeap does not stop the world.
func readHeap() heapSizes {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(samples)
	return heapSizes{objects: int64(samples[0].Value.Uint64()), gaps: int64(samples[1].Value.Uint64())}
}

// shareOfGaps are the gaps that are due to the store, if used bytes of the
// objects are its own and there is no garbage: its share of all that lives.
func (h heapSizes) shareOfGaps(used int64) int64 {
	if used >= h.objects {
		return h.gaps
	}
	return int64(float64(h.gaps) * float64(used) / float64(h.objects))
}

// nextRoom is how much of the budget the store may use from now on, if it had room
// and used some of it, and so much is wasted on garbage and gaps. Too much together
// costs room, look after look if need be: a span is free only when the last object
// in it has gone.
func nextRoom(budget, room, used, waste int64) int64 {
	taken := used + waste
	if over := taken - percentOf(budget, maxHeapPercent); over > 0 {
		return max(min(room, used)-over/overStep, percentOf(budget, minRoomPercent))
	}
	spare := max(percentOf(budget, collectPercent)-taken, 0)
	return min(room+spare+budget/roomStep, budget)
}

func percentOf(n int64, share int64) int64 { return n/100*share + n%100*share/100 }

// GovernHeap keeps the heap that is due to the cache within a tenth more than the
// budget, until ctx ends: run it beside everything else. It runs the garbage
// collector when a part of the budget was stored and the heap has grown too large; a
// cache that only answers from memory is left alone.
func (c *Cache) GovernHeap(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.store.checkDue:
		}
		began := time.Now()
		c.store.rebalance()
		select {
		case <-ctx.Done():
			return
		case <-time.After(restFactor * time.Since(began)):
		}
	}
}

// noteStored notes that bytes were put in, and calls for settle when it is time.
func (s *store) noteStored(bytes int64) {
	if s.sinceCheck.Add(bytes) < s.budget/checkPart {
		return
	}
	select {
	case s.checkDue <- struct{}{}:
	default: // has been called
	}
}

// rebalance collects garbage if the heap is too large with it, and fits the room that
// objects have to the gaps that are left.
func (s *store) rebalance() {
	s.rebalancing.Lock()
	defer s.rebalancing.Unlock()
	s.sinceCheck.Store(0)
	used, h := s.usedBytes(), readHeap()
	waste := h.objects + h.gaps - s.otherHeap - used
	if used+waste > percentOf(s.budget, collectPercent) {
		runtime.GC() // comes back when everything is swept
		used, h = s.usedBytes(), readHeap()
		waste = h.shareOfGaps(used)
		s.otherHeap = max(h.objects+h.gaps-waste-used, 0)
	}
	if used+waste > percentOf(s.budget, maxHeapPercent) && s.room == percentOf(s.budget, minRoomPercent) {
		if s.stuckChecks++; s.stuckChecks >= maxStuckChecks {
			s.stuckChecks = 0
			s.dropAllMatching(func(*Object) bool { return true })
			runtime.GC()
			return
		}
	} else {
		s.stuckChecks = 0
	}
	if room := nextRoom(s.budget, s.room, used, waste); room != s.room {
		s.room = room
		s.distributeRoom()
	}
}

// usedBytes is what the store counts, with what it takes besides objects.
func (s *store) usedBytes() int64 {
	_, bytes := s.sumTotals()
	return s.fixed + bytes
}

// distributeRoom divides the room as the budget was, and evicts what is too much. It
// needs settling.
func (s *store) distributeRoom() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		most := int64(float64(sh.share)*float64(s.room)/float64(s.budget)) - sh.policy.Overhead()
		sh.policy.SetBudget(most)
		if sh.policy.Used() > most {
			e := sh.policy.Items()[0]
			sh.policy.Resize(e, e.Cost()) // which makes room
		}
		sh.publishTotals()
		sh.mu.Unlock()
	}
}
