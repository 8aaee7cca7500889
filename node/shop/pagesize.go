package shop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bramble/node/orders"
)

// maxPageBytes limits a page's HTML and CSS together, in bytes before compression. The initial
// window of a TCP connection is ten segments (RFC 6928), some 14,600 bytes on Ethernet; the
// rest is for the header fields.
const maxPageBytes = 14_000

// ErrPageTooBig means that a catalogue's text makes a page larger than maxPageBytes.
var ErrPageTooBig = errors.New("the page is too big")

// checkPageSizes renders each kind of page of each product in each state that the catalogue
// and the order book can have, with the longest announcement, and each form with all its
// problems. So every page of a shop that has started fits.
func (s *Shop) checkPageSizes() error {
	for _, state := range s.pageStatesToCheck() {
		for _, a := range s.addressesToCheck() {
			if err := s.checkPageSize(a.path(), func() ([]byte, error) { return s.renderPage(a, state) }); err != nil {
				return err
			}
		}
		for i := range state.sales {
			sale := &state.sales[i]
			if sale.FormKind == "" && sale.Hold == "" {
				continue
			}
			content, name := formWithAllProblems(sale), "the form with all its problems on "+sale.OrderPath
			if sale.Hold != "" {
				name = "the page for a form that is sent while orders are paused"
				content.kind, content.again, content.unsure, content.alert = "", true, true, describePause(state.pause, true)
			}
			if err := s.checkPageSize(name, func() ([]byte, error) { return s.renderOrder(state, sale, content) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPageSize renders one page, and fails if it is too big.
func (s *Shop) checkPageSize(name string, render func() ([]byte, error)) error {
	page, err := render()
	if err != nil {
		return err
	}
	if len(page) > maxPageBytes {
		return fmt.Errorf("%w: %s would have %d bytes, and at most %d fit: shorten its text or its lists in the catalogue",
			ErrPageTooBig, name, len(page), maxPageBytes)
	}
	return nil
}

// addressesToCheck returns the pages to render; of the order pages for a country only the longest.
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
		if s.orderService != nil && p.Mode == orders.Ballot {
			list = append(list, pageAddress{page: "draw", product: p})
		}
	}
	return list
}

// pageStatesToCheck returns page states before and after all planned times of the catalogue
// and, with an order book, in every state of the sales.
func (s *Shop) pageStatesToCheck() []*pageState {
	end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	list := []*pageState{s.pageStateAt(time.Time{}, nil, nil, orders.NotPaused), s.pageStateAt(end, nil, nil, orders.NotPaused)}
	if s.orderService == nil {
		return list
	}
	news := []orders.News{{At: end, Text: strings.Repeat("x", maxSentence)}}
	empty := func(string) (orders.Sale, bool) { return orders.Sale{}, false }
	for pause := orders.NotPaused; pause <= orders.PausedBoard; pause++ { // with the state unknown
		list = append(list, s.pageStateAt(end, empty, news, pause))
	}
	for saleState := orders.SaleUpcoming; saleState <= orders.SaleDrawn; saleState++ {
		state := s.pageStateAt(end, nil, news, orders.NotPaused)
		state.hasOrderBook = true
		for i := range state.sales {
			sale := &state.sales[i]
			sale.HasOrderBook, sale.InBook, sale.Waiting, sale.Entries, sale.Interested = true, true, maxStock, maxStock, maxStock
			sale.Opens, sale.Closes = end, end
			sale.setState(saleState)
			if sale.Mode == orders.Ballot {
				sale.DrawPath = pageAddress{page: "draw", product: sale.Product}.path()
			}
		}
		list = append(list, state)
	}
	return list
}

func formWithAllProblems(sale *productSale) *formContent {
	f := &form{values: map[string]string{"country": sale.book.Countries[0].Code}}
	for _, field := range personFields() {
		f.values[field.Name] = strings.Repeat("x", field.MaxBytes)
		f.addProblem(field.Name, tooLongText(field.MaxBytes))
	}
	f.addProblem("country", countryProblem)
	f.addProblem("quantity", quantityProblem(sale.PerPerson))
	return &formContent{form: f, kind: sale.FormKind, alert: alertForProblems(f)}
}
