//go:build unix && !race

package node_test

import "testing"

// The race detector, which keeps a shadow of all memory, has no part in this.
func TestAnIdleBoardIsSmall(t *testing.T) {
	r := startRack(t, 2, "")
	s, err := r.boards[0].snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range s.Boards {
		if b.Vitals.MemoryBytes <= 0 || b.Vitals.MemoryBytes >= 40<<20 {
			t.Errorf("%s takes %d MB idle, want less than 40", b.Name, b.Vitals.MemoryBytes>>20)
		}
		t.Logf("%s takes %d KB", b.Name, b.Vitals.MemoryBytes>>10)
	}
}
