package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// One damaged byte anywhere in the mark leaves a good record: a new one, or the one before it.
func TestADamagedByteOfTheMark(t *testing.T) {
	for _, writes := range []int{0, 1, 2, 3} {
		path := filepath.Join(t.TempDir(), "mark")
		m, isNew, err := openMark(path)
		if err != nil || !isNew {
			t.Fatal(isNew, err)
		}
		for i := range writes {
			if err := m.set(logMark{index: uint64(i + 1), term: 1}, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := range good {
			b := append([]byte(nil), good...)
			b[at] ^= 0x10
			if _, got, ok := decodeMark(b); !ok || got.index+1 < uint64(writes) || got.index > uint64(writes) {
				t.Errorf("%d writes, byte %d damaged: %+v, %t", writes, at, got, ok)
			}
		}
	}
}

// FuzzMark: no bytes of a mark panic, and a mark that is read is what was written.
func FuzzMark(f *testing.F) {
	both := make([]byte, markSlots*sectorSize)
	copy(both, encodeMarkSlot(4, logMark{9, 2, 8}))
	copy(both[sectorSize:], encodeMarkSlot(5, logMark{10, 2, 9}))
	torn := slices.Clone(both)
	torn[sectorSize+3] ^= 1
	for _, b := range [][]byte{nil, both, torn, both[:sectorSize], both[:markSlotSize-1], make([]byte, 2*sectorSize)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		number, m, ok := decodeMark(b)
		if !ok {
			return
		}
		slot := encodeMarkSlot(number, m)
		if !bytes.Contains(b, slot) {
			t.Errorf("%x was read from %x, which does not have it", slot, b)
		}
	})
}
