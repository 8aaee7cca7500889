package shop

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A form beyond its client's limit is refused before the order book is asked, with what was typed and the
// button, and the same form is accepted later.
func TestALimitedFormLosesNothing(t *testing.T) {
	x := openSale(t, nil)
	receipt := x.mustPlaceOrder(t, "email", "first@example.org", "line1", "2 Lane")
	asked := len(x.book.submitted)
	admitted, withPage := false, true
	x.admitForm = func(*http.Request) (bool, bool) { return admitted, withPage }
	w := x.postOrder()
	for _, want := range []string{limitTitle, "about 20 seconds", `name="email" value="ada@example.org"`, `name="token" value="`, "Place the order</button>", `action="` + boardPath + `/place"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page has no %q: %s", want, textOf(w.Body.String()))
		}
	}
	refusals := map[string]*httptest.ResponseRecorder{"order": w}
	refusals["cancellation"] = x.post(receipt+"/cancel", "sure=yes")
	refusals["confirmation"] = x.post(receipt+"/confirm", "sure=yes")
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
