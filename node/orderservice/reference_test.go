package orderservice

import (
	"errors"
	"fmt"
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
				id := s.newReference(product, token, attempt)
				if !id.Valid() || id != board.newReference(product, token, attempt) || id == other.newReference(product, token, attempt) || seen[id] {
					t.Errorf("%s %s %d: %v", product, token, attempt, id)
				}
				seen[id] = true
			}
		}
	}
	// The ledger's own secret replaces the rack's key here too.
	before := s.newReference("pi", "0", 0)
	s.submitFirstSecret(t.Context())
	if after := s.newReference("pi", "0", 0); after == before || after != s.withKeys("a third key").newReference("pi", "0", 0) {
		t.Errorf("with the ledger's secret the reference is %v, before %v", after, before)
	}
}

func (s *Service) newReference(product, token string, attempt int) orders.ID {
	id, _ := s.Reference(product, token, attempt)
	return id
}

// A form is the same order after new secrets as before: its reference is found under each secret, whatever became of the order. A
// form that made nothing gets the newest secret's.
func TestANewSecretDoesNotChangeAFormsOrder(t *testing.T) {
	s, l := newTestService(t)
	l.set(func() { l.leading = true })
	s.offerCatalogue(t.Context())
	s.submitFirstSecret(t.Context())
	made := map[string]orders.ID{}
	place := func(n int, token string) {
		t.Helper()
		o := testOrder(n)
		o.ID = s.newReference("berry", token, 0)
		if a, err := s.PlaceOrder(t.Context(), o); err != nil || a.Outcome != orders.Placed {
			t.Fatalf("%s: %+v, %v", token, a, err)
		}
		made[token] = o.ID
	}
	for step, c := range []struct {
		name    string
		revokes bool
		change  func(orders.ID) error
		ended   int // the orders whose links have ended, after the step
	}{
		{"a new secret", false, nil, 0},
		{"one more, and the order is cancelled", false, func(id orders.ID) error { return s.CancelOrder(t.Context(), id) }, 0},
		{"all links end", true, nil, 3},
		{"a new secret after the end", false, nil, 3},
		{"all end again, and the order is cancelled", true, func(id orders.ID) error { return s.CancelOrder(t.Context(), id) }, 5},
	} {
		token := fmt.Sprint("token ", step)
		if s.cfg.Book.Count() > 0 { // two units
			if err := s.CancelOrder(t.Context(), made[fmt.Sprint("token ", step-1)]); err != nil && !errors.Is(err, orders.ErrTooLate) {
				t.Fatal(err)
			}
		}
		place(step, token)
		if c.change != nil {
			if err := c.change(made[token]); err != nil {
				t.Fatal(err)
			}
		}
		fresh := s.newReference("berry", "no order", 0)
		if _, err := s.Operate(t.Context(), OperatorCommand{Action: "relink", Operator: "me", OpID: NewOpID(), Revoke: c.revokes}); err != nil {
			t.Fatal(err)
		}
		if again := s.newReference("berry", "no order", 0); again == fresh {
			t.Errorf("%s: the newest secret makes no references", c.name)
		}
		ended := 0
		for token, id := range made {
			again, hasEnded := s.Reference("berry", token, 0)
			if again != id || again != s.withKeys("a third key").newReference("berry", token, 0) {
				t.Errorf("%s: the form of %v is %v now", c.name, id, again)
			}
			if hasEnded {
				ended++
			}
		}
		if ended != c.ended {
			t.Errorf("%s: the links of %d orders have ended, want %d", c.name, ended, c.ended)
		}
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
