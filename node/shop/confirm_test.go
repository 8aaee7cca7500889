package shop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
)

// idOf returns the reference in a receipt's path.
func idOf(t *testing.T, path string) orders.ID {
	t.Helper()
	id, err := orders.ParseID(strings.Split(path, "/")[2])
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newConfirmShop is a shop whose sale needs confirmation by mail.
func newConfirmShop(t *testing.T, change func(*orders.Offer)) *bookShop {
	return newBookShop(t, func(o *orders.Offer) {
		o.Confirm = 30 * time.Minute
		if change != nil {
			change(o)
		}
	})
}

// With confirmation by mail no form tells anything: a known person, an unknown one and a neighbour get the same
// replies and receipts, in every kind of sale.
func TestWithConfirmationNoFormTellsAnything(t *testing.T) {
	for mode, kind := range map[orders.Mode]string{orders.FirstCome: formOrder, orders.Ballot: formEntry, orders.Interest: formInterest} {
		b := newConfirmShop(t, func(o *orders.Offer) {
			o.Mode, o.WaitingList = mode, mode != orders.Interest
			if mode == orders.Ballot {
				o.Secret = [32]byte{1}
			}
		})
		path := b.post("ada@example.org", "kind", kind, "line1", "1 Road").Header().Get("Location")
		if a := b.apply(orders.Confirm{ID: idOf(t, path)}); a.Outcome != orders.Done {
			t.Fatalf("%s: %v", mode, a.Outcome)
		}
		var all []string
		for _, email := range []string{"ada@example.org", "eve@example.org"} {
			w := b.post(email, "kind", kind, "line1", "1 Road")
			to := w.Header().Get("Location")
			if w.Code != http.StatusSeeOther {
				t.Fatalf("%s, %s: %d %s", mode, email, w.Code, textOf(w.Body.String()))
			}
			page := request(b.shop, "GET", to)
			id := strings.Split(to, "/")[2]
			all = append(all, seenIn(w, to)+seenIn(page, to, id, email))
			if !strings.Contains(page.Body.String(), "this does not count yet") || strings.Contains(page.Body.String(), "/confirm") {
				t.Errorf("%s: the receipt: %s", mode, textOf(page.Body.String()))
			}
			if mail, err := b.book.Order(idOf(t, to)); err != nil || mail.State != orders.StateUnconfirmed {
				t.Errorf("%s: %v, %v", mode, mail.State, err)
			}
		}
		if all[0] != all[1] {
			t.Errorf("%s: the replies differ:\n%s\n%s", mode, all[0], all[1])
		}
	}
}

// The mailed link shows what was sent with the address, each with a button, and a form of its own. Opening it changes
// nothing; a button makes an order count.
func TestConfirmingByMail(t *testing.T) {
	b := newConfirmShop(t, nil)
	first := idOf(t, b.post("ada@example.org", "line1", "1 Elsewhere").Header().Get("Location")) // by a stranger, and withdrawn
	link := ConfirmPath(first, b.SignConfirmation(first))
	b.apply(orders.Cancel{ID: first})
	receipt := b.post("ada@Example.org", "line1", "12 Good Road").Header().Get("Location")
	id := idOf(t, receipt)
	own := ConfirmPath(id, b.SignConfirmation(id))
	other := idOf(t, b.post("ada@example.org", "line1", "2 Elsewhere").Header().Get("Location"))
	b.post("eve@example.org", "line1", "3 Far Away")
	for _, wrong := range []string{receipt + "/confirm", ConfirmPath(id, "x"), ConfirmPath(id+1, b.SignConfirmation(id))} {
		if w := request(b.shop, "GET", wrong); w.Code != 404 {
			t.Errorf("%s: %d", wrong, w.Code)
		}
	}
	x := shopTest{Shop: b.shop}
	for range 3 {
		w := request(b.shop, "GET", link)
		if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Robots-Tag") != "noindex" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		for text, want := range map[string]bool{"Is this from you?": true, "12 Good Road": true, "2 Elsewhere": true, `action="` + own + `"`: true,
			`value="ada@example.org"`: true, "1 Elsewhere": false, "3 Far Away": false} {
			if strings.Contains(w.Body.String(), text) != want {
				t.Errorf("%q: %t", text, !want)
			}
		}
	}
	if w := x.post(link, ""); w.Code < 400 {
		t.Errorf("without the button: %d", w.Code)
	}
	if o, _ := b.book.Order(id); o.State != orders.StateUnconfirmed {
		t.Fatalf("opening the link made it %v", o.State)
	}
	if w := request(b.shop, "POST", own, "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", w.Code)
	}
	if w := x.post(link, "sure=yes"); w.Code != 409 || !strings.Contains(w.Body.String(), "its time is over") {
		t.Errorf("one that was withdrawn: %d", w.Code)
	}
	if w := x.post(own, "sure=yes"); w.Code != 303 || w.Header().Get("Location") != receipt+"M" {
		t.Fatalf("confirming: %d %s", w.Code, textOf(w.Body.String()))
	}
	formReceipt := receipt
	receipt += "M"
	for _, page := range []string{"", ".json", "/cancel", "/order"} { // who sent the form has it no more
		w, pressed := request(b.shop, "GET", formReceipt+page), x.post(formReceipt+page, "sure=yes")
		if w.Code != 410 || !strings.Contains(w.Body.String(), "This was confirmed by mail") || strings.Contains(w.Body.String(), "12 Good Road") || pressed.Code < 400 {
			t.Errorf("the form's receipt, %s: %d and %d", page, w.Code, pressed.Code)
		}
	}
	if o, _ := b.book.Order(id); o.State != orders.StateOpen {
		t.Fatalf("the form's receipt made it %v", o.State)
	}
	if html := request(b.shop, "GET", receipt).Body.String(); !strings.Contains(html, "Your order is placed") {
		t.Error(textOf(html))
	}
	if html := request(b.shop, "GET", link).Body.String(); !strings.Contains(html, "This counts already") || !strings.Contains(html, receipt) {
		t.Errorf("the link afterwards: %s", textOf(html))
	}
	if w := x.post(ConfirmPath(other, b.SignConfirmation(other)), "sure=yes"); w.Code != 409 || !strings.Contains(w.Body.String(), "all that one person can have") {
		t.Errorf("the other form: %d", w.Code)
	}
	b.now = b.now.Add(time.Hour)
	b.apply(orders.Tick{})
	if html := request(b.shop, "GET", ReceiptPath(other, b.Sign(other, false))).Body.String(); !strings.Contains(html, "This was not confirmed") {
		t.Error(textOf(html))
	}
	if w := request(b.shop, "GET", link); w.Code != 303 || w.Header().Get("Location") != receipt {
		t.Errorf("the link at the end: %d", w.Code)
	}
	if html := request(b.shop, "GET", boardPath+"/order").Body.String(); !strings.Contains(html, "We mail a link") {
		t.Error("the form does not say that it must be confirmed")
	}
	b.apply(orders.Erase{Operation: b.by(), Email: "ada@example.org"})
	if w := request(b.shop, "GET", link); w.Code != 404 {
		t.Errorf("an erased person's link: %d", w.Code)
	}
}

