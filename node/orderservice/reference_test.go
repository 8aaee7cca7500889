package orderservice

import (
	"testing"

	"bramble/node/orders"
)

// Every board of a rack derives the same reference from a form, and a rack with another key another one.
func TestReferenceFollowsFromTheToken(t *testing.T) {
	s, _ := newTestService(t)
	board, other := s.withKeys(string(s.cfg.Keys[0])), s.withKeys("another rack's")
	seen := map[orders.ID]bool{}
	for _, product := range []string{"pi", "pi-b"} {
		for _, token := range []string{"0", "1"} {
			for attempt := range 3 {
				id := s.Reference(product, token, attempt)
				if !id.Valid() || id != board.Reference(product, token, attempt) || id == other.Reference(product, token, attempt) || seen[id] {
					t.Errorf("%s %s %d: %v", product, token, attempt, id)
				}
				seen[id] = true
			}
		}
	}
	// The ledger's own secret replaces the rack's key here too.
	before := s.Reference("pi", "0", 0)
	s.submitFirstSecret(t.Context())
	if after := s.Reference("pi", "0", 0); after == before || after != s.withKeys("a third key").Reference("pi", "0", 0) {
		t.Errorf("with the ledger's secret the reference is %v, before %v", after, before)
	}
}
