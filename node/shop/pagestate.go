package shop

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"bramble/node/orders"
)

// pageState is everything that a page depends on at one moment, besides its address: every
// page is a pure function of the two.
type pageState struct {
	now           time.Time
	hasOrderBook  bool           // the shop has an order book
	pause         orders.Pause   // why this board accepts no orders
	sales         []productSale  // in the order of the catalogue
	announcements []Announcement // newest first
	untilChange   time.Duration  // until the next text that changes by the clock; negative: none is known
	version       string         // states of one version have the same pages
}

// productSale is the sale of a product at one moment. Its texts come from the catalogue, all
// other fields from the order book. Without a book, or until the book has the product,
// prices and times come from the catalogue too.
type productSale struct {
	*Product
	State          orders.SaleState
	Mode           orders.Mode
	FormKind       string // the kind of form on the order page, see below; "" = none
	Hold           string // why there is no form although the state has one: a word of orders.Pause, or holdRefused; "" = it has its form
	InBook         bool   // the order book has it
	HasOrderBook   bool   // there is an order book
	Stock          int    // free units
	PerPerson      int
	Opens          time.Time
	Closes         time.Time
	PlannedOpening time.Time // of a sale in state unknown: the catalogue's opening, if it is still to come
	HasWaitingList bool
	Waiting        int
	Interested     int
	Entries        int
	Price          Money
	Path           string
	OrderPath      string
	PostPath       string
	DrawPath       string // of a ballot in the book, else ""
	Totals         []orderTotal

	book  orders.Sale // only prices and countries, if not InBook
	pause orders.Pause
}

// The kinds of form, by the names that the order book has for them.
const (
	formOrder    = "order"
	formEntry    = "entry"
	formInterest = "interest"
	formWaiting  = "waiting"
)

// holdRefused is the Hold of a product that the order book refuses.
const holdRefused = "refused"

// orderTotal is the total for a number of units delivered to one country, with its parts.
type orderTotal struct {
	Quantity int
	Country  string // its code
	Name     string
	Goods    Money
	Shipping Money
	Tax      Money
	Rate     string // of the tax, such as "19 %"; "" = the shop collects none
	Total    Money
	Path     string // the order page for the country
}

// readPageState returns the current page state, from the catalogue and the order book.
func (s *Shop) readPageState(now time.Time) *pageState {
	if s.orderService == nil {
		return s.pageStateAt(now, nil, nil, orders.NotPaused)
	}
	return s.pageStateAt(now, s.orderService.Sale, s.orderService.News(), s.orderService.Pause())
}

// saleForForm returns the sale that a form is checked against. A form must be cheap, so the
// totals and the other products, which only a page needs, are left out.
func (s *Shop) saleForForm(p *Product) *productSale {
	return s.saleAt(p, s.now(), s.orderService.Sale, s.orderService.Pause())
}

// pageStateAt returns the page state at a moment. A nil book means that there is no order book.
func (s *Shop) pageStateAt(now time.Time, book func(string) (orders.Sale, bool), news []orders.News, pause orders.Pause) *pageState {
	state := &pageState{now: now, hasOrderBook: book != nil, pause: pause, announcements: s.cat.announcedAt(now, news), untilChange: -1}
	version := fmt.Appendf(nil, "%s %d", pause, len(state.announcements))
	if len(state.announcements) > 0 {
		h := fnv.New64a()
		h.Write([]byte(state.announcements[0].Text)) // a hash takes every byte
		version = fmt.Appendf(version, " %d %x", state.announcements[0].Time.UnixNano(), h.Sum64())
	}
	for _, a := range s.cat.Announcements {
		state.noteChangeAt(a.Time)
	}
	for i := range s.cat.Products {
		sale := s.saleAt(&s.cat.Products[i], now, book, pause)
		for _, to := range sale.book.Countries {
			if t, ok := s.totalFor(sale, to.Code, 1); ok {
				sale.Totals = append(sale.Totals, t)
			}
		}
		state.noteChangeAt(sale.Opens)
		state.noteChangeAt(sale.Closes)
		version = fmt.Appendf(version, " %s %s %t %d", sale.State, sale.Hold, sale.InBook, sale.book.Version)
		state.sales = append(state.sales, *sale)
	}
	state.version = string(version)
	return state
}

func (state *pageState) noteChangeAt(t time.Time) {
	if left := t.Sub(state.now); left > 0 && (state.untilChange < 0 || left < state.untilChange) {
		state.untilChange = left
	}
}

func (state *pageState) saleOf(p *Product) *productSale {
	i := slices.IndexFunc(state.sales, func(sale productSale) bool { return sale.Product == p })
	return &state.sales[i]
}

// changesFast reports whether the sale's pages may be wrong in a second: they have a form,
// which can be withdrawn or come back, or the order book may appear at any moment.
func (sale *productSale) changesFast() bool {
	return sale.HasOrderBook && (!sale.InBook && sale.Hold != holdRefused || sale.FormKind != "" || sale.InBook && sale.Hold != "" || sale.State == orders.SaleDrawing)
}

// changesFast reports whether any sale does.
func (state *pageState) changesFast() bool {
	return slices.ContainsFunc(state.sales, func(sale productSale) bool { return sale.changesFast() })
}

