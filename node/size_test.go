//go:build unix && !race

package node_test

import "testing"

// Not under the race detector, which doubles the memory.
func TestIdleBoardIsSmall(t *testing.T) {
	r := startRack(t, 2, "")
	s, err := r.boards[0].snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range s.Boards {
		if b.Vitals.MemoryBytes <= 0 || b.Vitals.MemoryBytes >= 40<<20 {
			t.Errorf("%s uses %d MB idle, want less than 40", b.Name, b.Vitals.MemoryBytes>>20)
		}
		t.Logf("%s takes %d KB", b.Name, b.Vitals.MemoryBytes>>10)
	}
}
