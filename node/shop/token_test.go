package shop

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"bramble/node/orders"
)

// A form without a token places nothing. It comes back filled in, with a new token, and is placed by the
// next press.
func TestAFormWithoutATokenIsPressedTwice(t *testing.T) {
	for _, token := range []string{"", "none", strings.Repeat("A", 32), strings.Repeat("0", 31), strings.Repeat("0", 64)} {
		x := openSale(t, nil)
		w := x.postOrder("token", token)
		html := w.Body.String()
		if w.Code != http.StatusConflict || len(x.book.submitted) != 0 || !strings.Contains(html, "press the button once more") {
			t.Fatalf("%q: %d %s", token, w.Code, textOf(html))
		}
		form := x.fields()
		for name, value := range hidden(html) {
			form.Set(name, value)
		}
		if fresh := form.Get("token"); len(fresh) != 32 || fresh == token {
			t.Errorf("%q: the new token is %q", token, fresh)
		}
		if !strings.Contains(html, `value="Ada Lovelace"`) {
			t.Errorf("%q: the form is empty", token)
		}
		if w := x.post(boardPath+"/place", form.Encode()); w.Code != http.StatusSeeOther {
			t.Errorf("%q: pressed again: %d", token, w.Code)
		}
	}
}

// Only the form that made an order leads to its receipt. Somebody who knows what it says does not.
func TestNobodyIsSentToSomebodysReceipt(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	_, secret, _ := strings.Cut(strings.TrimPrefix(path, "/r/"), "/")
	for _, pairs := range [][]string{{}, {"more", "yes"}, {"quantity", "2"}, {"kind", formWaiting}, {"line1", "1 Elsewhere"}} {
		w := x.postOrder(append(pairs, "token", newToken())...)
		if to := w.Header().Get("Location"); to == path || strings.Contains(w.Body.String(), secret) {
			t.Errorf("%v leads a stranger to the receipt: %d, to %q", pairs, w.Code, to)
		}
	}
	if again := x.mustPlaceOrder(t); again != path {
		t.Errorf("the form itself leads to %s, not to %s", again, path)
	}
}

// A browser that shows a form again after it was sent can send it for another person.
func TestOneTokenForSeveralPeople(t *testing.T) {
	x := openSale(t, nil)
	seen := map[string]bool{}
	for _, name := range []string{"ada", "bob", "eve"} {
		seen[x.mustPlaceOrder(t, "email", name+"@example.org")] = true
	}
	if len(seen) != 3 || len(x.book.orders) != 3 {
		t.Errorf("three people have the receipts %v", seen)
	}
	if again := x.mustPlaceOrder(t, "email", "eve@example.org"); !seen[again] || len(x.book.orders) != 3 {
		t.Errorf("pressed again: %s", again)
	}
	// A form for one person more gets another token.
	w := x.postOrder("email", "dan@example.org")
	if fresh := hidden(w.Body.String())["token"]; w.Code == http.StatusSeeOther || fresh == someToken || len(fresh) != 32 {
		t.Errorf("the fourth: %d, token %q", w.Code, fresh)
	}
}

// A form whose order's link has ended, by a secret that may be known, submits nothing and leads to no receipt: who knows that
// secret could choose a token that leads to anybody's order. Pressed again, it is another form.
func TestAFormOfAnEndedLinkLeadsNowhere(t *testing.T) {
	x := openSale(t, func(p *Product) { p.PerPerson = 3 })
	path := x.mustPlaceOrder(t)
	_, secret, _ := strings.Cut(strings.TrimPrefix(path, "/r/"), "/")
	x.book.endedTokens = []string{someToken}
	for _, pairs := range [][]string{{}, {"line1", "2 Elsewhere"}, {"email", "bob@example.org"}} {
		w := x.postOrder(pairs...)
		html := w.Body.String()
		if fresh := hidden(html)["token"]; w.Code != http.StatusConflict || len(x.book.submitted) != 1 || strings.Contains(html, secret) || fresh == someToken || len(fresh) != 32 || !strings.Contains(html, "has placed orders already") {
			t.Errorf("%v: %d, %d submitted, token %q: %s", pairs, w.Code, len(x.book.submitted), fresh, textOf(html))
		}
	}
	if x.mustPlaceOrder(t, "token", newToken(), "more", "yes"); len(x.book.orders) != 2 {
		t.Error("another form orders nothing")
	}
}

// The browser may choose the token. The reference follows from it by a key that it does not have.
func TestTheReferenceIsNotTheBrowsersChoice(t *testing.T) {
	x := openSale(t, nil)
	x.mustPlaceOrder(t, "id", "K7QM-2XD9-5VB", "more", "yes")
	if id := x.book.submitted[0].ID; id != x.book.referenceOf(someToken) || id.String() == "K7QM-2XD9-5VB" {
		t.Errorf("the form has chosen %v", id)
	}
	if x.book.submitted[0].Kind != orders.KindOrder {
		t.Error("another kind")
	}
}

// One page, byte for byte, for the same as before, something else, and a limit that is reached; without mail
// it names the seller.
func TestAnEarlierOrderIsNotDescribed(t *testing.T) {
	for _, limit := range []int{1, 3} {
		for _, mail := range []bool{false, true} {
			x := openSale(t, func(p *Product) { p.PerPerson = limit })
			x.sale.Mail = mail
			replies := map[string]bool{}
			for _, a := range []orders.Answer{
				{Outcome: orders.AlreadyDone, Order: 77, State: orders.SaleInStock}, {Outcome: orders.Differs, State: orders.SaleInStock},
				{Outcome: orders.OverLimit, State: orders.SaleInStock}, {Outcome: orders.OverLimit, Remaining: 2, State: orders.SaleInStock},
			} {
				for _, pairs := range [][]string{{}, {"more", "yes"}} {
					x.book.forced = &a
					w := x.postOrder(pairs...)
					replies[fmt.Sprint(w.Code, w.Header(), w.Body)] = true
				}
			}
			for text := range replies {
				if !strings.Contains(text, "write to") || mail != strings.Contains(text, "exactly the e-mail address that you typed") || (limit > 1) != strings.Contains(text, `name="more"`) {
					t.Errorf("limit %d, mail %t: %s", limit, mail, textOf(text))
				}
			}
			if len(replies) != 1 {
				t.Errorf("limit %d, mail %t: %d different replies", limit, mail, len(replies))
			}
		}
	}
}
