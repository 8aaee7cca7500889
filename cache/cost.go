package cache

import (
	"sort"
	"time"
	"unsafe"
)

// The cost of an entry is computed: unsafe.Sizeof of its structs, which is right on 32
// and on 64 bit, each rounded up to the size class of Go's allocator.
// TestHeapWithinBudget compares the sum with the heap by the runtime's figures.

// listNode mirrors the node that simplelru allocates for each entry (its
// internal.Entry[uint64, *entry]).
type listNode struct {
	_, _, _ *listNode
	_       uint64
	_       *entry
	_       time.Time
	_       uint8
}

const (
	// mapSlot is the cost of an entry in the list's map: eight bytes of key, a
	// pointer and a control byte in a table that Go fills to 7/8 at most and
	// leaves 7/16 full after it has grown; twice that, since the slots of deleted
	// entries make a table grow once more than its entries alone would.
	mapSlot = 2 * (8 + int64(unsafe.Sizeof(uintptr(0))) + 1) * 16 / 7
	// pageSize is the runtime's: anything larger than the largest size class takes
	// full pages.
	pageSize = 8 << 10
)

// sizer rounds sizes up as the allocator does.
type sizer struct {
	classes []int // upper bounds, ascending
	entry   int64 // fixed cost of an entry: its struct, list node and map slot
	object  int64 // fixed cost of a variant
}

// maxClass is the size up to which Go's allocator has classes.
const maxClass = 32 << 10

// newSizer finds the runtime's size classes: append to a full slice grows to exactly
// the next class.
func newSizer() *sizer {
	s := &sizer{}
	for n := 1; n <= maxClass; n = s.classes[len(s.classes)-1] + 1 {
		s.classes = append(s.classes, cap(append([]byte(nil), make([]byte, n)...)))
	}
	s.entry = s.roundUp(int64(unsafe.Sizeof(entry{}))) + s.roundUp(int64(unsafe.Sizeof(listNode{}))) + mapSlot
	s.object = s.roundUp(int64(unsafe.Sizeof(Object{})))
	return s
}

// roundUp returns the heap memory that an allocation of n bytes takes.
func (s *sizer) roundUp(n int64) int64 {
	switch {
	case n <= 0:
		return 0
	case n > int64(s.classes[len(s.classes)-1]):
		return (n + pageSize - 1) / pageSize * pageSize
	}
	return int64(s.classes[sort.SearchInts(s.classes, int(n))])
}

// objectCost is the cost of an object without its entry.
func (s *sizer) objectCost(o *Object) int64 {
	n := s.object + s.roundUp(int64(max(len(o.head), len(o.prepared)))) + s.roundUp(int64(len(o.variantKey))) + s.roundUp(int64(len(o.tags)))
	n += s.roundUp(int64(len(o.body)) * int64(unsafe.Sizeof([]byte(nil))))
	for _, part := range o.body {
		n += s.roundUp(int64(cap(part)))
	}
	return n
}

// entryCost is the total cost of a key with these variants. Variants that share the
// key's bytes pay for them once.
func (s *sizer) entryCost(all variants) int64 {
	n := s.entry + s.roundUp(int64(cap(all))*int64(unsafe.Sizeof((*Object)(nil))))
	for i, o := range all {
		n += s.objectCost(o)
		if i == 0 || unsafe.StringData(o.key) != unsafe.StringData(all[0].key) {
			n += s.roundUp(int64(len(o.key)))
		}
	}
	return n
}
