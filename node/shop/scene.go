package shop

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"bramble/node/orders"
)

// scene is all that a page depends on besides its address, at one moment: every page is a
// pure function of both.
type scene struct {
	now   time.Time
	desk  bool           // whether there is an order book at all
	sales []sale         // in the order of the catalogue
	told  []Announcement // newest first
	left  time.Duration  // to the next moment at which a text changes by the clock; negative: none known
	mark  string         // two scenes with the same mark have the same pages
}

// sale is a product as it stands at a moment: its words are the catalogue's, all else is
// the order book's. Without one, or as long as it does not have the product, the prices
// and hours are the catalogue's.
type sale struct {
	*Product
	State      orders.SaleState
	Mode       orders.Mode
	Takes      string // the kind of form that the order page has: see below; "" = none
	Known      bool   // the order book has it
	Desk       bool   // there is an order book
	Stock      int    // units that are free
	PerPerson  int
	Opens      time.Time
	Closes     time.Time
	Planned    time.Time // of an Unknown sale: the opening that the catalogue plans, if it is still to come
	List       bool      // it has a waiting list
	Waiting    int
	Interested int
	Entries    int
	Price      Money
	Path       string
	Order      string
	Place      string
	DrawPath   string // of a ballot that the book has; else ""
	Totals     []total

	book orders.Sale // only its prices and countries, if it is not Known
}

// The kinds of form, as the forms name them and the order book does.
const (
	takesOrder    = "order"
	takesEntry    = "entry"
	takesInterest = "interest"
	takesWaiting  = "waiting"
)

// kindOf is the order book's number for a kind of form; false if there is none.
func kindOf(takes string) (orders.Kind, bool) {
	for _, k := range []orders.Kind{orders.KindOrder, orders.KindEntry, orders.KindInterest, orders.KindWaiting} {
		if takes == k.String() {
			return k, true
		}
	}
	return 0, false
}

// total is what a number of units costs at the door in one country, part by part.
type total struct {
	Quantity int
	Country  string // its code
	Name     string
	Goods    Money
	Shipping Money
	Tax      Money
	Rate     string // the tax's, such as "19 %"; "" = none is asked here
	Total    Money
	Path     string // the order page for the country
}

// scene looks at the catalogue and the order book.
func (s *Shop) scene(now time.Time) *scene {
	if s.desk == nil {
		return s.sceneOf(now, nil, nil)
	}
	return s.sceneOf(now, s.desk.Sale, s.desk.News())
}

// lone is a product's sale without what only a page needs: its totals and its neighbours.
// It is what a form is checked by, and a form must be cheap.
func (s *Shop) lone(p *Product) *sale { return s.sale(p, s.now(), s.desk.Sale) }

// sceneOf makes a scene; without look there is no order book.
func (s *Shop) sceneOf(now time.Time, look func(string) (orders.Sale, bool), news []orders.News) *scene {
	c := &scene{now: now, desk: look != nil, told: s.cat.announcedAt(now, news), left: -1}
	mark := fmt.Appendf(nil, "%d", len(c.told))
	if len(c.told) > 0 {
		h := fnv.New64a()
		h.Write([]byte(c.told[0].Text)) // a hash takes every byte
		mark = fmt.Appendf(mark, " %d %x", c.told[0].Time.UnixNano(), h.Sum64())
	}
	for _, a := range s.cat.Announcements {
		c.until(a.Time)
	}
	for i := range s.cat.Products {
		o := s.sale(&s.cat.Products[i], now, look)
		for _, to := range o.book.Countries {
			if t, ok := s.total(o, to.Code, 1); ok {
				o.Totals = append(o.Totals, t)
			}
		}
		c.until(o.Opens)
		c.until(o.Closes)
		mark = fmt.Appendf(mark, " %s %t %d", o.State, o.Known, o.book.Version)
		c.sales = append(c.sales, *o)
	}
	c.mark = string(mark)
	return c
}

// until notes a moment at which a text changes.
func (c *scene) until(t time.Time) {
	if left := t.Sub(c.now); left > 0 && (c.left < 0 || left < c.left) {
		c.left = left
	}
}

// of is the sale of a product of the catalogue.
func (c *scene) of(p *Product) *sale {
	i := slices.IndexFunc(c.sales, func(o sale) bool { return o.Product == p })
	return &c.sales[i]
}

// live reports whether what the sale's pages say may be wrong in a second: units or places
// are going, or the order book may be there any moment.
func (o *sale) live() bool {
	return o.Desk && (!o.Known || o.State == orders.SaleInStock || o.State == orders.SaleOpen || o.State == orders.SaleDrawing)
}