// Whatever strangers send, the form behind the link counts at once; with mistakes it comes back, and what it says of the
// e-mail address does not matter.
func TestTheFormBehindTheLinkCountsAtOnce(t *testing.T) {
	b := newConfirmShop(t, func(o *orders.Offer) { o.Limit = 1 })
	first := idOf(t, b.post("ada@example.org", "line1", "1 Elsewhere").Header().Get("Location"))
	link := ConfirmPath(first, b.SignConfirmation(first))
	x := shopTest{Shop: b.shop, book: b.fakeOrderBook}
	token := hidden(request(b.shop, "GET", link).Body.String())["token"]
	send := func(pairs ...string) *httptest.ResponseRecorder {
		return x.post(link, x.fields(append([]string{"token", token, "email", "eve@example.org", "line1", "12 Good Road"}, pairs...)...).Encode())
	}
	if w := send("name", ""); w.Code != 422 || !strings.Contains(w.Body.String(), `action="`+link+`"`) || !strings.Contains(w.Body.String(), "12 Good Road") {
		t.Errorf("a mistake: %d %s", w.Code, textOf(w.Body.String()))
	}
	w := send()
	if w.Code != 303 {
		t.Fatalf("%d %s", w.Code, textOf(w.Body.String()))
	}
	o, err := b.book.Order(idOf(t, w.Header().Get("Location")))
	if err != nil || o.State != orders.StateOpen || o.Person.Email != "ada@example.org" || o.Person.Line1 != "12 Good Road" {
		t.Errorf("%v %q, %v", o.State, o.Person.Line1, err)
	}
	if again := send(); again.Code != 303 || again.Header().Get("Location") != w.Header().Get("Location") {
		t.Errorf("pressed again: %d", again.Code)
	}
	if more := send("token", newToken()); more.Code != 409 || !strings.Contains(more.Body.String(), "all that one person can have") {
		t.Errorf("another one: %d", more.Code)
	}
	b.shop.orderService = pausedBook{b}
	if w := send("token", newToken()); w.Code != 503 || !strings.Contains(w.Body.String(), `action="`+link+`"`) {
		t.Errorf("paused: %d %s", w.Code, w.Body)
	}
}

