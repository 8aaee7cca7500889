package shop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bramble/node/orders"
)

// alwaysTaken is an order book that takes everything at no cost.
type alwaysTaken struct{ *fakeDesk }

func (alwaysTaken) PlaceOrder(_ context.Context, a orders.PlaceOrder) (orders.Answer, error) {
	return orders.Answer{Outcome: orders.Placed, Order: a.ID}, nil
}

// BenchmarkPlace is what an order costs in the shop: the form read and checked, and the
// way to the receipt.
func BenchmarkPlace(b *testing.B) {
	x := openSale(b, nil)
	x.Shop.desk = alwaysTaken{x.desk}
	body := x.fields().Encode()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", boardPath+"/place", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		x.ServeHTTP(w, r)
		if w.Code != http.StatusSeeOther {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkReceipt is what a receipt costs.
func BenchmarkReceipt(b *testing.B) {
	x := openSale(b, nil)
	path := x.mustPlaceOrder(b)
	b.ReportAllocs()
	for b.Loop() {
		if w := request(x.Shop, "GET", path); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkNew is what it costs to start, the measuring of every page included.
func BenchmarkNew(b *testing.B) {
	x := openSale(b, nil)
	for b.Loop() {
		if _, err := New(x.cat, Options{Orders: x.desk}); err != nil {
			b.Fatal(err)
		}
	}
}