func (c *scene) live() bool {
	return slices.ContainsFunc(c.sales, func(o sale) bool { return o.live() })
}

// sale looks at one product.
func (s *Shop) sale(p *Product, now time.Time, look func(string) (orders.Sale, bool)) *sale {
	o := &sale{
		Product:   p,
		State:     p.StateAt(now),
		Mode:      p.Mode,
		Desk:      look != nil,
		Stock:     p.Stock,
		PerPerson: p.PerPerson,
		Opens:     p.Opens,
		Closes:    p.Closes,
		List:      p.WaitingList,
		Path:      address{page: "product", product: p}.path(),
		Order:     address{page: "order", product: p}.path(),
		Place:     "/p/" + p.Slug + "/place",
	}
	o.book, o.Known = orders.Sale{Price: p.Price.Minor, Currency: p.Price.Currency, Countries: s.countries}, false
	if look != nil {
		// What the catalogue says may long be over: a rack that starts again has sold some.
		o.State, o.Stock = orders.SaleUnknown, 0
		if p.Opens.After(now) {
			o.Planned = p.Opens
		}
		if book, ok := look(p.Slug); ok {
			o.book, o.Known = book, true
			o.Mode = book.Mode
			o.Stock, o.PerPerson = int(book.Free), book.Limit
			o.Opens, o.Closes = book.Opens, book.Closes
			o.List, o.Waiting, o.Interested, o.Entries = book.WaitingList, book.Waiting, book.Interested, book.Entries
			o.as(o.book.StateAt(now))
		}
	}
	o.Price = o.money(o.book.Price)
	if o.Known && o.Mode == orders.Ballot {
		o.DrawPath = address{page: "draw", product: p}.path()
	}
	return o
}

// as puts the sale into a state of the order book, and says what it takes in that state.
func (o *sale) as(state orders.SaleState) {
	o.State, o.Takes = state, ""
	switch {
	case state == orders.SaleInStock:
		o.Takes = takesOrder
	case state == orders.SaleOpen && o.Mode == orders.Ballot:
		o.Takes = takesEntry
	case state == orders.SaleOpen:
		o.Takes = takesInterest
	case (state == orders.SaleSoldOut || state == orders.SaleDrawn) && o.List:
		o.Takes = takesWaiting
	}
}

func (o *sale) money(minor int64) Money { return Money{Minor: minor, Currency: o.book.Currency} }

// total adds up, by the order book's own rule; false if the sale does not deliver there.
func (s *Shop) total(o *sale, country string, quantity int) (total, bool) {
	split, ok := o.book.Total(country, quantity)
	if !ok {
		return total{}, false
	}
	t := total{
		Quantity: quantity,
		Country:  country,
		Name:     country,
		Goods:    o.money(split.Price),
		Shipping: o.money(split.Shipping),
		Tax:      o.money(split.Tax),
		Total:    o.money(split.Total),
		Path:     address{page: "order", product: o.Product, country: country}.path(),
	}
	if to := s.cat.shippingTo(country); to != nil {
		t.Name = to.Name
	}
	for _, c := range o.book.Countries {
		if c.Code == country {
			t.Rate = percent(c.Tax)
		}
	}
	return t, true
}

// Taxed reports whether any country asks for tax here, so that the tables need a column.
func (o *sale) Taxed() bool {
	return slices.ContainsFunc(o.book.Countries, func(c orders.Country) bool { return c.Tax != 0 })
}

// percent writes hundredths of a percent for people: "19 %", "7.7 %"; "" for none.
func percent(hundredths int) string {
	if hundredths == 0 {
		return ""
	}
	rate := strconv.Itoa(hundredths / 100)
	if rest := hundredths % 100; rest != 0 {
		rate += "." + strings.TrimRight(strconv.Itoa(100 + rest)[1:], "0")
	}
	return rate + "\u00a0%"
}

// prices is a mark of the price list that a page shows, for its form to say which one the
// person saw.
func (o *sale) prices() string {
	list := make([]byte, 0, 512)
	list = strconv.AppendInt(append(list, o.book.Currency...), o.book.Price, 10)
	for _, c := range o.book.Countries {
		list = append(append(list, ' '), c.Code...)
		list = strconv.AppendInt(append(list, ' '), c.Shipping, 10)
		list = strconv.AppendInt(append(list, ' '), int64(c.Tax), 10)
	}
	h := fnv.New64a()
	h.Write(list) // a hash takes every byte
	return strconv.FormatUint(h.Sum64(), 36)
}
