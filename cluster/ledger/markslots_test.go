package ledger

import (
	"os"
	"path/filepath"
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
