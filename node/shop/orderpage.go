package shop

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxShownFields limits the fields of a posted form that are shown again without an order book.
const maxShownFields = 50

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

// rejectWithoutOrderBook answers a form that is posted without an order book: it comes from a page of
// another version or from a program, because no page of this shop has a form then. It
// answers 405 and not 503, because nothing is broken and a retry will not help. What a
// person typed is shown for copying, unless another site posted it: its text must not
// appear on our page.
func (s *Shop) rejectWithoutOrderBook(w http.ResponseWriter, r *http.Request, p *Product) {
	message := errorMessage{
		Title:    "Nothing was ordered",
		Text:     "This shop does not take orders yet. Nothing was stored, and you owe nothing.",
		LinkPath: pageAddress{page: "order", product: p}.path(),
	}
	if s.crossOrigin.Check(r) == nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		switch err := r.ParseForm(); {
		case err != nil || len(r.PostForm) > maxShownFields:
			message.Text += " The form was too long to show here: your browser's Back button still has it."
		default:
			message.Typed = postedValues(r.PostForm)
		}
	}
	w.Header().Set("Allow", "GET, HEAD")
	s.sendErrorPage(w, r, http.StatusMethodNotAllowed, message)
}

func postedValues(form url.Values) []formValue {
	var list []formValue
	for name, values := range form {
		if value := strings.Join(values, "\n"); strings.TrimSpace(value) != "" {
			list = append(list, formValue{Name: strings.ToValidUTF8(name, "?"), Value: strings.ToValidUTF8(value, "?")})
		}
	}
	slices.SortFunc(list, func(a, b formValue) int { return strings.Compare(a.Name, b.Name) })
	return list
}
