package orders

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
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
	rules uint32        // 0 = MaxRules
	ahead time.Duration // of most boards' own clocks
}

func newTestBook(t testing.TB) *testBook {
	t.Helper()
	return &testBook{t: t, book: openBook(t), now: start}
}

// maxOpenBooks bounds the books that a test has open at once. Each maps 256 MiB of an ARM's 3 GiB of addresses (initialMapSize), and as much
// again while it restores. A table's rows open theirs in subtests, so that each is closed with its row.
const maxOpenBooks = 6

// openBooks are the books of the running test. Tests of this package do not run at the same time.
var openBooks []*Book

func openBook(t testing.TB) *Book {
	t.Helper()
	openBooks = slices.DeleteFunc(openBooks, func(b *Book) bool { return b.db == nil })
	if len(openBooks) >= maxOpenBooks {
		t.Fatalf("%d books are open at once, and an ARM has no room for more: close some, or use subtests", len(openBooks))
	}
	b, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	openBooks = append(openBooks, b)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (t *testBook) do(c Command) Answer {
	t.t.Helper()
	if err := Check(c); err != nil {
		t.t.Fatalf("%T: %v", c, err)
	}
	return t.apply(Encode(c))
}

func (t *testBook) apply(data []byte) Answer {
	t.t.Helper()
	t.index++
	replies, err := t.book.Apply(t.index, t.now, cmp.Or(t.rules, MaxRules), [][]byte{data})
	if err != nil {
		t.t.Fatal(err)
	}
	a, err := DecodeAnswer(replies[0])
	if err != nil {
		t.t.Fatal(err)
	}
	return a
}

// want is do with an expected outcome.
func (t *testBook) want(o Outcome, c Command) Answer {
	t.t.Helper()
	a := t.do(c)
	if a.Outcome != o {
		t.t.Fatalf("%T: %v, want %v", c, a.Outcome, o)
	}
	return a
}

func (t *testBook) by() Operation {
	t.op++
	return Operation{Operator: "Ada", OpID: t.op}
}

func (t *testBook) newID() ID {
	t.id++
	return t.id * 7919
}

// tick returns the Tick that a leader would send now.
func (t *testBook) tick() Tick {
	c := Tick{Until: t.now, Boards: t.now.Add(t.ahead)}
	switch rules := cmp.Or(t.rules, MaxRules); {
	case rules < RestoreRules:
		return Tick{}
	case rules < TrustRules:
		c.Boards = time.Time{}
	}
	return c
}

// ticks sends Ticks until none is due.
func (t *testBook) ticks() {
	t.t.Helper()
	for range 10_000 {
		at, ok := t.book.Due()
		if !ok || at.After(t.now) {
			return
		}
		t.want(Done, t.tick())
	}
	t.t.Fatal("a Tick is due forever")
}

func (t *testBook) order(id ID) Order {
	t.t.Helper()
	p, err := t.book.Order(id)
	if err != nil {
		t.t.Fatal(err)
	}
	return p
}

func (t *testBook) sale() Sale {
	t.t.Helper()
	s, ok := t.book.Sale("pi")
	if !ok {
		t.t.Fatal("no sale")
	}
	return s
}

func (t *testBook) recount() {
	t.t.Helper()
	if err := t.book.recount(); err != nil {
		t.t.Fatal(err)
	}
}

// someOffer is a first-come sale of 3 units, 2 a person, with a waiting list.
func (t *testBook) someOffer() Offer {
	return Offer{
		Operation: t.by(), Product: "pi", Mode: FirstCome, Stock: 3, Limit: 2,
		Opens: start, WaitingList: true, Price: 35_00, Currency: "USD",
		Countries: []Country{{Code: "GB", Shipping: 4_00, Tax: 20_00}, {Code: "DE", Shipping: 8_00}},
		Webhook:   true, FulfilmentDelay: time.Hour, Mail: true, Invitations: InviteByHand,
	}
}

// ballotOffer is a ballot of an hour.
func (t *testBook) ballotOffer() Offer {
	o := t.someOffer()
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
func (t *testBook) newOrder(n int, k Kind) PlaceOrder {
	return PlaceOrder{ID: t.newID(), Product: "pi", Kind: k, Quantity: 1, Total: 43_00, Currency: "USD", Person: person(n)}
}

func (p PlaceOrder) of(quantity int) PlaceOrder {
	p.Quantity = quantity
	p.Total = 35_00*int64(quantity) + 8_00
	return p
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
