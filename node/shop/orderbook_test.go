package shop

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// fakeOrderBook is a small order book in memory with the rules that the shop's tests need:
// which form a state accepts, the same form twice, and stock.
type fakeOrderBook struct {
	mu        sync.Mutex
	now       time.Time
	sales     map[string]*orders.Sale
	orders    map[orders.ID]orders.Order
	places    map[orders.ID]int
	news      []orders.News
	pause     orders.Pause
	refused   bool
	files     map[string]draw.File
	submitted []orders.PlaceOrder
	fail      error // what PlaceOrder and Order return, if not nil
	// failCancel is what Cancel returns, if not nil.
	failCancel error
	forced     *orders.Answer // what Place answers, if not nil
	// endedTokens are those of forms whose orders' links have ended.
	endedTokens []string
}

func (b *fakeOrderBook) Sale(product string) (orders.Sale, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.sales[product]
	if !ok {
		return orders.Sale{}, false
	}
	return *s, true
}

func (b *fakeOrderBook) Pause() orders.Pause   { return b.pause }
func (b *fakeOrderBook) IsRefused(string) bool { return b.refused }
func (b *fakeOrderBook) News() []orders.News   { return b.news }
func (b *fakeOrderBook) Now() time.Time        { return b.now }

func (b *fakeOrderBook) PlaceOrder(_ context.Context, a orders.PlaceOrder) (orders.Answer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.submitted = append(b.submitted, a)
	if b.fail != nil {
		return orders.Answer{}, b.fail
	}
	if b.forced != nil {
		return *b.forced, nil
	}
	s := b.sales[a.Product]
	if s == nil {
		return orders.Answer{Outcome: orders.NoSuchSale}, nil
	}
	answer := orders.Answer{State: s.StateAt(b.now)}
	if p, ok := b.orders[a.ID]; ok {
		answer.Outcome = orders.IDInUse
		if p.Person == a.Person && p.Quantity == a.Quantity && p.Kind == a.Kind {
			answer.Outcome, answer.Order = orders.AlreadyDone, a.ID
		}
		return answer, nil
	}
	for id, p := range b.orders {
		if p.Product == a.Product && p.Person.Email == a.Person.Email && p.State == orders.StateOpen && !a.InAddition {
			answer.Outcome, answer.Order = orders.Differs, 0
			if p.Person == a.Person && p.Quantity == a.Quantity && p.Kind == a.Kind {
				answer.Outcome, answer.Order = orders.AlreadyDone, id
			}
			return answer, nil
		}
	}
	switch {
	case answer.State == orders.SaleUpcoming:
		answer.Outcome, answer.Opens = orders.NotOpen, s.Opens
		return answer, nil
	case a.Kind == orders.KindOrder && answer.State == orders.SaleSoldOut, a.Kind == orders.KindOrder && s.Free < int64(a.Quantity):
		answer.Outcome, answer.Remaining = orders.SoldOut, int(s.Free)
		return answer, nil
	case a.Kind == orders.KindOrder:
		s.Free, s.Sold = s.Free-int64(a.Quantity), s.Sold+int64(a.Quantity)
	case a.Kind == orders.KindWaiting:
		s.Waiting++
		b.places[a.ID] = s.Waiting
	}
	s.Version++
	split, _ := s.Total(a.Person.Country, a.Quantity)
	b.orders[a.ID] = orders.Order{Split: split, ID: a.ID, Kind: a.Kind, Product: a.Product, Quantity: a.Quantity, Total: a.Total,
		Currency: a.Currency, Person: a.Person, Made: b.now, Changed: b.now, Ready: b.now.Add(time.Hour), State: orders.StateOpen}
	answer.Outcome, answer.Order, answer.State = orders.Placed, a.ID, s.StateAt(b.now)
	return answer, nil
}

func (b *fakeOrderBook) CancelOrder(_ context.Context, id orders.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.orders[id]
	switch {
	case b.failCancel != nil:
		return b.failCancel
	case !ok:
		return orders.ErrNoOrder
	case !p.Cancellable():
		return orders.ErrTooLate
	}
	p.State, p.Changed = orders.StateCancelled, b.now
	if p.Kind == orders.KindWaiting || p.Kind == orders.KindInterest {
		p.State = orders.StateLeft
	}
	b.orders[id] = p
	return nil
}

func (b *fakeOrderBook) Order(_ context.Context, id orders.ID) (orders.Order, int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.orders[id]
	switch {
	case ok && errors.Is(b.fail, orders.ErrStale):
		return p, b.places[id], b.fail
	case b.fail != nil:
		return p, 0, b.fail
	case !ok:
		return p, 0, orders.ErrNoOrder
	}
	return p, b.places[id], nil
}

func (b *fakeOrderBook) Draw(product string) (draw.File, bool) {
	f, ok := b.files[product]
	return f, ok
}

