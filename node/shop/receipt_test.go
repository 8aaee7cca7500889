package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

func TestReceiptsDescribeEachState(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	id := x.book.submitted[0].ID
	x.sale.Waiting, x.book.places[id] = 300, 12
	for _, c := range []struct {
		kind  orders.Kind
		state orders.OrderState
		says  []string
		back  string // what the link to take it back says; "" = none
	}{
		{orders.KindOrder, orders.StateOpen, []string{"Your order is placed", "07:00 UTC"}, "Cancel this order"},
		{orders.KindOrder, orders.StateFulfilling, []string{"being passed on for dispatch"}, ""},
		{orders.KindOrder, orders.StateFulfilled, []string{"Your order was sent", "The seller&#39;s note: it rained"}, ""},
		{orders.KindOrder, orders.StateReturned, []string{"came back to the seller", "The reason given: it rained"}, ""},
		{orders.KindOrder, orders.StateCancelled, []string{"This order was cancelled", "The reason given: it rained"}, ""},
		{orders.KindOrder, orders.StateErased, []string{"erased"}, ""},
		{orders.KindEntry, orders.StateOpen, []string{"You are in the ballot"}, "Withdraw my entry"},
		{orders.KindEntry, orders.StateWon, []string{"You have won"}, "Cancel what I won"},
		{orders.KindEntry, orders.StateLost, []string{"Not this time"}, ""},
		{orders.KindWaiting, orders.StateOpen, []string{"number 12 of 300 on the waiting list"}, "Leave the list"},
		{orders.KindWaiting, orders.StateInvited, []string{"It is your turn", "06:00 UTC on 2 March 2012", "Order now for US$43.00"}, "Pass it on to the next person"},
		{orders.KindWaiting, orders.StateExpired, []string{"The time to order has passed"}, ""},
		{orders.KindWaiting, orders.StateLeft, []string{"You have left the list"}, ""},
		{orders.KindInterest, orders.StateOpen, []string{"Your interest is registered"}, "Leave the list"},
	} {
		p := x.book.orders[id]
		p.Kind, p.State, p.Note, p.Until = c.kind, c.state, "it rained", opening.Add(48*time.Hour)
		if c.state == orders.StateErased {
			p.Person = orders.Person{}
		}
		was := x.book.orders[id]
		x.book.orders[id] = p
		html := request(x.Shop, "GET", path).Body.String()
		for _, want := range append(c.says, id.String()) {
			if !strings.Contains(html, want) {
				t.Errorf("%s %s does not say %q: %s", c.kind, c.state, want, textOf(html))
			}
		}
		if got := strings.Contains(html, `/cancel">`); got != (c.back != "") || !strings.Contains(html, c.back) {
			t.Errorf("%s %s: to take it back: %t", c.kind, c.state, got)
		}
		var r Receipt
		w := request(x.Shop, "GET", path+".json")
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || r.State != c.state.String() || r.Kind != c.kind.String() || r.Reference != id.String() ||
			r.Total.Minor != 4300 || w.Header().Get("Cache-Control") != "no-store" || (r.Person == nil) != (c.state == orders.StateErased) {
			t.Errorf("%s %s: the JSON says %+v, %v", c.kind, c.state, r, err)
		}
		x.book.orders[id] = was
	}
	posted := x.book.orders[id]
	posted.State, posted.Note = orders.StateFulfilled, "webhook"
	x.book.orders[id] = posted
	if html := request(x.Shop, "GET", path).Body.String(); !strings.Contains(html, "has been passed on for dispatch") {
		t.Errorf("a posted order: %s", textOf(html))
	}
	x.book.now = x.sale.Closes
	p := x.book.orders[id]
	p.Kind = orders.KindEntry
	x.book.orders[id] = p
	if html := request(x.Shop, "GET", path).Body.String(); strings.Contains(html, `/cancel">`) {
		t.Error("an entry can be taken back after the close")
	}
}

