package shop

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
)

// bookShop is a shop over a real order book.
type bookShop struct {
	*fakeOrderBook // signs, and has the clock
	t              testing.TB
	book           *orders.Book
	shop           *Shop
	index          uint64
	op             uint64
}

// newBookShop offers the first product of the catalogue, after change.
func newBookShop(t testing.TB, change func(*orders.Offer)) *bookShop {
	t.Helper()
	book, err := orders.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close() })
	cat := launch(t)
	o := cat.Offers()[0]
	o.Opens, o.Closes, o.Mail, o.WaitingList, o.LimitByAddress, o.Stock = opening, opening.Add(24*time.Hour), true, true, true, 10
	if change != nil {
		change(&o)
	}
	cat.Products[0].Mode, cat.Products[0].PerPerson = o.Mode, o.Limit
	b := &bookShop{fakeOrderBook: &fakeOrderBook{now: opening.Add(time.Hour)}, t: t, book: book}
	o.Operation = b.by()
	b.apply(o)
	if b.shop, err = New(cat, Options{Orders: b}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bookShop) by() orders.Operation {
	b.op++
	return orders.Operation{Operator: "Ada", OpID: b.op}
}

func (b *bookShop) apply(c orders.Command) orders.Answer {
	b.t.Helper()
	b.index++
	replies, err := b.book.Apply(b.index, b.now, orders.MaxRules, [][]byte{orders.Encode(c)})
	if err != nil {
		b.t.Fatal(err)
	}
	a, err := orders.DecodeAnswer(replies[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *bookShop) Sale(product string) (orders.Sale, bool) { return b.book.Sale(product) }
func (b *bookShop) News() []orders.News                     { return nil }

func (b *bookShop) PlaceOrder(_ context.Context, o orders.PlaceOrder) (orders.Answer, error) {
	return b.apply(o), nil
}

func (b *bookShop) ConfirmOrder(_ context.Context, id orders.ID) (orders.Outcome, error) {
	return b.apply(orders.Confirm{ID: id}).Outcome, nil
}

func (b *bookShop) OrdersOfMailbox(id orders.ID) (live, unconfirmed []orders.Order, err error) {
	return b.book.OrdersOfMailbox(id)
}

func (b *bookShop) Order(_ context.Context, id orders.ID) (orders.Order, int, error) {
	o, err := b.book.Order(id)
	return o, 0, err
}

// post sends a form for one person; pairs change it.
func (b *bookShop) post(email string, pairs ...string) *httptest.ResponseRecorder {
	x := shopTest{Shop: b.shop, book: b.fakeOrderBook}
	return x.postOrder(append([]string{"email", email, "line1", "1 Road of " + email, "token", newToken()}, pairs...)...)
}

// seenIn returns everything that a client sees of a reply, but for what it sent itself.
func seenIn(w *httptest.ResponseRecorder, sent ...string) string {
	text := fmt.Sprint(w.Code, " ", w.Header(), " ", w.Body)
	for _, s := range append(sent, hidden(w.Body.String())["token"]) {
		if s != "" {
			text = strings.ReplaceAll(text, s, strings.Repeat("x", len(s)))
		}
	}
	return text
}

// wantAlike compares whole replies to the same form for a person whom the shop knows and for one whom it does
// not, with addresses of one length.
func (b *bookShop) wantAlike(what string, pairs ...string) {
	b.t.Helper()
	known := seenIn(b.post("ada@example.org", pairs...), "ada@example.org")
	stranger := seenIn(b.post("eve@example.org", pairs...), "eve@example.org")
	if known != stranger {
		b.t.Errorf("%s: the reply tells whether the shop knows an address:\n%s\n%s", what, known, stranger)
	}
}

func TestFormsAreNoOracle(t *testing.T) {
	b := newBookShop(t, func(o *orders.Offer) { o.Stock, o.Limit = 3, 2 })
	path := b.post("ada@example.org").Header().Get("Location")
	if !strings.HasPrefix(path, "/r/") {
		t.Fatal("the order is not placed")
	}
	b.wantAlike("waiting while in stock", "kind", formWaiting)
	b.wantAlike("an entry", "kind", formEntry)
	b.wantAlike("interest", "kind", formInterest)
	b.wantAlike("another total", "agreed", "DE 1 1", "prices", "old")
	b.wantAlike("a country without delivery", "country", "ZZ")
	b.wantAlike("a mistake", "name", "")
	b.wantAlike("without a token", "token", "")
	b.apply(orders.Stock{Operation: b.by(), Product: slug, Delta: -1})
	b.wantAlike("more than is left", "quantity", "2", "shown", "DE")
	b.post("bob@example.org")
	for _, kind := range []string{formOrder, formEntry, formInterest} {
		for _, more := range []string{"", "yes"} {
			b.wantAlike("sold out, "+kind, "kind", kind, "more", more)
		}
	}
	b.apply(orders.CloseSale{Operation: b.by(), Product: slug})
	for _, kind := range []string{formOrder, formWaiting} {
		b.wantAlike("closed, "+kind, "kind", kind)
	}
	b.now = opening.Add(-time.Hour)
	b.wantAlike("before the opening")
}

// Whatever is guessed about somebody with an order, the answer is one: the right house number has the page of a
// wrong one, and the link is only in the owner's mail.
func TestAHouseNumberCannotBeGuessed(t *testing.T) {
	for _, limit := range []int{1, 3} {
		b := newBookShop(t, func(o *orders.Offer) { o.Limit = limit })
		path := b.post("ada@example.org", "line1", "151 Road").Header().Get("Location")
		b.apply(orders.FinishMail{ID: b.referenceOf(someToken), Kind: orders.JobMailPlaced})
		replies := map[string]bool{}
		for n := range 151 {
			line := fmt.Sprintf("%03d Road", n+1)
			w := b.post("ada@example.org", "line1", line)
			if strings.Contains(fmt.Sprint(w.Header(), w.Body), path) {
				t.Fatalf("house %d shows the receipt", n+1)
			}
			replies[seenIn(w, line)] = true
		}
		if len(replies) != 1 {
			t.Errorf("limit %d: 151 house numbers have %d different replies", limit, len(replies))
		}
		// A neighbour's address at its limit looks the same as a known person.
		more := []string{"line1", "151 Road", "more", "yes", "quantity", fmt.Sprint(limit), "shown", "DE"}
		known := seenIn(b.post("ada@example.org", more...), "ada@example.org")
		if near := seenIn(b.post("eve@example.org", more...), "eve@example.org"); known != near {
			t.Errorf("limit %d: a neighbour's reply differs:\n%s\n%s", limit, known, near)
		}
		jobs, err := b.book.Outbox(orders.QueueMail, b.now, orders.Job{}, 100)
		if err != nil || len(jobs) != 1 || jobs[0].Order.Person.Email != "ada@example.org" {
			t.Errorf("limit %d: %d mails, %v", limit, len(jobs), err)
		}
	}
}

// A wrong reference and a wrong link of a receipt look the same, for each of its pages.
func TestReceiptsAreNoOracle(t *testing.T) {
	b := newBookShop(t, nil)
	path := b.post("ada@example.org").Header().Get("Location")
	none := "/r/" + b.referenceOf(newToken()).String() + "/" + strings.Split(path, "/")[3]
	for _, page := range []string{"", ".json", "/cancel", "/order"} {
		wrong := path[:len(path)-1] + "z"
		one, other := request(b.shop, "GET", wrong+page), request(b.shop, "GET", none+page)
		if one.Code != 404 || seenIn(one) != seenIn(other) {
			t.Errorf("%s: %d and %d", page, one.Code, other.Code)
		}
		if page == "/cancel" || page == "/order" {
			x := shopTest{Shop: b.shop}
			if one, other := x.post(wrong+page, "sure=yes"), x.post(none+page, "sure=yes"); one.Code != 404 || seenIn(one) != seenIn(other) {
				t.Errorf("POST %s: %d and %d", page, one.Code, other.Code)
			}
		}
	}
}

// An invitation is accepted on its receipt only. A form with everything that it says gets what everybody gets.
func TestAnInvitationIsNoOracle(t *testing.T) {
	b := newBookShop(t, func(o *orders.Offer) { o.Stock = 1 })
	b.post("bob@example.org")
	path := b.post("ada@example.org", "kind", formWaiting).Header().Get("Location")
	b.apply(orders.Stock{Operation: b.by(), Product: slug, Delta: 1})
	b.apply(orders.Tick{})
	html := request(b.shop, "GET", path).Body.String()
	if !strings.Contains(html, "It is your turn") {
		t.Fatal(textOf(html))
	}
	b.wantAlike("an order by an invited person")
	w := (shopTest{Shop: b.shop}).post(path+"/order", "agreed="+strings.ReplaceAll(hidden(html)["agreed"], " ", "+"))
	if w.Code != 303 || w.Header().Get("Location") != path {
		t.Fatalf("accepting: %d %s", w.Code, textOf(w.Body.String()))
	}
	if sale, _ := b.book.Sale(slug); sale.Sold != 2 || sale.Held != 0 {
		t.Errorf("sold %d, held %d", sale.Sold, sale.Held)
	}
}