// saleAt returns the sale of one product at a moment.
func (s *Shop) saleAt(p *Product, now time.Time, book func(string) (orders.Sale, bool), pause orders.Pause) *productSale {
	sale := &productSale{
		Product:        p,
		State:          p.stateAt(now),
		Mode:           p.Mode,
		HasOrderBook:   book != nil,
		Stock:          p.Stock,
		PerPerson:      p.PerPerson,
		Opens:          p.Opens,
		Closes:         p.Closes,
		HasWaitingList: p.WaitingList,
		Path:           pageAddress{page: "product", product: p}.path(),
		OrderPath:      pageAddress{page: "order", product: p}.path(),
		PostPath:       "/p/" + p.Slug + "/place",
		pause:          pause,
	}
	sale.book, sale.InBook = orders.Sale{Price: p.Price.Minor, Currency: p.Price.Currency, Countries: s.countries}, false
	if book != nil {
		// The catalogue may be out of date: a restarted rack has sold some units.
		sale.Stock = 0
		sale.setState(orders.SaleUnknown)
		if pause == orders.NotPaused && s.orderService != nil && s.orderService.IsRefused(p.Slug) {
			sale.Hold, sale.PlannedOpening = holdRefused, time.Time{}
		}
		if p.Opens.After(now) {
			sale.PlannedOpening = p.Opens
		}
		if known, ok := book(p.Slug); ok {
			sale.book, sale.InBook = known, true
			sale.Mode = known.Mode
			sale.Stock, sale.PerPerson = int(known.Free), known.Limit
			sale.Opens, sale.Closes = known.Opens, known.Closes
			sale.HasWaitingList, sale.Waiting, sale.Interested, sale.Entries = known.WaitingList, known.Waiting, known.Interested, known.Entries
			sale.setState(sale.book.StateAt(now))
		}
	}
	sale.Price = sale.moneyOf(sale.book.Price)
	if sale.InBook && sale.Mode == orders.Ballot {
		sale.DrawPath = pageAddress{page: "draw", product: p}.path()
	}
	return sale
}

// setState sets the sale's state, and the kind of form that goes with it, unless orders are
// paused.
func (sale *productSale) setState(state orders.SaleState) {
	sale.State, sale.FormKind, sale.Hold = state, "", ""
	switch {
	case state == orders.SaleInStock:
		sale.FormKind = formOrder
	case state == orders.SaleOpen && sale.Mode == orders.Ballot:
		sale.FormKind = formEntry
	case state == orders.SaleOpen:
		sale.FormKind = formInterest
	case (state == orders.SaleSoldOut || state == orders.SaleDrawn) && sale.HasWaitingList:
		sale.FormKind = formWaiting
	}
	if sale.pause != orders.NotPaused && (sale.FormKind != "" || state == orders.SaleUnknown) {
		sale.FormKind, sale.Hold = "", sale.pause.String()
	}
}

// Confirms reports whether what people send counts only once they confirm it by mail.
func (sale *productSale) Confirms() bool { return sale.book.Confirms() }

func (sale *productSale) moneyOf(minor int64) Money {
	return Money{Minor: minor, Currency: sale.book.Currency}
}

// totalFor adds up a total by the order book's own rule. It returns false if the sale does
// not deliver to the country.
func (s *Shop) totalFor(sale *productSale, country string, quantity int) (orderTotal, bool) {
	split, ok := sale.book.Total(country, quantity)
	if !ok {
		return orderTotal{}, false
	}
	t := orderTotal{
		Quantity: quantity,
		Country:  country,
		Name:     country,
		Goods:    sale.moneyOf(split.Price),
		Shipping: sale.moneyOf(split.Shipping),
		Tax:      sale.moneyOf(split.Tax),
		Total:    sale.moneyOf(split.Total),
		Path:     pageAddress{page: "order", product: sale.Product, country: country}.path(),
	}
	if to := s.cat.shippingTo(country); to != nil {
		t.Name = to.Name
	}
	for _, c := range sale.book.Countries {
		if c.Code == country {
			t.Rate = formatPercent(c.Tax)
		}
	}
	return t, true
}

// Taxed reports whether the shop collects tax for any country, so that tables need a column.
func (sale *productSale) Taxed() bool {
	return slices.ContainsFunc(sale.book.Countries, func(c orders.Country) bool { return c.Tax != 0 })
}

// formatPercent writes hundredths of a percent for people: "19 %", "7.7 %"; "" for none.
func formatPercent(hundredths int) string {
	if hundredths == 0 {
		return ""
	}
	return orders.FormatPercent(hundredths) + "\u00a0%"
}

// pricesHash identifies the price list on a page: its form sends the hash, so that the shop
// knows which prices the person saw.
func (sale *productSale) pricesHash() string {
	list := make([]byte, 0, 512)
	list = strconv.AppendInt(append(list, sale.book.Currency...), sale.book.Price, 10)
	for _, c := range sale.book.Countries {
		list = append(append(list, ' '), c.Code...)
		list = strconv.AppendInt(append(list, ' '), c.Shipping, 10)
		list = strconv.AppendInt(append(list, ' '), int64(c.Tax), 10)
	}
	h := fnv.New64a()
	h.Write(list) // a hash takes every byte
	return strconv.FormatUint(h.Sum64(), 36)
}