// Who has the receipt's address accepts an invitation with one button.
func TestAnInvitationIsAccepted(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	id := x.book.submitted[0].ID
	p := x.book.orders[id]
	p.Kind, p.State, p.Until = orders.KindWaiting, orders.StateInvited, opening.Add(time.Hour)
	x.book.orders[id] = p
	html := request(x.Shop, "GET", path).Body.String()
	if !strings.Contains(html, `action="`+path+`/order" method="post"`) {
		t.Fatalf("there is no button: %s", textOf(html))
	}
	accept := func(path, agreed string) (code int, to, text string) {
		w := x.post(path+"/order", url.Values{"agreed": {agreed}}.Encode())
		return w.Code, w.Header().Get("Location"), textOf(w.Body.String())
	}
	agreed := hidden(html)["agreed"]
	for _, c := range []struct {
		name, path, agreed string
		answer             orders.Answer
		fail               error
		code               int
		says               string
	}{
		{"a wrong link", path + "x", agreed, orders.Answer{}, nil, 404, "no receipt"},
		{"another total", path, "DE 1 1", orders.Answer{}, nil, 409, "check the total"},
		{"too late", path, agreed, orders.Answer{Outcome: orders.TooLate}, nil, 409, "cannot be ordered any more"},
		{"uncertain", path, agreed, orders.Answer{}, orders.ErrNotCommitted, 503, "Nothing was changed: please try again"},
		{"accepted", path, agreed, orders.Answer{Outcome: orders.Placed, Order: id}, nil, 303, ""},
	} {
		x.Shop.orderService = acceptBook{x.book, c.answer, c.fail}
		if code, to, text := accept(c.path, c.agreed); code != c.code || !strings.Contains(text, c.says) || code == 303 && to != path {
			t.Errorf("%s: %d to %q: %s", c.name, code, to, text)
		}
	}
	last := x.book.submitted[len(x.book.submitted)-1]
	if last.ID != id || last.Kind != orders.KindOrder || last.Person != p.Person || last.Total != 4300 {
		t.Errorf("asked %+v", last)
	}
	if w := request(x.Shop, "GET", path+"/order"); w.Code != 303 || w.Header().Get("Location") != path {
		t.Errorf("GET: %d", w.Code)
	}
}

// acceptBook answers PlaceOrder as it is told.
type acceptBook struct {
	*fakeOrderBook
	answer orders.Answer
	fail   error
}

func (b acceptBook) PlaceOrder(_ context.Context, o orders.PlaceOrder) (orders.Answer, error) {
	b.submitted = append(b.submitted, o)
	b.fakeOrderBook.submitted = b.submitted
	return b.answer, b.fail
}

func TestCancelIsConfirmedFirst(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	id := x.book.submitted[0].ID
	for _, ask := range []func() (int, string){
		func() (int, string) { w := request(x.Shop, "GET", path+"/cancel"); return w.Code, w.Body.String() },
		func() (int, string) { w := x.post(path+"/cancel", ""); return w.Code, w.Body.String() },
		func() (int, string) { w := x.post(path+"/cancel", "sure=yes&sure=yes"); return w.Code, w.Body.String() },
	} {
		if code, html := ask(); code != 200 || !strings.Contains(html, "Cancel this order?") || x.book.orders[id].State != orders.StateOpen {
			t.Errorf("%d %s", code, textOf(html))
		}
	}
	for _, c := range []struct {
		err  error
		code int
		says string
	}{{orders.ErrNotCommitted, 503, "Nothing was changed: please try again"}, {orders.ErrUncertain, 503, "cannot tell whether this went through"}, {orders.ErrTooLate, 409, "too late"}} {
		x.book.failCancel = c.err
		if w := x.post(path+"/cancel", "sure=yes"); w.Code != c.code || !strings.Contains(w.Body.String(), c.says) || (w.Header().Get("Retry-After") != "") != (c.code == 503) {
			t.Errorf("%v: %d %s", c.err, w.Code, textOf(w.Body.String()))
		}
	}
	x.book.failCancel = nil
	w := x.post(path+"/cancel", "sure=yes")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != path || x.book.orders[id].State != orders.StateCancelled {
		t.Errorf("%d to %s, %v", w.Code, w.Header().Get("Location"), x.book.orders[id].State)
	}
	if w := x.post(path+"/cancel", "sure=yes"); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "too late") {
		t.Errorf("cancelled again: %d", w.Code)
	}
	if w := request(x.Shop, "POST", path+"/cancel", "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", w.Code)
	}
	if w := request(x.Shop, "DELETE", path+"/cancel"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", w.Code)
	}
}

