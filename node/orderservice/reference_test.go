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

// The link that confirms an order is not the receipt's, which the session that sent the form has.
func TestAConfirmationIsSignedApart(t *testing.T) {
	s, _ := newTestService(t)
	s.submitFirstSecret(t.Context())
	link, receipt := s.SignConfirmation(7), s.Sign(7, false)
	if !s.VerifyConfirmation(7, link) || !s.withKeys("a third key").VerifyConfirmation(7, link) {
		t.Error("the link is not accepted on every board")
	}
	if s.VerifyConfirmation(7, receipt) || s.Verify(7, link) || s.VerifyConfirmation(8, link) || s.VerifyConfirmation(7, "") {
		t.Error("one link does the work of another")
	}
}
