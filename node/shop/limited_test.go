package shop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bramble/node/orders"
)

// A form beyond its client's limit is refused before the order book is asked, with what was typed and the
// button, and the same form is accepted later.
func TestALimitedFormLosesNothing(t *testing.T) {
	x := openSale(t, nil)
	receipt := x.mustPlaceOrder(t, "email", "first@example.org", "line1", "2 Lane")
	asked := len(x.book.submitted)
	admitted, withPage := false, true
	x.limits = &fakeLimits{told: 1, admit: func(bool) (bool, bool) { return admitted, withPage }}
	w := x.postOrder()
	for _, want := range []string{limitTitle, "about 20 seconds", `name="email" value="ada@example.org"`, `name="token" value="`, "Place the order</button>", `action="` + boardPath + `/place"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page has no %q: %s", want, textOf(w.Body.String()))
		}
	}
	refusals := map[string]*httptest.ResponseRecorder{"order": w}
	refusals["cancellation"] = x.post(receipt+"/cancel", "sure=yes")
	refusals["acceptance"] = x.post(receipt+"/order", "agreed=x")
	withPage = false
	refusals["short"] = x.postOrder()
	r := httptest.NewRequest("POST", boardPath+"/place", strings.NewReader(x.fields().Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	refusals["JSON"] = httptest.NewRecorder()
	x.ServeHTTP(refusals["JSON"], r)
	for name, w := range refusals {
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "20" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	if body := refusals["short"].Body.String(); strings.Contains(body, "ada@") || len(body) > 600 {
		t.Errorf("the shortest refusal: %s", body)
	}
	if body := refusals["JSON"].Body.String(); !strings.Contains(body, `"retry_after_seconds":20`) {
		t.Errorf("JSON: %s", body)
	}
	if !strings.Contains(refusals["cancellation"].Body.String(), `href="`+receipt+`/cancel"`) {
		t.Errorf("no way back to the button: %s", refusals["cancellation"].Body.String())
	}
	if len(x.book.submitted) != asked {
		t.Error("a refused form reached the order book")
	}
	admitted = true
	x.mustPlaceOrder(t)
}

// fakeLimits count the forms that are told about others.
type fakeLimits struct {
	admit      func(isMailed bool) (admitted, withPage bool)
	held, told int // that are left
	about      map[string]int
	network    uint16
}

func (f *fakeLimits) AdmitForm(_ *http.Request, isMailed bool) (admitted, withPage bool) {
	if f.admit == nil {
		return true, true
	}
	return f.admit(isMailed)
}

func (f *fakeLimits) HoldsUnits(*http.Request) bool    { f.held--; return f.held >= 0 }
func (f *fakeLimits) HashNetwork(*http.Request) uint16 { return f.network }
func (f *fakeLimits) AdmitAbout(_ *http.Request, subjects ...string) bool {
	if f.about == nil {
		return true
	}
	admitted := true
	for _, subject := range subjects {
		f.about[subject]++
		admitted = admitted && f.about[subject] <= 6
	}
	return admitted
}
func (f *fakeLimits) NoteTold(*http.Request)      { f.told-- }
func (f *fakeLimits) HasAsked(*http.Request) bool { return f.told <= 0 }

// Without confirmation by mail a form can tell whether somebody is known. Whoever has asked so often gets one answer to
// everything, and an e-mail address and a postal address have one answer before that.
func TestQuestionsAboutOthersAreCounted(t *testing.T) {
	b := newBookShop(t, nil)
	b.post("ada@example.org", "line1", "97 Long Road")
	limits := &fakeLimits{told: 4}
	b.shop.limits = limits
	known := b.post("ada@example.org", "line1", "97 Long Road")
	near := b.post("eve@example.org", "line1", "97 Long Road")
	if known.Code != http.StatusConflict || seenIn(known, "ada@example.org") != seenIn(near, "eve@example.org") {
		t.Errorf("an e-mail and a postal address differ:\n%s\n%s", known.Body, near.Body)
	}
	for range 2 {
		b.post("ada@example.org")
	}
	if limits.told != 0 {
		t.Fatalf("%d questions are left", limits.told)
	}
	b.wantAlike("after the last question")
	w := b.post("eve@example.org", "name", "")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != askedRetrySeconds || !strings.Contains(w.Body.String(), "eve@example.org") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	limits.told = 1
	if w := b.post("eve@example.org"); w.Code != http.StatusSeeOther {
		t.Errorf("later: %d", w.Code)
	}
}

// Without confirmation an accepted form tells as much as a refused one. So all forms about one street count: a house number among
// 150 takes one address more than half a day on the average. A school's pupils live in many streets.
func TestFormsAboutAStreetAreFew(t *testing.T) {
	b := newBookShop(t, func(o *orders.Offer) { o.Stock = 1000 })
	b.shop.limits = &fakeLimits{told: 100, about: map[string]int{}}
	accepted := 0
	for n := range 38 {
		w := b.post(fmt.Sprintf("probe%d@example.org", n), "line1", fmt.Sprint("Long Road ", 60+n))
		if w.Code == http.StatusSeeOther {
			accepted++
		} else if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != aboutRetrySeconds || !strings.Contains(w.Body.String(), "ten minutes") {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
	}
	if accepted != 6 {
		t.Errorf("%d houses of one street were tried out", accepted)
	}
	b.wantAlike("beyond the limit of a street", "line1", "97 Long Road")
	for n := range 300 {
		street := string([]byte{byte('a' + n%26), byte('a' + n/26), 'x'})
		if w := b.post(fmt.Sprintf("pupil%d@example.org", n), "line1", "7 "+street+" Street"); w.Code != http.StatusSeeOther {
			t.Fatalf("pupil %d: %d", n, w.Code)
		}
	}
}

// Nobody fills one mailbox by spelling its address in many ways.
func TestFormsAboutAPersonAreFew(t *testing.T) {
	b := newConfirmShop(t, nil)
	b.shop.limits = &fakeLimits{told: 100, held: 100, about: map[string]int{}}
	for n := range 20 {
		w := b.post(fmt.Sprintf("vera+%d@example.org", n), "line1", "7 Street")
		if want := map[bool]int{true: http.StatusSeeOther, false: http.StatusTooManyRequests}[n < 6]; w.Code != want {
			t.Errorf("form %d: %d", n, w.Code)
		}
	}
	if w := b.post("eve@example.org", "line1", "8 Street"); w.Code != http.StatusSeeOther {
		t.Errorf("in the same street, with confirmation: %d", w.Code)
	}
}
