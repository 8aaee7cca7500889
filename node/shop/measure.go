package shop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bramble/node/orders"
)

// MaxPage bounds a page's HTML and CSS together, in bytes before compression. The first
// flight of a new TCP connection is ten segments (RFC 6928), some 14,600 bytes on
// Ethernet; what is left is for the header fields.
const MaxPage = 14_000

// ErrPageTooBig says that a catalogue's text makes a page larger than MaxPage.
var ErrPageTooBig = errors.New("the page is too big")

// measure renders each kind of page of each product in each state that the catalogue and
// the order book may bring, with the longest announcement, and the form full of mistakes,
// so that a shop which starts has pages that fit.
func (s *Shop) measure() error {
	for _, c := range s.scenes() {
		for _, a := range s.addresses() {
			if err := s.measured(a.path(), func() ([]byte, error) { return s.render(a, c) }); err != nil {
				return err
			}
		}
		for i := range c.sales {
			if o := &c.sales[i]; o.Takes != "" {
				err := s.measured("a form full of mistakes on "+o.Order, func() ([]byte, error) { return s.renderOrder(c, o, worstForm(o)) })
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *Shop) measured(what string, make func() ([]byte, error)) error {
	page, err := make()
	if err != nil {
		return err
	}
	if len(page) > MaxPage {
		return fmt.Errorf("%w: %s would have %d bytes and at most %d fit: shorten its text or its lists in the catalogue",
			ErrPageTooBig, what, len(page), MaxPage)
	}
	return nil
}

// addresses are the pages to measure; of the order pages for a country the longest.
func (s *Shop) addresses() []address {
	longest := slices.MaxFunc(s.cat.Shipping, func(a, b Shipping) int { return len(a.Name) - len(b.Name) })
	list := []address{{page: "home"}, {page: "status"}}
	for i := range s.cat.Products {
		p := &s.cat.Products[i]
		list = append(list,
			address{page: "product", product: p},
			address{page: "order", product: p},
			address{page: "order", product: p, country: elsewhere},
			address{page: "order", product: p, country: longest.Country})
		if s.desk != nil && p.Mode == orders.Ballot {
			list = append(list, address{page: "draw", product: p})
		}
	}
	return list
}

// scenes are moments before and after all that the catalogue has in store and, with an
// order book, every state that this may put the sales in.
func (s *Shop) scenes() []*scene {
	end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	list := []*scene{s.sceneOf(time.Time{}, nil, nil), s.sceneOf(end, nil, nil)}
	if s.desk == nil {
		return list
	}
	news := []orders.News{{At: end, Text: strings.Repeat("x", MaxSentence)}}
	list = append(list, s.sceneOf(end, func(string) (orders.Sale, bool) { return orders.Sale{}, false }, news))
	for state := orders.SaleUpcoming; state <= orders.SaleDrawn; state++ {
		c := s.sceneOf(end, nil, news)
		c.desk = true
		for i := range c.sales {
			o := &c.sales[i]
			o.Desk, o.Known, o.Waiting, o.Entries, o.Interested = true, true, MaxStock, MaxStock, MaxStock
			o.Opens, o.Closes = end, end
			o.as(state)
			if o.Mode == orders.Ballot {
				o.DrawPath = address{page: "draw", product: o.Product}.path()
			}
		}
		list = append(list, c)
	}
	return list
}

// worstForm is what the most patient person could get wrong.
func worstForm(o *sale) *filling {
	f := &form{values: map[string]string{"country": o.book.Countries[0].Code}}
	for _, e := range entries() {
		f.values[e.Name] = strings.Repeat("x", e.Most)
		f.blame(e.Name, cutShort(e.Most))
	}
	f.blame("country", noCountry)
	f.blame("quantity", noQuantity(o.PerPerson))
	return &filling{form: f, takes: o.Takes, why: faultsFound(f)}
}
