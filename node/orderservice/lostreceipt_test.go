package orderservice

import (
	"errors"
	"strings"
	"testing"

	"bramble/node/orders"
)

// A signed receipt whose order is not in the book proves that an earlier ledger took it.
func TestAReceiptOfAnEarlierLedgerIsNoticed(t *testing.T) {
	s, _ := newTestService(t)
	const text = "an earlier ledger took it"
	if strings.Contains(strings.Join(s.Notices("b1"), "\n"), text) {
		t.Error("a notice without a reason")
	}
	if _, _, err := s.Order(t.Context(), orders.ID(12345)); !errors.Is(err, orders.ErrNoOrder) {
		t.Fatal(err)
	}
	if n := strings.Join(s.Notices("b1"), "\n"); !strings.Contains(n, text) || !strings.Contains(n, orders.ID(12345).String()) {
		t.Errorf("notices: %s", n)
	}
}
