package orderservice

import (
	"fmt"
	"strings"
	"testing"

	"bramble/node/orders"
)

// A product that the book refuses is named, is not offered again, leaves nothing in the audit trail, and does not
// keep the board from being ready.
func TestARefusedOfferIsNamedAndNotRepeated(t *testing.T) {
	s, l := newTestService(t)
	bad := berry()
	bad.Product, bad.Limit = "bad", 0
	s.cfg.Offers = append(s.cfg.Offers, bad)
	for range 3 {
		if !s.offerCatalogue(t.Context()) {
			t.Fatal("the catalogue is not complete")
		}
	}
	if got := s.Refused(); len(got) != 1 || !strings.Contains(got["bad"], "Limit is not 1 to") {
		t.Errorf("refused %v", got)
	}
	if !s.hasOffers() {
		t.Error("the board is not ready")
	}
	if l.index != 1 {
		t.Errorf("%d commands were submitted, want the berry's offer only", l.index)
	}
	if notices := strings.Join(s.Notices("b1"), "\n"); !strings.Contains(notices, "The product bad of the catalogue is not on sale: the catalogue's Limit") {
		t.Errorf("notices %s", notices)
	}
	by := orders.Operation{Operator: "Ada", OpID: 77}
	for _, c := range []orders.Command{orders.CloseSale{Operation: by, Product: "berry"}, orders.RetireSale{Operation: orders.Operation{Operator: "Ada", OpID: 78}, Product: "berry"}} {
		if a, err := s.submitUntilDecided(t.Context(), c); err != nil || a.Outcome != orders.Done {
			t.Fatalf("%T: %v, %v", c, a.Outcome, err)
		}
	}
	if got := s.Refused(); got["berry"] != "it is retired" {
		t.Errorf("refused %v", got)
	}
}

// A full book refuses the next product by name, and the board is ready without it.
func TestAFullBookIsFull(t *testing.T) {
	s, _ := newTestService(t)
	for n := range orders.MaxSales {
		o := berry()
		o.Product, o.OpID = fmt.Sprint("p", n), uint64(1000+n)
		if a, err := s.submitUntilDecided(t.Context(), o); err != nil || a.Outcome != orders.Done {
			t.Fatalf("product %d: %v, %v", n, a.Outcome, err)
		}
		if testing.Short() && n == 100 {
			t.Skip("filling the book takes seconds")
		}
	}
	if got := s.Refused(); !strings.Contains(got["berry"], "the order book is full: it has had 4096 products") || !s.hasOffers() {
		t.Errorf("refused %v", got)
	}
}
