package shop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bramble/node/orders"
)

// alwaysPlaced is an order book that accepts everything at no cost.
type alwaysPlaced struct{ *fakeOrderBook }

func (alwaysPlaced) PlaceOrder(_ context.Context, a orders.PlaceOrder) (orders.Answer, error) {
	return orders.Answer{Outcome: orders.Placed, Order: a.ID}, nil
}

// BenchmarkPlaceOrder is the shop's part of an order: reading and checking the form, and the
// redirect to the receipt.
func BenchmarkPlaceOrder(b *testing.B) {
	x := openSale(b, nil)
	x.Shop.orderService = alwaysPlaced{x.book}
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

// BenchmarkReceipt is one receipt.
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

// BenchmarkNew is the start of a shop, with the check of every page's size.
func BenchmarkNew(b *testing.B) {
	x := openSale(b, nil)
	for b.Loop() {
		if _, err := New(x.cat, Options{Orders: x.book}); err != nil {
			b.Fatal(err)
		}
	}
}