type pausedBook struct{ *bookShop }

func (pausedBook) Pause() orders.Pause { return orders.PausedRack }

// What is held depends on who sends, and the page says so; only a form that may cause a mail counts as one.
func TestASenderHoldsFewUnits(t *testing.T) {
	b := newConfirmShop(t, nil)
	mailed := 0
	b.shop.limits = &fakeLimits{held: 2, told: 1, admit: func(isMailed bool) (bool, bool) {
		if isMailed {
			mailed++
		}
		return true, true
	}}
	for n, email := range []string{"ada@example.org", "ada@example.org", "ada@example.org", "eve@example.org"} {
		receipt := b.post(email).Header().Get("Location")
		says := strings.Contains(request(b.shop, "GET", receipt).Body.String(), "Nothing is held for it")
		if sale, _ := b.book.Sale(slug); says != (n >= 2) || sale.Held != int64(min(n+1, 2)) {
			t.Errorf("form %d: %d held, the page says so: %t", n, sale.Held, says)
		}
	}
	id := idOf(t, b.post("bob@example.org").Header().Get("Location"))
	link := ConfirmPath(id, b.SignConfirmation(id))
	b.apply(orders.Stock{Operation: b.by(), Product: slug, Delta: -8})
	if w := (shopTest{Shop: b.shop}).post(link, "sure=yes"); w.Code != 409 || !strings.Contains(w.Body.String(), "Nothing is left at this moment") {
		t.Errorf("%d %s", w.Code, textOf(w.Body.String()))
	}
	if mailed != 5 {
		t.Errorf("%d forms may cause a mail", mailed)
	}
}