// A reference without its token, and a token without its order, get the same reply.
func TestReceiptsAreSecret(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	id := x.book.submitted[0].ID
	other := id ^ 1
	for _, bad := range []string{path + "x", "/r/" + id.String() + "/x", "/r/" + id.String() + "/.json", "/r/XXXX/" + x.book.Sign(id, false), x.receiptPath(orders.Order{ID: other}), path + ".jsonx"} {
		if w := request(x.Shop, "GET", bad); w.Code != 404 || strings.Contains(w.Body.String(), "Ada") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
	if w := request(newShopAt(t, launch(t), opening), "GET", path); w.Code != 404 {
		t.Errorf("a shop without an order book: %d", w.Code)
	}
	// An ended link says that it has ended, the same whether the order exists or not.
	var pages []string
	for _, ended := range []string{strings.Replace(path, "SIGNED", "ENDED", 1), strings.Replace(x.receiptPath(orders.Order{ID: other}), "SIGNED", "ENDED", 1)} {
		w := request(x.Shop, "GET", ended)
		if w.Code != http.StatusGone || strings.Contains(w.Body.String(), "Ada") || strings.Contains(w.Body.String(), id.String()) || !strings.Contains(w.Body.String(), "This link has ended") {
			t.Errorf("%s: %d", ended, w.Code)
		}
		pages = append(pages, w.Body.String())
	}
	if pages[0] != pages[1] {
		t.Error("the page of an ended link shows whether there is such an order")
	}
	if w := request(x.Shop, "POST", strings.Replace(path, "SIGNED", "ENDED", 1)+"/cancel"); w.Code == http.StatusSeeOther || len(x.book.submitted) != 1 {
		t.Errorf("an ended link cancels: %d", w.Code)
	}
	x.book.fail = orders.ErrUncertain
	if w := request(x.Shop, "GET", path); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("a board that is behind: %d", w.Code)
	}
	x.book.fail = nil
	spelt := "/r/" + strings.ToLower(strings.ReplaceAll(id.String(), "-", "")) + "/" + x.book.Sign(id, false)
	if w := request(x.Shop, "GET", spelt); w.Code != 200 {
		t.Errorf("the reference in small letters: %d", w.Code)
	}
}

func TestTheDrawIsPublished(t *testing.T) {
	x := openSale(t, func(p *Product) { p.Mode, p.Draw, p.Dice = orders.Ballot, draw.Dice, 20 })
	if html := request(x.Shop, "GET", boardPath+"/draw").Body.String(); !strings.Contains(html, strings.Repeat("c0ffee42", 8)) || strings.Contains(html, "Secret") ||
		!strings.Contains(html, (&draw.File{Version: 3, Product: slug, Opens: x.sale.Opens, Closes: x.sale.Closes, Commitment: x.sale.Draw.Commitment, Promised: x.sale.Promise()}).PromiseHash()) {
		t.Errorf("before: %s", textOf(html))
	}
	if w := request(x.Shop, "GET", boardPath+"/draw.json"); w.Code != 404 {
		t.Errorf("draw.json before: %d", w.Code)
	}
	x.book.now = x.sale.Closes
	if html := textOf(request(x.Shop, "GET", boardPath+"/draw").Body.String()); !strings.Contains(html, "the list of entries is being fixed") || !strings.Contains(html, "20 dice, rolled in the room once the list is fixed, and typed in one die after another") {
		t.Errorf("closed: %s", html)
	}
	list := strings.Repeat("11570000", 8)
	x.sale.Draw.List, x.sale.Draw.Listed, x.sale.Version = list, x.sale.Closes, 2
	if html := textOf(request(x.Shop, "GET", boardPath+"/draw").Body.String()); !strings.Contains(html, "the draw is waiting for the dice") || !strings.Contains(html, list) || strings.Contains(html, "Secret") {
		t.Errorf("listed: %s", html)
	}
	for boards, says := range map[time.Time]string{{}: "most boards' own clocks agreed on no time", x.sale.Closes: "", x.sale.Closes.Add(10 * time.Minute): "The ledger's clock was held"} {
		x.sale.Draw.Boards = boards
		x.sale.Version++
		html := html.UnescapeString(textOf(request(x.Shop, "GET", boardPath+"/draw").Body.String()))
		if says == "" && (strings.Contains(html, "was held") || strings.Contains(html, "agreed on no time")) || !strings.Contains(html, says) || strings.Contains(html, "before anybody can know") {
			t.Errorf("fixed by %v: %s", boards, html)
		}
	}
	x.sale.Draw.At, x.sale.Draw.Public, x.sale.Draw.Winners, x.sale.Version = x.sale.Closes, draw.Public{Kind: draw.Dice, Text: "6 1 4"}, 1, x.sale.Version+1
	file := draw.File{Version: 3, Product: slug, Stock: 1, Secret: "5ec4e7", Public: draw.Public{Kind: draw.Dice, Text: "6 1 4"},
		Entries: []draw.Entry{{Reference: "A", Quantity: 1}, {Reference: "B", Quantity: 1}}, Winners: []string{"B"}, Losers: []string{"A"}}
	x.book.files[slug] = file
	html := textOf(request(x.Shop, "GET", boardPath+"/draw").Body.String())
	for _, want := range []string{"5ec4e7", "6 1 4", "Entries 2", "Entries that won 1", "draw.json",
		"Commitment : the hash of bramble draw secret , a line feed", "four lines: bramble draw 3 ; the secret"} {
		if !strings.Contains(html, want) {
			t.Errorf("after: no %q in %s", want, html)
		}
	}
	if strings.Contains(html, "see how") || !strings.Contains(html, "Drawn") {
		t.Errorf("after: the page links to itself: %s", html)
	}
	var got draw.File
	w := request(x.Shop, "GET", boardPath+"/draw.json")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Winners[0] != "B" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("draw.json: %v, %+v", err, got)
	}
	verifier := request(x.Shop, "GET", boardPath+"/verify")
	if policy := verifier.Header().Get("Content-Security-Policy"); verifier.Code != 200 || !strings.HasPrefix(policy, "default-src 'none'; connect-src 'self'; img-src 'self'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("the verifier: %d, %s", verifier.Code, policy)
	}
	for kind, warns := range map[draw.Kind]bool{draw.None: true, draw.Dice: false, draw.Drand: false} {
		x := openSale(t, func(p *Product) { p.Mode, p.Draw = orders.Ballot, kind })
		for _, path := range []string{boardPath, boardPath + "/draw"} {
			if html := textOf(request(x.Shop, "GET", path).Body.String()); strings.Contains(html, "does not protect against the people who run the shop") != warns {
				t.Errorf("%s, %q: %s", path, kind, html)
			}
		}
		round := draw.RoundAfter(x.sale.Closes)
		if html := textOf(request(x.Shop, "GET", boardPath+"/draw").Body.String()); strings.Contains(html, fmt.Sprintf("Round %d of", round)) != (kind == draw.Drand) {
			t.Errorf("%q: %s", kind, html)
		}
	}
	plain := openSale(t, nil)
	if w := request(plain.Shop, "GET", boardPath+"/verify"); w.Code != 404 {
		t.Errorf("the verifier of what is no ballot: %d", w.Code)
	}
	if w := request(plain.Shop, "GET", boardPath+"/draw"); w.Code != 404 {
		t.Errorf("the draw of what is no ballot: %d", w.Code)
	}
}