func (b *fakeOrderBook) Sign(id orders.ID, isConfirmed bool) string {
	return fmt.Sprintf("SIGNED%020X", uint64(id)*7919) + mailboxMark(isConfirmed)
}

func mailboxMark(isConfirmed bool) string {
	if isConfirmed {
		return "M"
	}
	return ""
}

func (b *fakeOrderBook) Verify(id orders.ID, sig string) bool {
	return strings.TrimSuffix(sig, "M") == b.Sign(id, false)
}
func (b *fakeOrderBook) IsOfMailbox(sig string) bool { return strings.HasSuffix(sig, "M") }
func (b *fakeOrderBook) HasEnded(id orders.ID, sig string) bool {
	return sig == strings.Replace(b.Sign(id, false), "SIGNED", "ENDED", 1)
}

func (b *fakeOrderBook) SignConfirmation(id orders.ID) string { return "C" + b.Sign(id, false) }
func (b *fakeOrderBook) VerifyConfirmation(id orders.ID, sig string) bool {
	return sig == b.SignConfirmation(id)
}

func (b *fakeOrderBook) ConfirmOrder(context.Context, orders.ID) (orders.Outcome, error) {
	return orders.Done, b.fail
}

func (b *fakeOrderBook) OrdersOfMailbox(orders.ID) (live, unconfirmed []orders.Order, err error) {
	return nil, nil, b.fail
}

func (b *fakeOrderBook) Reference(product, token string, attempt int) (orders.ID, bool) {
	sum := sha256.Sum256(fmt.Append(nil, product, token, attempt))
	return orders.ID(binary.BigEndian.Uint64(sum[:])) & orders.MaxID, slices.Contains(b.endedTokens, token)
}

// referenceOf returns the reference of the order that a form with a token makes.
func (b *fakeOrderBook) referenceOf(token string) orders.ID {
	id, _ := b.Reference(slug, token, 0)
	return id
}

// someToken is the token of the tests' forms, if they do not say otherwise.
const someToken = "0123456789abcdef0123456789abcdef"

const slug = "raspberry-pi-model-b"

// shopTest is a shop with its order book.
type shopTest struct {
	*Shop
	book *fakeOrderBook
	sale *orders.Sale
}

// openSale makes a shop whose one product is in its order book, on sale, with ten units.
// change can change the product first.
func openSale(t testing.TB, change func(*Product)) shopTest {
	t.Helper()
	cat := launch(t)
	cat.Products[0].Closes = opening.Add(7 * 24 * time.Hour)
	cat.Products[0].WaitingList = true
	if change != nil {
		change(&cat.Products[0])
	}
	o := cat.Offers()[0]
	sale := &orders.Sale{Product: o.Product, Mode: o.Mode, Stock: 10, Free: 10, Limit: o.Limit, LimitByAddress: o.LimitByAddress,
		Opens: o.Opens, Closes: o.Closes, WaitingList: o.WaitingList, Price: o.Price, Currency: o.Currency,
		Countries: o.Countries, FulfilmentDelay: o.FulfilmentDelay, Version: 1}
	if o.Mode == orders.Ballot {
		sale.Draw = orders.DrawInfo{Version: 3, Commitment: strings.Repeat("c0ffee42", 8), PublicKind: o.PublicKind, Dice: o.Dice}
	}
	book := &fakeOrderBook{now: opening, sales: map[string]*orders.Sale{slug: sale}, orders: map[orders.ID]orders.Order{},
		places: map[orders.ID]int{}, files: map[string]draw.File{}}
	s, err := New(cat, Options{Orders: book})
	if err != nil {
		t.Fatal(err)
	}
	return shopTest{s, book, sale}
}

// fields returns a valid form for one unit to Germany; pairs of name and value change it.
func (s shopTest) fields(pairs ...string) url.Values {
	o := s.readPageState(s.book.now).sales[0]
	v := url.Values{"kind": {formOrder}, "token": {someToken}, "prices": {o.pricesHash()}, "name": {"Ada Lovelace"}, "email": {"ada@example.org"},
		"line1": {"12 St James's Square"}, "line2": {""}, "postcode": {"10115"}, "city": {"Berlin"}, "country": {"DE"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// post sends a form as a browser does on a page of the same site.
func (s shopTest) post(path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func (s shopTest) postOrder(pairs ...string) *httptest.ResponseRecorder {
	return s.post(boardPath+"/place", s.fields(pairs...).Encode())
}

// mustPlaceOrder sends a form and returns the path of its receipt.
func (s shopTest) mustPlaceOrder(t testing.TB, pairs ...string) string {
	t.Helper()
	w := s.postOrder(pairs...)
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/r/") {
		t.Fatalf("%d to %q: %s", w.Code, w.Header().Get("Location"), textOf(w.Body.String()))
	}
	return w.Header().Get("Location")
}
