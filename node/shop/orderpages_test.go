package shop

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// shownPage is a page that a shop with an order book has sent.
type shownPage struct {
	name string
	html string
}

var longText = strings.Repeat(`"Ö& `, 60)

// orderBookPages returns all pages of a shop with an order book in all states, including
// those about problems.
func orderBookPages(t *testing.T) []shownPage {
	var list []shownPage
	add := func(name string, w *httptest.ResponseRecorder) {
		t.Helper()
		if html := w.Body.String(); strings.Contains(html, "<html") && w.Code < 500 || w.Code == 503 {
			list = append(list, shownPage{fmt.Sprintf("%s %d", name, w.Code), html})
			return
		}
		t.Errorf("%s: %d %s", name, w.Code, w.Body)
	}
	get := func(x shopTest, name string, paths ...string) {
		for _, path := range paths {
			add(name+" "+path, request(x.Shop, "GET", path))
		}
	}
	pages := []string{"/", boardPath, boardPath + "/order", boardPath + "/order?country=DE", boardPath + "/order?country=other", "/status"}

	for _, mode := range []orders.Mode{orders.FirstCome, orders.Ballot, orders.Interest} {
		several := func(p *Product) {
			p.Mode, p.WaitingList, p.PerPerson = mode, mode != orders.Interest, 3
			if mode == orders.Ballot {
				p.Draw = draw.Dice
			}
		}
		x := openSale(t, several)
		x.book.news = []orders.News{{At: opening, Text: "A second batch of 2,000 comes on Friday."}}
		name := mode.String()
		if mode == orders.Ballot {
			get(x, name, boardPath+"/draw")
		}
		get(x, name+" open", pages...)
		x.book.now = opening.Add(-time.Hour)
		get(x, name+" upcoming", pages...)
		x.book.now = x.sale.Closes
		get(x, name+" after the close", pages...)
		if mode == orders.Ballot {
			get(x, name+" over", boardPath+"/draw", boardPath+"/draw.json")
			x.sale.Draw.At = x.sale.Closes.Add(time.Minute)
			x.book.files[slug] = draw.File{Version: 1, Product: slug, Stock: 10, Commitment: strings.Repeat("c0ffee42", 8), Secret: strings.Repeat("5ec4e700", 8),
				Public: draw.Public{Kind: draw.Dice, Text: "6 1 4 4 2 5 3 1"}, Entries: make([]draw.Entry, 12345), Winners: make([]string, 10)}
			get(x, name+" drawn", append(pages, boardPath+"/draw")...)
		}
		x.book.now, x.sale.Free, x.sale.Waiting = opening, 0, 299
		if mode == orders.FirstCome {
			get(x, name+" sold out", pages...)
		}
		delete(x.book.sales, slug)
		get(x, name+" not ready", pages...)
	}
	x := openSale(t, nil)
	get(x, "limit 1", boardPath+"/order", boardPath+"/order?country=DE")
	held := openSale(t, func(p *Product) { p.PerPerson = 3 })
	receipt := held.mustPlaceOrder(t)
	for held.book.pause = orders.PausedStart; held.book.pause <= orders.PausedBoard; held.book.pause++ {
		name := "held: " + held.book.pause.String()
		get(held, name, append(pages, receipt, receipt+"/cancel")...)
		add(name+" form", held.postOrder("quantity", "2"))
		add(name+" form, unsure", held.postOrder("unsure", "yes"))
	}
	taxed := openSale(t, nil)
	for i := range taxed.sale.Countries {
		taxed.sale.Countries[i].Tax = 1900
	}
	get(taxed, "taxed", boardPath, boardPath+"/order", boardPath+"/order?country=DE")

	several := openSale(t, func(p *Product) { p.PerPerson = 3 })
	add("question total", several.postOrder("quantity", "3"))
	mistakes := []string{"name", "", "email", "ada@example", "line1", "", "country", "XX", "quantity", "-3"}
	add("mistakes", several.postOrder(mistakes...))
	add("mistakes, limit 1", x.postOrder(mistakes...))
	add("one mistake", x.postOrder("email", "ada@example"))
	add("too long", x.postOrder("name", longText, "email", longText, "line1", longText, "line2", longText, "city", longText, "postcode", longText))
	add("too long, several", several.postOrder("name", longText, "email", longText, "line1", longText, "line2", longText, "city", longText, "postcode", longText, "country", "", "quantity", "x"))
	add("huge", x.postOrder("line2", strings.Repeat("x", 1<<20)))
	add("bytes", x.post(boardPath+"/place", x.fields("name", "A\xff\x00B").Encode()))
	add("twice", x.post(boardPath+"/place", x.fields().Encode()+"&name=Eve"))
	add("nothing at all", x.post(boardPath+"/place", ""))
	questions := map[string]orders.Answer{
		"differs": {Outcome: orders.Differs}, "over the limit": {Outcome: orders.OverLimit}, "over the limit, some left": {Outcome: orders.OverLimit, Remaining: 1},
		"sold out": {Outcome: orders.SoldOut, State: orders.SaleSoldOut}, "few left": {Outcome: orders.SoldOut, Remaining: 1, State: orders.SaleInStock},
		"not open": {Outcome: orders.NotOpen, Opens: opening.Add(time.Hour), State: orders.SaleUpcoming}, "closed": {Outcome: orders.Closed, State: orders.SaleClosed},
		"price changed": {Outcome: orders.PriceChanged, Total: 4400}, "wrong kind": {Outcome: orders.WrongKind, State: orders.SaleSoldOut},
		"no such sale": {Outcome: orders.NoSuchSale}, "no shipping": {Outcome: orders.NoShipping}, "malformed": {Outcome: orders.Malformed}, "retry": {Outcome: orders.IDInUse},
	}
	for name, a := range questions {
		for which, x := range map[string]shopTest{"one": x, "several": several} {
			x.book.forced = &a
			add("question "+name+" "+which, x.postOrder())
			x.book.forced = nil
		}
	}
	for name, err := range map[string]error{"not taken": orders.ErrNotCommitted, "not sure": orders.ErrUncertain, "no desk": fmt.Errorf("%w: it waits for 2 more boards", orders.ErrUnavailable), "any": errors.New("x")} {
		x.book.fail = err
		add("trouble "+name, x.postOrder())
		x.book.fail = nil
	}
	path := x.mustPlaceOrder(t)
	get(x, "receipt", path, path+"/cancel")
	x.book.fail = orders.ErrUncertain
	get(x, "receipt, board behind", path)
	x.book.fail = nil
	get(x, "no receipt", "/r/K7QM-2XD9-5VZ/X", path+"x", boardPath+"/draw")
	id := x.book.submitted[len(x.book.submitted)-1].ID
	for kind := orders.KindOrder; kind <= orders.KindWaiting; kind++ {
		for state := orders.StateOpen; state <= orders.StateErased; state++ {
			p := x.book.orders[id]
			p.Kind, p.State, p.Until, p.Note = kind, state, opening.Add(48*time.Hour), "The parcel came back."
			if state == orders.StateErased {
				p.Person, p.Was = orders.Person{}, orders.StateFulfilled
			}
			if kind != orders.KindOrder {
				x.book.places[id] = 12
			}
			was := x.book.orders[id]
			x.book.orders[id] = p
			get(x, fmt.Sprintf("receipt %s %s", kind, state), path, path+"/cancel")
			x.book.orders[id] = was
		}
	}
	r := httptest.NewRequest("POST", boardPath+"/place", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	x.ServeHTTP(w, r)
	add("wrong type", w)
	return list
}
