package shop

import (
	"net/http"
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

// The mailed link shows the order and a button. Opening it changes nothing; the button makes the order
// count, and from then on the link leads to the receipt.
func TestConfirmingByMail(t *testing.T) {
	b := newConfirmShop(t, nil)
	receipt := b.post("ada@example.org").Header().Get("Location")
	id := idOf(t, receipt)
	link := ConfirmPath(id, b.SignConfirmation(id))
	for _, wrong := range []string{receipt + "/confirm", ConfirmPath(id, "x"), ConfirmPath(id+1, b.SignConfirmation(id))} {
		if w := request(b.shop, "GET", wrong); w.Code != 404 {
			t.Errorf("%s: %d", wrong, w.Code)
		}
	}
	x := shopTest{Shop: b.shop}
	for range 3 {
		if w := request(b.shop, "GET", link); w.Code != 200 || !strings.Contains(w.Body.String(), "Is this from you?") || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %s", w.Code, textOf(w.Body.String()))
		}
	}
	if w := x.post(link, ""); w.Code != 200 {
		t.Errorf("without the button: %d", w.Code)
	}
	if o, _ := b.book.Order(id); o.State != orders.StateUnconfirmed {
		t.Fatalf("opening the link made it %v", o.State)
	}
	if w := request(b.shop, "POST", link, "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", w.Code)
	}
	other := idOf(t, b.post("ada@example.org").Header().Get("Location"))
	if w := x.post(link, "sure=yes"); w.Code != 303 || w.Header().Get("Location") != receipt {
		t.Fatalf("confirming: %d %s", w.Code, textOf(w.Body.String()))
	}
	if html := request(b.shop, "GET", receipt).Body.String(); !strings.Contains(html, "Your order is placed") {
		t.Error(textOf(html))
	}
	if w := request(b.shop, "GET", link); w.Code != 303 || w.Header().Get("Location") != receipt {
		t.Errorf("the link afterwards: %d", w.Code)
	}
	if w := x.post(ConfirmPath(other, b.SignConfirmation(other)), "sure=yes"); w.Code != 409 || !strings.Contains(w.Body.String(), "cannot be confirmed") {
		t.Errorf("the other form: %d", w.Code)
	}
	b.now = b.now.Add(time.Hour)
	b.apply(orders.Tick{})
	o, _ := b.book.Order(other)
	if html := request(b.shop, "GET", ReceiptPath(other, b.Sign(other))).Body.String(); o.State != orders.StateExpired || !strings.Contains(html, "This was not confirmed") {
		t.Errorf("%v: %s", o.State, textOf(html))
	}
	if html := request(b.shop, "GET", boardPath+"/order").Body.String(); !strings.Contains(html, "We send you a mail") {
		t.Error("the form does not say that it must be confirmed")
	}
}
