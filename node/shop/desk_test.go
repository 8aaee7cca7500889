package shop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// fakeDesk is a small order book in memory. It knows enough rules for the shop's own
// tests: what a sale takes by its state, the same form twice, and stock.
type fakeDesk struct {
	mu     sync.Mutex
	now    time.Time
	sales  map[string]*orders.Sale
	papers map[orders.ID]orders.Order
	places map[orders.ID]int
	news   []orders.News
	files  map[string]draw.File
	asks   []orders.PlaceOrder
	fail   error // what Place and Paper return, if not nil
	// failCancel is what Cancel returns, if not nil.
	failCancel error
	forced     *orders.Answer // what Place answers, if not nil
}

func (d *fakeDesk) Sale(product string) (orders.Sale, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sales[product]
	if !ok {
		return orders.Sale{}, false
	}
	return *s, true
}

func (d *fakeDesk) News() []orders.News { return d.news }
func (d *fakeDesk) Now() time.Time      { return d.now }

func (d *fakeDesk) PlaceOrder(_ context.Context, a orders.PlaceOrder) (orders.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks = append(d.asks, a)
	if d.fail != nil {
		return orders.Answer{}, d.fail
	}
	if d.forced != nil {
		return *d.forced, nil
	}
	s := d.sales[a.Product]
	if s == nil {
		return orders.Answer{Outcome: orders.NoSuchSale}, nil
	}
	answer := orders.Answer{State: s.StateAt(d.now)}
	for id, p := range d.papers {
		if p.Product == a.Product && p.Person.Email == a.Person.Email && p.State == orders.StateOpen && (!a.More || id == a.ID) {
			answer.Outcome, answer.Order = orders.Differs, 0
			if p.Person == a.Person && p.Quantity == a.Quantity && p.Kind == a.Kind {
				answer.Outcome, answer.Order = orders.Same, id
			}
			return answer, nil
		}
	}
	switch {
	case answer.State == orders.SaleUpcoming:
		answer.Outcome, answer.Opens = orders.NotOpen, s.Opens
		return answer, nil
	case a.Kind == orders.KindOrder && answer.State == orders.SaleSoldOut, a.Kind == orders.KindOrder && s.Free < int64(a.Quantity):
		answer.Outcome, answer.Left = orders.SoldOut, int(s.Free)
		return answer, nil
	case a.Kind == orders.KindOrder:
		s.Free, s.Sold = s.Free-int64(a.Quantity), s.Sold+int64(a.Quantity)
	case a.Kind == orders.KindWaiting:
		s.Waiting++
		d.places[a.ID] = s.Waiting
	}
	s.Version++
	d.papers[a.ID] = orders.Order{ID: a.ID, Kind: a.Kind, Product: a.Product, Quantity: a.Quantity, Total: a.Total,
		Currency: a.Currency, Person: a.Person, Made: d.now, Changed: d.now, Ready: d.now.Add(time.Hour), State: orders.StateOpen}
	answer.Outcome, answer.Order, answer.State = orders.Placed, a.ID, s.StateAt(d.now)
	return answer, nil
}

func (d *fakeDesk) CancelOrder(_ context.Context, id orders.ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.papers[id]
	switch {
	case d.failCancel != nil:
		return d.failCancel
	case !ok:
		return orders.ErrNoOrder
	case !p.Cancellable():
		return orders.ErrTooLate
	}
	p.State, p.Changed = orders.StateCancelled, d.now
	if p.Kind == orders.KindWaiting || p.Kind == orders.KindInterest {
		p.State = orders.StateLeft
	}
	d.papers[id] = p
	return nil
}

func (d *fakeDesk) Order(_ context.Context, id orders.ID) (orders.Order, int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.papers[id]
	switch {
	case ok && errors.Is(d.fail, orders.ErrStale):
		return p, d.places[id], d.fail
	case d.fail != nil:
		return p, 0, d.fail
	case !ok:
		return p, 0, orders.ErrNoOrder
	}
	return p, d.places[id], nil
}

func (d *fakeDesk) Draw(product string) (draw.File, bool) {
	f, ok := d.files[product]
	return f, ok
}

func (d *fakeDesk) Sign(id orders.ID) string { return fmt.Sprintf("SIGNED%020X", uint64(id)*7919) }
func (d *fakeDesk) Verify(id orders.ID, sig string) bool {
	return sig == d.Sign(id)
}

const slug = "raspberry-pi-model-b"

// shopTest is a shop with a desk, and the desk.
type shopTest struct {
	*Shop
	desk *fakeDesk
	sale *orders.Sale
}

// openSale makes a shop whose one product is in its order book, on sale, with ten units. The
// catalogue may be changed before.
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
		sale.Draw = orders.DrawInfo{Commitment: strings.Repeat("c0ffee42", 8), PublicKind: o.PublicKind}
	}
	desk := &fakeDesk{now: opening, sales: map[string]*orders.Sale{slug: sale}, papers: map[orders.ID]orders.Order{},
		places: map[orders.ID]int{}, files: map[string]draw.File{}}
	s, err := New(cat, Options{Orders: desk})
	if err != nil {
		t.Fatal(err)
	}
	return shopTest{s, desk, sale}
}

// fields of a form that is fine, for one unit to Germany; pairs of name and value change it.
func (x shopTest) fields(pairs ...string) url.Values {
	o := x.takeSnapshot(x.desk.now).sales[0]
	v := url.Values{"kind": {formOrder}, "prices": {o.pricesMark()}, "name": {"Ada Lovelace"}, "email": {"ada@example.org"},
		"line1": {"12 St James's Square"}, "line2": {""}, "postcode": {"10115"}, "city": {"Berlin"}, "country": {"DE"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// post sends a form as a browser does on a page of the same site.
func (x shopTest) post(path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	x.ServeHTTP(w, r)
	return w
}

func (x shopTest) postOrder(pairs ...string) *httptest.ResponseRecorder {
	return x.post(boardPath+"/place", x.fields(pairs...).Encode())
}

// mustPlaceOrder places a form and gives the path of its receipt.
func (x shopTest) mustPlaceOrder(t testing.TB, pairs ...string) string {
	t.Helper()
	w := x.postOrder(pairs...)
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/r/") {
		t.Fatalf("%d to %q: %s", w.Code, w.Header().Get("Location"), textOf(w.Body.String()))
	}
	return w.Header().Get("Location")
}
