package shop

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxShownFields bounds the fields of a post that are shown again where there is no order book.
const maxShownFields = 50

// otherCountry stands in the order page's URL for every country that is not in the table.
// It is the one code for all of them, so that no crowd can make up endless pages.
const otherCountry = "other"

// serveOrder shows the order page: the total for a country and the form, whatever it is
// that the sale takes now.
func (s *Shop) serveOrder(w http.ResponseWriter, r *http.Request) {
	p := s.productFromURL(r)
	if p == nil {
		s.notFound(w, r)
		return
	}
	if r.Method == http.MethodPost {
		s.placeOrder(w, r, p)
		return
	}
	a := pageAddress{page: "order", product: p, country: s.chosenCountry(r.URL.RawQuery)}
	s.servePage(w, r, a, pagePolicy(), "shop product:"+p.Slug)
}

// chosenCountry reads the country from an order page's query: a code in the shipping table,
// elsewhere, or "" for none. Small letters are as good as capitals.
func (s *Shop) chosenCountry(query string) string {
	values, _ := url.ParseQuery(query) // what cannot be read is not a country
	country := strings.ToUpper(strings.TrimSpace(values.Get("country")))
	switch {
	case country == "":
		return ""
	case s.cat.shippingTo(country) != nil:
		return country
	}
	return otherCountry
}

// rejectOrder answers a post where there is no order book, so that no page of this shop
// sends one: it comes from a page of another version, or from a program. 405 and not 503, because trying again will not
// help and nothing is broken. What a person typed is shown again to be copied, unless the
// post came from another site, whose words must not appear in ours.
func (s *Shop) rejectOrder(w http.ResponseWriter, r *http.Request, p *Product) {
	a := errorMessage{
		Title:    "Nothing was ordered",
		Text:     "This rack does not take orders yet. Nothing was sent on, nothing was kept, and you owe nothing.",
		LinkPath: pageAddress{page: "order", product: p}.path(),
	}
	if s.crossOrigin.Check(r) == nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		switch err := r.ParseForm(); {
		case err != nil || len(r.PostForm) > maxShownFields:
			a.Text += " The form was too long to show here: your browser's Back button still has it."
		default:
			a.Typed = postedValues(r.PostForm)
		}
	}
	w.Header().Set("Allow", "GET, HEAD")
	s.sendErrorPage(w, r, http.StatusMethodNotAllowed, a)
}

// postedValues lists the filled fields by name.
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
