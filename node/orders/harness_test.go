package orders

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"bramble/node/orders/draw"
)

// start is the moment at which the tests' sales open.
var start = time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)

// testBook drives a book, one command an Apply.
type testBook struct {
	t     testing.TB
	book  *Book
	now   time.Time
	index uint64
	op    uint64
	id    ID
}

func newTestBook(t testing.TB) *testBook {
	t.Helper()
	return &testBook{t: t, book: openBook(t), now: start}
}

func openBook(t testing.TB) *Book {
	t.Helper()
	b, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (d *testBook) do(c Command) Answer {
	d.t.Helper()
	if err := c.Check(); err != nil {
		d.t.Fatalf("%T: %v", c, err)
	}
	return d.apply(c.Encode())
}

func (d *testBook) apply(data []byte) Answer {
	d.t.Helper()
	d.index++
	replies, err := d.book.Apply(d.index, d.now, [][]byte{data})
	if err != nil {
		d.t.Fatal(err)
	}
	a, err := DecodeAnswer(replies[0])
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

// want is do with an expected outcome.
func (d *testBook) want(o Outcome, c Command) Answer {
	d.t.Helper()
	a := d.do(c)
	if a.Outcome != o {
		d.t.Fatalf("%T: %v, want %v", c, a.Outcome, o)
	}
	return a
}

func (d *testBook) by() Operation {
	d.op++
	return Operation{Operator: "Ada", OpID: d.op}
}

func (d *testBook) newID() ID {
	d.id++
	return d.id * 7919
}

// ticks sends Ticks until none is due.
func (d *testBook) ticks() {
	d.t.Helper()
	for range 10_000 {
		at, ok := d.book.Due()
		if !ok || at.After(d.now) {
			return
		}
		d.want(Done, Tick{})
	}
	d.t.Fatal("a Tick is due forever")
}

func (d *testBook) order(id ID) Order {
	d.t.Helper()
	p, err := d.book.Order(id)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

func (d *testBook) sale() Sale {
	d.t.Helper()
	s, ok := d.book.Sale("pi")
	if !ok {
		d.t.Fatal("no sale")
	}
	return s
}

func (d *testBook) recount() {
	d.t.Helper()
	if err := d.book.Recount(); err != nil {
		d.t.Fatal(err)
	}
}

// someOffer is a first-come sale of 3 units, 2 a person, with a waiting list.
func (d *testBook) someOffer() Offer {
	return Offer{
		Operation: d.by(), Product: "pi", Mode: FirstCome, Stock: 3, Limit: 2,
		Opens: start, WaitingList: true, Price: 35_00, Currency: "USD",
		Countries: []Country{{Code: "GB", Shipping: 4_00, Tax: 20_00}, {Code: "DE", Shipping: 8_00}},
		Webhook:   true, FulfilmentDelay: time.Hour, Mail: true,
	}
}

// ballotOffer is a ballot of an hour.
func (d *testBook) ballotOffer() Offer {
	o := d.someOffer()
	o.Mode = Ballot
	o.Closes = start.Add(time.Hour)
	o.Secret = [32]byte{1, 2, 3}
	o.PublicKind = draw.None
	return o
}

// person number n, each at an address of their own, in Germany.
func person(n int) Person {
	return Person{
		Name: fmt.Sprintf("Person %d", n), Email: fmt.Sprintf("person%d@example.org", n),
		Line1: fmt.Sprintf("%d Hedgerow Lane", n), City: "Cambridge", Postcode: "CB1 2AB", Country: "DE",
	}
}

// newOrder returns a PlaceOrder of person n for one unit.
func (d *testBook) newOrder(n int, k Kind) PlaceOrder {
	return PlaceOrder{ID: d.newID(), Product: "pi", Kind: k, Quantity: 1, Total: 43_00, Currency: "USD", Person: person(n)}
}

func (c PlaceOrder) of(quantity int) PlaceOrder {
	c.Quantity = quantity
	c.Total = 35_00*int64(quantity) + 8_00
	return c
}

// dump returns the whole content of a book.
func dump(t testing.TB, b *Book) []byte {
	t.Helper()
	s, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var to bytes.Buffer
	if _, err := s.WriteTo(&to); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}
