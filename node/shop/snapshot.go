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

// snapshot is all that a page depends on besides its address, at one moment: every page is a
// pure function of both.
type snapshot struct {
	now           time.Time
	hasOrderBook  bool           // whether there is an order book at all
	sales         []productSale  // in the order of the catalogue
	announcements []Announcement // newest first
	untilChange   time.Duration  // to the next moment at which a text changes by the clock; negative: none known
	version       string         // two scenes with the same mark have the same pages
}

// productSale is a product as it stands at a moment: its words are the catalogue's, all else is
// the order book's. Without one, or as long as it does not have the product, the prices
// and hours are the catalogue's.
type productSale struct {
	*Product
	State          orders.SaleState
	Mode           orders.Mode
	FormKind       string // the kind of form that the order page has: see below; "" = none
	InBook         bool   // the order book has it
	HasOrderBook   bool   // there is an order book
	Stock          int    // units that are free
	PerPerson      int
	Opens          time.Time
	Closes         time.Time
	PlannedOpening time.Time // of an Unknown sale: the opening that the catalogue plans, if it is still to come
	HasWaitingList bool      // it has a waiting list
	Waiting        int
	Interested     int
	Entries        int
	Price          Money
	Path           string
	OrderPath      string
	PostPath       string
	DrawPath       string // of a ballot that the book has; else ""
	Totals         []orderTotal

	book orders.Sale // only its prices and countries, if it is not Known
}

// The kinds of form, as the forms name them and the order book does.
const (
	formOrder    = "order"
	formEntry    = "entry"
	formInterest = "interest"
	formWaiting  = "waiting"
)

// orderKind is the order book's number for a kind of form; false if there is none.
func orderKind(takes string) (orders.Kind, bool) {
	for _, k := range []orders.Kind{orders.KindOrder, orders.KindEntry, orders.KindInterest, orders.KindWaiting} {
		if takes == k.String() {
			return k, true
		}
	}
	return 0, false
}

