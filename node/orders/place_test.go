package orders

import (
	"testing"
	"time"
)

// TestPlaceOrder has a row for each outcome of a PlaceOrder.
func TestPlaceOrder(t *testing.T) {
	soldOut := func(d *testBook) {
		d.want(Placed, d.newOrder(90, KindOrder).of(2))
		d.want(Placed, d.newOrder(91, KindOrder))
	}
	tests := []struct {
		name   string
		offer  func(*Offer)
		before func(*testBook)
		order  func(*testBook) PlaceOrder
		want   Outcome
		check  func(*testing.T, Answer)
		named  bool // the answer has an order though it placed none
	}{
		{name: "placed", order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder) }, want: Placed},
		{name: "no such sale", order: func(d *testBook) PlaceOrder { a := d.newOrder(1, KindOrder); a.Product = "other"; return a }, want: NoSuchSale},
		{
			name:   "the same again in other words",
			before: func(d *testBook) { d.want(Placed, d.newOrder(1, KindOrder)) },
			order: func(d *testBook) PlaceOrder {
				a := d.newOrder(1, KindOrder)
				a.Person.Email = "PERSON1+pi@Example.org"
				a.Person.Name = "PERSON  1"
				a.Person.Line1 = "1, hedgerow lane."
				a.Person.Postcode = "cb12ab"
				return a
			},
			want: Differs,
		},
		{
			name:   "another address",
			before: func(d *testBook) { d.want(Placed, d.newOrder(1, KindOrder)) },
			order: func(d *testBook) PlaceOrder {
				a := d.newOrder(1, KindOrder)
				a.Person.Line1 = "2 Hedgerow Lane"
				return a
			},
			want: Differs,
		},
		{
			name:   "another quantity",
			before: func(d *testBook) { d.want(Placed, d.newOrder(1, KindOrder)) },
			order:  func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder).of(2) },
			want:   Differs,
		},
		{
			name:   "more, with room",
			before: func(d *testBook) { d.want(Placed, d.newOrder(1, KindOrder)) },
			order:  func(d *testBook) PlaceOrder { a := d.newOrder(1, KindOrder); a.InAddition = true; return a },
			want:   Placed,
		},
		{
			name:   "more, without room",
			before: func(d *testBook) { d.want(Placed, d.newOrder(1, KindOrder)) },
			order:  func(d *testBook) PlaceOrder { a := d.newOrder(1, KindOrder).of(2); a.InAddition = true; return a },
			want:   Differs,
			check: func(t *testing.T, a Answer) {
				if a.Remaining != 0 {
					t.Errorf("the answer says that %d more would be allowed", a.Remaining)
				}
			},
		},
		{name: "more than the limit at once", order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder).of(3) }, want: OverLimit},
		{
			name:   "the same address by another person",
			offer:  func(o *Offer) { o.LimitByAddress = true },
			before: func(d *testBook) { d.want(Placed, d.newOrder(1, KindOrder).of(2)) },
			order: func(d *testBook) PlaceOrder {
				a := d.newOrder(1, KindOrder)
				a.Person.Email, a.Person.Name, a.Person.City = "other@example.org", "Other", "Camb"
				return a
			},
			want: Differs,
		},
		{name: "sold out", before: soldOut, order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder) }, want: SoldOut},
		{
			name:   "fewer left than requested",
			before: func(d *testBook) { d.want(Placed, d.newOrder(90, KindOrder).of(2)) },
			order:  func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder).of(2) },
			want:   SoldOut,
			check: func(t *testing.T, a Answer) {
				if a.Remaining != 1 || a.State != SaleInStock {
					t.Errorf("left %d, state %v", a.Remaining, a.State)
				}
			},
		},
		{
			name: "sold out comes before an existing order of another form",
			before: func(d *testBook) {
				d.want(Placed, d.newOrder(1, KindOrder))
				d.want(Placed, d.newOrder(2, KindOrder).of(2))
			},
			order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder) },
			want:  SoldOut,
		},
		{
			name:   "waiting",
			before: soldOut,
			order:  func(d *testBook) PlaceOrder { return d.newOrder(1, KindWaiting) },
			want:   Placed,
			check: func(t *testing.T, a Answer) {
				if a.Position != 1 {
					t.Errorf("position %d, want 1", a.Position)
				}
			},
		},
		{name: "waiting while in stock", order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindWaiting) }, want: WrongKind},
		{
			name: "waiting without a list", offer: func(o *Offer) { o.WaitingList = false }, before: soldOut,
			order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindWaiting) }, want: WrongKind,
		},
		{
			name: "free units are for people on the waiting list",
			before: func(d *testBook) {
				soldOut(d)
				d.want(Placed, d.newOrder(2, KindWaiting))
				d.want(Done, Stock{d.by(), "pi", 5})
			},
			order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder) },
			want:  SoldOut,
		},
		{
			name: "not open", offer: func(o *Offer) { o.Opens = start.Add(time.Minute) },
			order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder) }, want: NotOpen,
			check: func(t *testing.T, a Answer) {
				if !a.Opens.Equal(start.Add(time.Minute)) {
					t.Errorf("opens %v", a.Opens)
				}
			},
		},
		{
			name: "closed by the hour", offer: func(o *Offer) { o.Closes = start.Add(time.Minute) },
			before: func(d *testBook) { d.now = start.Add(time.Minute) },
			order:  func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder) }, want: Closed,
		},
		{
			name: "closed by hand", before: func(d *testBook) { d.want(Done, CloseSale{d.by(), "pi"}) },
			order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder) }, want: Closed,
		},
		{
			name: "the price has changed", order: func(d *testBook) PlaceOrder { a := d.newOrder(1, KindOrder); a.Total--; return a }, want: PriceChanged,
			check: func(t *testing.T, a Answer) {
				if a.Total != 43_00 {
					t.Errorf("total %d", a.Total)
				}
			},
		},
		{name: "no shipping", order: func(d *testBook) PlaceOrder { a := d.newOrder(1, KindOrder); a.Person.Country = "FR"; return a }, want: NoShipping},
		{name: "interest in what is in stock", order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindInterest) }, want: WrongKind},
		{
			name: "interest", offer: func(o *Offer) { o.Mode = Interest; o.Stock = 0 },
			order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindInterest) }, want: Placed,
		},
		{
			name: "an order in a sale that registers", offer: func(o *Offer) { o.Mode = Interest },
			order: func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder) }, want: WrongKind,
		},
		{
			name: "an ID in use",
			order: func(d *testBook) PlaceOrder {
				a := d.newOrder(1, KindOrder)
				d.want(Placed, a)
				a.Person = person(2)
				return a
			},
			want: IDInUse,
		},
		{
			name: "the same command again",
			order: func(d *testBook) PlaceOrder {
				a := d.newOrder(1, KindOrder)
				a.InAddition = true
				d.want(Placed, a)
				return a
			},
			want: AlreadyDone,
		},
		{
			name: "the same form, changed since",
			order: func(d *testBook) PlaceOrder {
				a := d.newOrder(1, KindOrder)
				d.want(Placed, a)
				return a.of(2)
			},
			want: Differs,
			check: func(t *testing.T, a Answer) {
				if a.Order == 0 {
					t.Error("it does not name the form's own order")
				}
			},
			named: true,
		},
		{
			name: "the same form after its order was cancelled, with no unit free",
			order: func(d *testBook) PlaceOrder {
				a := d.newOrder(1, KindOrder)
				d.want(Placed, a)
				d.want(Done, Cancel{ID: a.ID})
				for n := 2; d.sale().Free > 0; n++ {
					d.want(Placed, d.newOrder(n, KindOrder))
				}
				return a
			},
			want: AlreadyDone,
		},
		{
			name:   "again after cancelling",
			before: func(d *testBook) { a := d.newOrder(1, KindOrder); d.want(Placed, a); d.want(Done, Cancel{ID: a.ID}) },
			order:  func(d *testBook) PlaceOrder { return d.newOrder(1, KindOrder).of(2) },
			want:   Placed,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newTestBook(t)
			o := d.someOffer()
			if test.offer != nil {
				test.offer(&o)
			}
			d.want(Done, o)
			if test.before != nil {
				test.before(d)
			}
			a := d.want(test.want, test.order(d))
			if test.check != nil {
				test.check(t, a)
			}
			if (a.Order != 0) != (a.Outcome == Placed || a.Outcome == AlreadyDone || test.named) {
				t.Errorf("%v with order %v", a.Outcome, a.Order)
			}
			d.recount()
		})
	}
}

func TestTotal(t *testing.T) {
	s := Sale{Price: 35_00, Countries: []Country{{Code: "GB", Shipping: 4_00, Tax: 20_00}, {Code: "XX", Shipping: 1, Tax: 50}}}
	got, ok := s.Total("GB", 2)
	if want := (Split{Price: 70_00, Shipping: 4_00, Tax: 14_80, Total: 88_80, TaxRate: 20_00}); !ok || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// 3501 times half a percent is 17.505: half up.
	if got, _ := s.Total("XX", 1); got.Tax != 18 {
		t.Errorf("tax %d, want 18", got.Tax)
	}
	s = Sale{Price: MaxAmount, Countries: []Country{{Code: "XX", Shipping: MaxAmount, Tax: wholeTax}}}
	if got, _ := s.Total("XX", MaxLimit); got.Total != 2*(MaxLimit+1)*MaxAmount {
		t.Errorf("the largest total overflows: %+v", got)
	}
	if _, ok := s.Total("GB", 1); ok {
		t.Error("a country that is not there has a total")
	}
}
