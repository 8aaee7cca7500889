package cache

import (
	"context"
	"runtime"
	"runtime/metrics"
	"time"
)

// The store counts the memory that its objects take. Go does not move objects, so an
// evicted object is garbage until the next collection and then leaves a gap between
// those that stay. Garbage and gaps must fit the tenth by which the heap may exceed
// the budget. So the store runs the collector when that tenth is used up, not when
// the heap has doubled: gaps are filled while they are few. The room for objects
// shrinks by the gaps that are left after that.

const (
	// checkPart: the heap is checked each time a thirty-second of the budget has
	// been stored. A collection marks every object, and this limits how often one
	// runs.
	checkPart = 32
	// maxHeapPercent limits objects, gaps and garbage together, in percent of the
	// budget. The rest of the promised 110 is the store's possible miscount
	// (live/counted in TestHeapWithinBudget).
	maxHeapPercent = 108
	// collectPercent is the heap, in percent of the budget, from which garbage is
	// collected: early, so that new objects find gaps to fill.
	collectPercent = 105
	// roomStep: while the heap is not too large, each check tries a 1024th of the
	// budget more room. Objects that fill gaps do not enlarge the heap, and whether
	// they did is seen only afterwards. Each step too far ends in evictions: with
	// steps four times as large a steady crowd had half a point fewer hits.
	roomStep = 1024
	// overStep: each check takes away a quarter of the excess. Evictions leave gaps
	// first, so the effect of taking all of it at once would be seen too late.
	overStep = 4
	// minRoomPercent of the budget always stays to the store: a shard must have room
	// for an object of the largest size, which may be a quarter of the shard
	// (objectsPerShard).
	minRoomPercent = 33
	// maxStuckChecks is the number of consecutive checks that may find the heap over its limit
	// at the minimum room before the store is emptied. A few old objects can each
	// pin a whole span, and only dropping everything frees them; a limit that yields
	// to changing object sizes is not a limit. On 32 bits, where small objects are
	// smaller still, this was seen with all of 10 bytes, then 1,000, then 5,000.
	maxStuckChecks = 4
	// restFactor: after a rebalance the store waits nine times as long as it took.
	// So a board that stores as fast as its network brings pages spends at most a
	// tenth of its time on this. Meanwhile gaps may exceed their limit until fewer
	// new pages are requested; the runtime's own memory limit stands behind.
	restFactor = 9
)

// heapSizes are the runtime's figures for the process's heap, in bytes.
type heapSizes struct {
	objects int64 // live, and garbage that is not swept yet
	gaps    int64 // free space in spans that hold objects
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

// shareOfGaps is the store's share of the gaps, if used bytes of the objects are its
// own and there is no garbage: proportional to its live bytes.
func (h heapSizes) shareOfGaps(used int64) int64 {
	if used >= h.objects {
		return h.gaps
	}
	return int64(float64(h.gaps) * float64(used) / float64(h.objects))
}

// nextRoom is the part of the budget that the store may use from now on. It had
// room, has used some of it, and waste is the garbage and the gaps. Too much
// together costs room, check after check if need be: a span is free only when its
// last object has gone.
func nextRoom(budget, room, used, waste int64) int64 {
	taken := used + waste
	if over := taken - percentOf(budget, maxHeapPercent); over > 0 {
		return max(min(room, used)-over/overStep, percentOf(budget, minRoomPercent))
	}
	spare := max(percentOf(budget, collectPercent)-taken, 0)
	return min(room+spare+budget/roomStep, budget)
}

func percentOf(n int64, share int64) int64 { return n/100*share + n%100*share/100 }

// GovernHeap keeps the cache's share of the heap within 1.1 times the budget, until
// ctx ends; run it in a goroutine of its own. It runs the garbage collector when a
// part of the budget has been stored and the heap has grown too large; a cache that
// only answers from memory is left alone.
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

// noteStored counts stored bytes and requests a rebalance when one is due.
func (s *store) noteStored(bytes int64) {
	if s.sinceCheck.Add(bytes) < s.budget/checkPart {
		return
	}
	select {
	case s.checkDue <- struct{}{}:
	default: // requested already
	}
}

// rebalance collects garbage if the heap is too large with it, and adjusts the room
// for objects to the gaps that are left.
func (s *store) rebalance() {
	s.rebalancing.Lock()
	defer s.rebalancing.Unlock()
	s.sinceCheck.Store(0)
	used, h := s.usedBytes(), readHeap()
	waste := h.objects + h.gaps - s.otherHeap - used
	if used+waste > percentOf(s.budget, collectPercent) {
		runtime.GC() // returns when everything is swept
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

// usedBytes is the store's own count, bookkeeping included.
func (s *store) usedBytes() int64 {
	_, bytes := s.sumTotals()
	return s.fixed + bytes
}

// distributeRoom divides the room among the shards as the budget was, and evicts the
// excess. It needs rebalancing.
func (s *store) distributeRoom() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		most := int64(float64(sh.share)*float64(s.room)/float64(s.budget)) - sh.policy.Overhead()
		sh.policy.SetBudget(most)
		if sh.policy.Used() > most {
			e := sh.policy.Items()[0]
			sh.policy.Resize(e, e.Cost()) // makes room
		}
		sh.publishTotals()
		sh.mu.Unlock()
	}
}
