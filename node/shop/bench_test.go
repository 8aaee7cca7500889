package shop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bramble/node/orders"
	"bramble/node/orders/draw"
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

// BenchmarkOwnPages is what each board makes once per lifetime: the page and the form after a change of the order
// book, and the file of a draw of 10,000 entries.
func BenchmarkOwnPages(b *testing.B) {
	x := openSale(b, func(p *Product) { p.Mode, p.Draw, p.Dice = orders.Ballot, draw.Dice, 20 })
	file := draw.File{Product: slug, Entries: make([]draw.Entry, 10_000)}
	for i := range file.Entries {
		file.Entries[i] = draw.Entry{Reference: "K7QM-2XD9-5VB", Quantity: 1}
	}
	x.book.files[slug] = file
	for _, page := range []string{"order", "draw", "draw.json", "verify"} {
		b.Run(page, func(b *testing.B) {
			for b.Loop() {
				clear(x.cachedPages)
				if w := request(x.Shop, "GET", boardPath+"/"+page); w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
