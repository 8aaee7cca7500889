package node

import (
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// hotSlots is how many counters stand for all keys: 16 KB. Keys that share
	// one are kept a little too easily, which costs a copy and no more.
	hotSlots = 4096
	// hotThreshold requests within hotSpan make a key worth a copy on a board that
	// does not own it: the second one shows that there will be more.
	hotThreshold = 2
	hotSpan      = 10 * time.Second
)

// hotKeys tells which of the keys that other boards own are asked for so often
// that a copy here pays. One counter a slot holds the span that it counts in
// its upper half and the count in its lower.
type hotKeys struct {
	birth time.Time
	slots [hotSlots]atomic.Uint32
}

func newHotKeys(now time.Time) *hotKeys { return &hotKeys{birth: now} }

// countRequest notes one request for a key.
func (h *hotKeys) countRequest(key string, now time.Time) {
	slot := h.slotOf(key)
	span := h.spanAt(now)
	for {
		was := slot.Load()
		is := span<<16 | 1
		if was>>16 == span {
			if was&0xffff == 0xffff {
				return
			}
			is = was + 1
		}
		if slot.CompareAndSwap(was, is) {
			return
		}
	}
}

// isHot reports whether a key was asked for at least hotEnough times in this span.
func (h *hotKeys) isHot(key string, now time.Time) bool {
	was := h.slotOf(key).Load()
	return was>>16 == h.spanAt(now) && was&0xffff >= hotThreshold
}

func (h *hotKeys) slotOf(key string) *atomic.Uint32 {
	return &h.slots[xxhash.Sum64String(key)%hotSlots]
}

// spanAt numbers the spans; it wraps after a week, which mistakes one span for another at worst.
func (h *hotKeys) spanAt(now time.Time) uint32 { return uint32(now.Sub(h.birth)/hotSpan) & 0xffff }