// orderTotal is what a number of units costs at the door in one country, part by part.
type orderTotal struct {
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

// takeSnapshot looks at the catalogue and the order book.
func (s *Shop) takeSnapshot(now time.Time) *snapshot {
	if s.desk == nil {
		return s.snapshotAt(now, nil, nil)
	}
	return s.snapshotAt(now, s.desk.Sale, s.desk.News())
}

// saleForForm is a product's sale without what only a page needs: its totals and its neighbours.
// It is what a form is checked by, and a form must be cheap.
func (s *Shop) saleForForm(p *Product) *productSale { return s.saleAt(p, s.now(), s.desk.Sale) }

// snapshotAt makes a scene; without look there is no order book.
func (s *Shop) snapshotAt(now time.Time, look func(string) (orders.Sale, bool), news []orders.News) *snapshot {
	c := &snapshot{now: now, hasOrderBook: look != nil, announcements: s.cat.announcedAt(now, news), untilChange: -1}
	mark := fmt.Appendf(nil, "%d", len(c.announcements))
	if len(c.announcements) > 0 {
		h := fnv.New64a()
		h.Write([]byte(c.announcements[0].Text)) // a hash takes every byte
		mark = fmt.Appendf(mark, " %d %x", c.announcements[0].Time.UnixNano(), h.Sum64())
	}
	for _, a := range s.cat.Announcements {
		c.noteChangeAt(a.Time)
	}
	for i := range s.cat.Products {
		o := s.saleAt(&s.cat.Products[i], now, look)
		for _, to := range o.book.Countries {
			if t, ok := s.totalFor(o, to.Code, 1); ok {
				o.Totals = append(o.Totals, t)
			}
		}
		c.noteChangeAt(o.Opens)
		c.noteChangeAt(o.Closes)
		mark = fmt.Appendf(mark, " %s %t %d", o.State, o.InBook, o.book.Version)
		c.sales = append(c.sales, *o)
	}
	c.version = string(mark)
	return c
}

// noteChangeAt notes a moment at which a text changes.
func (c *snapshot) noteChangeAt(t time.Time) {
	if left := t.Sub(c.now); left > 0 && (c.untilChange < 0 || left < c.untilChange) {
		c.untilChange = left
	}
}

// saleOf is the sale of a product of the catalogue.
func (c *snapshot) saleOf(p *Product) *productSale {
	i := slices.IndexFunc(c.sales, func(o productSale) bool { return o.Product == p })
	return &c.sales[i]
}

// changesFast reports whether what the sale's pages say may be wrong in a second: units or places
// are going, or the order book may be there any moment.
func (o *productSale) changesFast() bool {
	return o.HasOrderBook && (!o.InBook || o.State == orders.SaleInStock || o.State == orders.SaleOpen || o.State == orders.SaleDrawing)
}

func (c *snapshot) changesFast() bool {
	return slices.ContainsFunc(c.sales, func(o productSale) bool { return o.changesFast() })
}

// saleAt looks at one product.
func (s *Shop) saleAt(p *Product, now time.Time, look func(string) (orders.Sale, bool)) *productSale {
	o := &productSale{
		Product:        p,
		State:          p.StateAt(now),
		Mode:           p.Mode,
		HasOrderBook:   look != nil,
		Stock:          p.Stock,
		PerPerson:      p.PerPerson,
		Opens:          p.Opens,
		Closes:         p.Closes,
		HasWaitingList: p.WaitingList,
		Path:           pageAddress{page: "product", product: p}.path(),
		OrderPath:      pageAddress{page: "order", product: p}.path(),
		PostPath:       "/p/" + p.Slug + "/place",
	}
	o.book, o.InBook = orders.Sale{Price: p.Price.Minor, Currency: p.Price.Currency, Countries: s.countries}, false
	if look != nil {
		// What the catalogue says may long be over: a rack that starts again has sold some.
		o.State, o.Stock = orders.SaleUnknown, 0
		if p.Opens.After(now) {
			o.PlannedOpening = p.Opens
		}
		if book, ok := look(p.Slug); ok {
			o.book, o.InBook = book, true
			o.Mode = book.Mode
			o.Stock, o.PerPerson = int(book.Free), book.Limit
			o.Opens, o.Closes = book.Opens, book.Closes
			o.HasWaitingList, o.Waiting, o.Interested, o.Entries = book.WaitingList, book.Waiting, book.Interested, book.Entries
			o.setState(o.book.StateAt(now))
		}
	}
	o.Price = o.moneyOf(o.book.Price)
	if o.InBook && o.Mode == orders.Ballot {
		o.DrawPath = pageAddress{page: "draw", product: p}.path()
	}
	return o
}

// setState puts the sale into a state of the order book, and says what it takes in that state.
func (o *productSale) setState(state orders.SaleState) {
	o.State, o.FormKind = state, ""
	switch {
	case state == orders.SaleInStock:
		o.FormKind = formOrder
	case state == orders.SaleOpen && o.Mode == orders.Ballot:
		o.FormKind = formEntry
	case state == orders.SaleOpen:
		o.FormKind = formInterest
	case (state == orders.SaleSoldOut || state == orders.SaleDrawn) && o.HasWaitingList:
		o.FormKind = formWaiting
	}
}

func (o *productSale) moneyOf(minor int64) Money {
	return Money{Minor: minor, Currency: o.book.Currency}
}

// totalFor adds up, by the order book's own rule; false if the sale does not deliver there.
func (s *Shop) totalFor(o *productSale, country string, quantity int) (orderTotal, bool) {
	split, ok := o.book.Total(country, quantity)
	if !ok {
		return orderTotal{}, false
	}
	t := orderTotal{
		Quantity: quantity,
		Country:  country,
		Name:     country,
		Goods:    o.moneyOf(split.Price),
		Shipping: o.moneyOf(split.Shipping),
		Tax:      o.moneyOf(split.Tax),
		Total:    o.moneyOf(split.Total),
		Path:     pageAddress{page: "order", product: o.Product, country: country}.path(),
	}
	if to := s.cat.shippingTo(country); to != nil {
		t.Name = to.Name
	}
	for _, c := range o.book.Countries {
		if c.Code == country {
			t.Rate = formatPercent(c.Tax)
		}
	}
	return t, true
}

// Taxed reports whether any country asks for tax here, so that the tables need a column.
func (o *productSale) Taxed() bool {
	return slices.ContainsFunc(o.book.Countries, func(c orders.Country) bool { return c.Tax != 0 })
}

// formatPercent writes hundredths of a percent for people: "19 %", "7.7 %"; "" for none.
func formatPercent(hundredths int) string {
	if hundredths == 0 {
		return ""
	}
	rate := strconv.Itoa(hundredths / 100)
	if rest := hundredths % 100; rest != 0 {
		rate += "." + strings.TrimRight(strconv.Itoa(100 + rest)[1:], "0")
	}
	return rate + "\u00a0%"
}

// pricesMark is a mark of the price list that a page shows, for its form to say which one the
// person saw.
func (o *productSale) pricesMark() string {
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