// Price, delivery and tax add up to the total, to the minor unit.
func TestTax(t *testing.T) {
	x := openSale(t, nil)
	for i := range x.sale.Countries {
		x.sale.Countries[i].Tax = 770
	}
	o := x.readPageState(opening).saleOf(&x.cat.Products[0])
	bill, ok := x.totalFor(o, "DE", 1)
	if !ok || bill.Tax.Minor != 331 || bill.Total.Minor != 4631 || bill.Rate != "7.7\u00a0%" { // 7.7 % of 43.00 is 3.311
		t.Errorf("got %+v", bill)
	}
	html := textOf(request(x.Shop, "GET", boardPath+"/order?country=DE").Body.String())
	if !strings.Contains(html, "Tax, 7.7 % US$3.31 Total US$46.31") {
		t.Errorf("the order page says %s", html)
	}
	for hundredths, want := range map[int]string{0: "", 5: "0.05\u00a0%", 50: "0.5\u00a0%", 1900: "19\u00a0%", 2125: "21.25\u00a0%", 10000: "100\u00a0%"} {
		if got := formatPercent(hundredths); got != want {
			t.Errorf("%d: %q, want %q", hundredths, got, want)
		}
	}
}

// A receipt that may be out of date says so, and so does its JSON.
func TestAReceiptMayBeStale(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	for _, test := range []struct {
		fail error
		old  bool
	}{{nil, false}, {fmt.Errorf("%w: test", orders.ErrStale), true}} {
		x.book.fail = test.fail
		w, j := request(x.Shop, "GET", path), request(x.Shop, "GET", path+".json")
		if w.Code != 200 || strings.Contains(w.Body.String(), "may be out of date") != test.old {
			t.Errorf("old %v: %d %s", test.old, w.Code, textOf(w.Body.String()))
		}
		if want := fmt.Sprintf("\"current\": %v", !test.old); j.Code != 200 || !strings.Contains(j.Body.String(), want) {
			t.Errorf("old %v: %d %s", test.old, j.Code, j.Body)
		}
	}
}
