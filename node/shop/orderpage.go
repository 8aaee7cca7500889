package shop

import (
	"net/http"
	"net/url"
	"strings"
)

// otherCountry stands in the order page's URL for every country that is not in the table.
// It is the one code for all of them, so that clients cannot create endless pages.
const otherCountry = "other"

// serveOrder shows the order page: the total for a country, and the form that is open now.
func (s *Shop) serveOrder(w http.ResponseWriter, r *http.Request) {
	p := s.productFromURL(r)
	if p == nil {
		s.notFound(w, r)
		return
	}
	if r.Method == http.MethodPost {
		s.placeOrder(w, r, p, nil)
		return
	}
	a := pageAddress{page: "order", product: p, country: s.chosenCountry(r.URL.RawQuery)}
	s.servePage(w, r, a, pagePolicy(), "shop product:"+p.Slug)
}

// chosenCountry returns the country in an order page's query: a code in the shipping table,
// otherCountry, or "" for none. Case does not matter.
func (s *Shop) chosenCountry(query string) string {
	values, _ := url.ParseQuery(query) // an unreadable query names no country
	country := strings.ToUpper(strings.TrimSpace(values.Get("country")))
	switch {
	case country == "":
		return ""
	case s.cat.shippingTo(country) != nil:
		return country
	}
	return otherCountry
}

// rejectWithoutOrderBook answers a form that is posted without an order book: it comes from an earlier page of the shop or from
// a program, because no page of this shop has a form then. It
// answers 405 and not 503, because nothing is broken and a retry will not help. What a
// person typed is shown for copying, unless another site posted it: its text must not
// appear on our page.
func (s *Shop) rejectWithoutOrderBook(w http.ResponseWriter, r *http.Request, p *Product) {
	content := &formContent{form: &form{}}
	content.showAlert("Nothing was ordered", "This shop does not take orders yet. Nothing was stored, and you owe nothing.")
	if s.crossOrigin.Check(r) == nil {
		if content.form = readForm(r, s.fieldLimits); content.form.statusCode() == http.StatusRequestEntityTooLarge {
			content.alert.Lines = append(content.alert.Lines, "The form was too long to show here: your browser's Back button still has it.")
		}
	}
	w.Header().Set("Allow", "GET, HEAD")
	s.showForm(w, r, http.StatusMethodNotAllowed, p, content)
}