// The receipt that only the mail leads to accepts an invitation. The receipt of the form, and the form sent again, do not.
func TestAConfirmedInvitationIsAcceptedOnItsReceipt(t *testing.T) {
	b := newConfirmShop(t, func(o *orders.Offer) { o.Mode, o.WaitingList = orders.Interest, false })
	formReceipt := b.post("ada@example.org", "kind", formInterest).Header().Get("Location")
	id := idOf(t, formReceipt)
	b.apply(orders.Confirm{ID: id})
	if a := b.apply(orders.Invite{Operation: b.by(), Product: slug, Count: 1, Until: b.now.Add(time.Hour)}); a.Count != 1 {
		t.Fatalf("%+v", a)
	}
	receipt := ReceiptPath(id, b.Sign(id, true))
	agreed := "agreed=" + hidden(request(b.shop, "GET", receipt).Body.String())["agreed"]
	x := shopTest{Shop: b.shop}
	if w := x.post(formReceipt+"/order", agreed); w.Code != http.StatusGone {
		t.Errorf("on the form's receipt: %d", w.Code)
	}
	if o, _ := b.book.Order(id); o.State != orders.StateInvited {
		t.Fatalf("the form's receipt made it %v", o.State)
	}
	if w := x.post(receipt+"/order", agreed); w.Code != http.StatusSeeOther || w.Header().Get("Location") != receipt {
		t.Errorf("on its receipt: %d %s", w.Code, textOf(w.Body.String()))
	}
	if o, _ := b.book.Order(id); o.State != orders.StateOpen || o.Kind != orders.KindOrder {
		t.Errorf("it is %v, %v", o.State, o.Kind)
	}
}

// A mailed link that an operator has ended leads to a page that says so, and what to do. It opens and confirms nothing.
func TestALinkToConfirmThatEndedSaysSo(t *testing.T) {
	b := newConfirmShop(t, nil)
	id := idOf(t, b.post("ada@example.org", "line1", "12 Good Road").Header().Get("Location"))
	ended := ConfirmPath(id, strings.Replace(b.Sign(id, false), "SIGNED", "ENDED", 1))
	x := shopTest{Shop: b.shop}
	for _, w := range []*httptest.ResponseRecorder{request(b.shop, "GET", ended), x.post(ended, "sure=yes")} {
		html := w.Body.String()
		if w.Code != http.StatusGone || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		for text, want := range map[string]bool{"This link has ended": true, "send the form again": true, "12 Good Road": false, "ada@example.org": false} {
			if strings.Contains(html, text) != want {
				t.Errorf("%q: %t", text, !want)
			}
		}
	}
	if o, _ := b.book.Order(id); o.State != orders.StateUnconfirmed {
		t.Errorf("the link made it %v", o.State)
	}
	if w := request(b.shop, "GET", ConfirmPath(id, "another")); w.Code != http.StatusNotFound {
		t.Errorf("a wrong link: %d", w.Code)
	}
}

// A form carries its network to the order book. Where too many forms of that wait for their mail, it is refused with what was
// typed, and the same form is accepted later.
func TestAFormBeyondTheQueueLosesNothing(t *testing.T) {
	b := newConfirmShop(t, func(o *orders.Offer) { o.Stock = 100_000 })
	limits := &fakeLimits{held: 1 << 30, network: 4711}
	b.shop.limits = limits
	first, err := b.book.Order(idOf(t, b.post("bob@example.org").Header().Get("Location")))
	if err != nil {
		t.Fatal(err)
	}
	o := orders.PlaceOrder{Product: slug, Kind: orders.KindOrder, Quantity: 1, Total: first.Total, Currency: first.Currency, Person: first.Person, Network: 4711}
	for n := 0; ; n++ {
		o.ID, o.Person.Email = orders.ID(7919*(n+1)), fmt.Sprintf("nobody%d@example.org", n)
		if a := b.apply(o); a.Outcome == orders.Full {
			break
		} else if a.Outcome != orders.Placed || n > 10_000 {
			t.Fatalf("%d: %v", n, a.Outcome)
		}
	}
	w := b.post("ada@example.org")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != limitRetrySeconds {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for _, want := range []string{limitTitle, `value="ada@example.org"`, `name="token" value="`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	limits.network = 4712
	if w := b.post("eve@example.org"); w.Code != http.StatusSeeOther {
		t.Errorf("from another network: %d", w.Code)
	}
	limits.network = 4711
	for range 10 {
		b.now = b.now.Add(time.Second)
		b.apply(orders.Tick{Until: b.now, Boards: b.now})
	}
	if w := b.post("ada@example.org"); w.Code != http.StatusSeeOther {
		t.Errorf("later: %d", w.Code)
	}
}
