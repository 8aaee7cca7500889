package shop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bramble/node/orders"
)

// maxPageBytes bounds a page's HTML and CSS together, in bytes before compression. The first
// flight of a new TCP connection is ten segments (RFC 6928), some 14,600 bytes on
// Ethernet; what is left is for the header fields.
const maxPageBytes = 14_000

// ErrPageTooBig says that a catalogue's text makes a page larger than MaxPage.
var ErrPageTooBig = errors.New("the page is too big")

// checkPageSizes renders each kind of page of each product in each state that the catalogue and
// the order book may bring, with the longest announcement, and the form full of mistakes,
// so that a shop which starts has pages that fit.
func (s *Shop) checkPageSizes() error {
	for _, c := range s.snapshotsToCheck() {
		for _, a := range s.addressesToCheck() {
			if err := s.checkPageSize(a.path(), func() ([]byte, error) { return s.renderPage(a, c) }); err != nil {
				return err
			}
		}
		for i := range c.sales {
			if o := &c.sales[i]; o.FormKind != "" {
				err := s.checkPageSize("a form full of mistakes on "+o.OrderPath, func() ([]byte, error) { return s.renderOrder(c, o, formWithAllProblems(o)) })
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *Shop) checkPageSize(what string, make func() ([]byte, error)) error {
	page, err := make()
	if err != nil {
		return err
	}
	if len(page) > maxPageBytes {
		return fmt.Errorf("%w: %s would have %d bytes and at most %d fit: shorten its text or its lists in the catalogue",
			ErrPageTooBig, what, len(page), maxPageBytes)
	}
	return nil
}

// addressesToCheck are the pages to measure; of the order pages for a country the longest.
func (s *Shop) addressesToCheck() []pageAddress {
	longest := slices.MaxFunc(s.cat.Shipping, func(a, b Shipping) int { return len(a.Name) - len(b.Name) })
	list := []pageAddress{{page: "home"}, {page: "status"}}
	for i := range s.cat.Products {
		p := &s.cat.Products[i]
		list = append(list,
			pageAddress{page: "product", product: p},
			pageAddress{page: "order", product: p},
			pageAddress{page: "order", product: p, country: otherCountry},
			pageAddress{page: "order", product: p, country: longest.Country})
		if s.desk != nil && p.Mode == orders.Ballot {
			list = append(list, pageAddress{page: "draw", product: p})
		}
	}
	return list
}

// snapshotsToCheck are moments before and after all that the catalogue has in store and, with an
// order book, every state that this may put the sales in.
func (s *Shop) snapshotsToCheck() []*snapshot {
	end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	list := []*snapshot{s.snapshotAt(time.Time{}, nil, nil), s.snapshotAt(end, nil, nil)}
	if s.desk == nil {
		return list
	}
	news := []orders.News{{At: end, Text: strings.Repeat("x", maxSentence)}}
	list = append(list, s.snapshotAt(end, func(string) (orders.Sale, bool) { return orders.Sale{}, false }, news))
	for state := orders.SaleUpcoming; state <= orders.SaleDrawn; state++ {
		c := s.snapshotAt(end, nil, news)
		c.hasOrderBook = true
		for i := range c.sales {
			o := &c.sales[i]
			o.HasOrderBook, o.InBook, o.Waiting, o.Entries, o.Interested = true, true, maxStock, maxStock, maxStock
			o.Opens, o.Closes = end, end
			o.setState(state)
			if o.Mode == orders.Ballot {
				o.DrawPath = pageAddress{page: "draw", product: o.Product}.path()
			}
		}
		list = append(list, c)
	}
	return list
}

// formWithAllProblems is what the most patient person could get wrong.
func formWithAllProblems(o *productSale) *formState {
	f := &form{values: map[string]string{"country": o.book.Countries[0].Code}}
	for _, e := range personFields() {
		f.values[e.Name] = strings.Repeat("x", e.MaxBytes)
		f.addProblem(e.Name, tooLongText(e.MaxBytes))
	}
	f.addProblem("country", countryProblem)
	f.addProblem("quantity", quantityProblem(o.PerPerson))
	return &formState{form: f, kind: o.FormKind, alert: alertForProblems(f)}
}
