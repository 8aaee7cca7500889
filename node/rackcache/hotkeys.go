package rackcache

import (
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// hotCounters is the number of counters for all keys: 16 KB. Keys that share a
	// counter become hot a little too easily, which costs only a copy.
	hotCounters = 4096
	// hotThreshold requests within hotSpan make a key worth a copy on a board that
	// does not own it: the second request shows that there will be more.
	hotThreshold = 2
	hotSpan      = 10 * time.Second
)

// hotKeys detects which keys of other boards are requested often enough for a copy
// here to pay. A counter holds the number of its time span in the upper half and the
// count in the lower half.
type hotKeys struct {
	start    time.Time
	counters [hotCounters]atomic.Uint32
}

func newHotKeys(now time.Time) *hotKeys { return &hotKeys{start: now} }

func (h *hotKeys) countRequest(key string, now time.Time) {
	counter := h.counterOf(key)
	span := h.spanAt(now)
	for {
		old := counter.Load()
		next := span<<16 | 1
		if old>>16 == span {
			if old&0xffff == 0xffff {
				return
			}
			next = old + 1
		}
		if counter.CompareAndSwap(old, next) {
			return
		}
	}
}

// isHot reports whether a key was requested at least hotThreshold times in this span.
func (h *hotKeys) isHot(key string, now time.Time) bool {
	old := h.counterOf(key).Load()
	return old>>16 == h.spanAt(now) && old&0xffff >= hotThreshold
}

func (h *hotKeys) counterOf(key string) *atomic.Uint32 {
	return &h.counters[xxhash.Sum64String(key)%hotCounters]
}

// spanAt returns the number of a span. It wraps after a week, which at worst
// mistakes one span for another.
func (h *hotKeys) spanAt(now time.Time) uint32 { return uint32(now.Sub(h.start)/hotSpan) & 0xffff }
