package rackcache

import (
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// hotSlots is the number of counters for all keys: 16 KB. Keys that share a
	// counter become hot a little too easily, which costs only a copy.
	hotSlots = 4096
	// hotThreshold requests within hotSpan make a key worth a copy on a board that
	// does not own it: the second request shows that there will be more.
	hotThreshold = 2
	hotSpan      = 10 * time.Second
)

// hotKeys detects which keys of other boards are requested often enough for a copy
// here to pay. A slot holds the number of its time span in the upper half and the
// count in the lower half.
type hotKeys struct {
	start time.Time
	slots [hotSlots]atomic.Uint32
}

func newHotKeys(now time.Time) *hotKeys { return &hotKeys{start: now} }

// countRequest records one request for a key.
func (h *hotKeys) countRequest(key string, now time.Time) {
	slot := h.slotOf(key)
	span := h.spanAt(now)
	for {
		old := slot.Load()
		next := span<<16 | 1
		if old>>16 == span {
			if old&0xffff == 0xffff {
				return
			}
			next = old + 1
		}
		if slot.CompareAndSwap(old, next) {
			return
		}
	}
}

// isHot reports whether a key was requested at least hotThreshold times in this span.
func (h *hotKeys) isHot(key string, now time.Time) bool {
	old := h.slotOf(key).Load()
	return old>>16 == h.spanAt(now) && old&0xffff >= hotThreshold
}

func (h *hotKeys) slotOf(key string) *atomic.Uint32 {
	return &h.slots[xxhash.Sum64String(key)%hotSlots]
}

// spanAt returns the number of a span. It wraps after a week, which at worst
// mistakes one span for another.
func (h *hotKeys) spanAt(now time.Time) uint32 { return uint32(now.Sub(h.start)/hotSpan) & 0xffff }
