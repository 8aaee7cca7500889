package orderservice

import (
	"strconv"
	"strings"
	"time"

	"bramble/node/orders"
)

// OrderJSON is a paper as operators and their programs see it. Fields may be added;
// those here keep their names, types and meaning.
type OrderJSON struct {
	Reference string     `json:"reference"`
	Number    uint64     `json:"number"` // in order of arrival, from 1
	Kind      string     `json:"kind"`   // order, entry, interest or waiting
	Product   string     `json:"product"`
	Quantity  int        `json:"quantity"`
	Total     int64      `json:"total"` // minor units
	Currency  string     `json:"currency"`
	State     string     `json:"state"`
	Made      time.Time  `json:"made"`
	Changed   time.Time  `json:"changed"`
	Until     *time.Time `json:"until,omitempty"` // of an invitation
	Name      string     `json:"name,omitempty"`
	Email     string     `json:"email,omitempty"`
	Line1     string     `json:"line1,omitempty"`
	Line2     string     `json:"line2,omitempty"`
	City      string     `json:"city,omitempty"`
	Postcode  string     `json:"postcode,omitempty"`
	Country   string     `json:"country,omitempty"`
	Note      string     `json:"note,omitempty"`
}

// NewOrderJSON turns a paper of the order book into one for people.
func NewOrderJSON(p orders.Order) OrderJSON {
	r := OrderJSON{
		Reference: p.ID.String(), Number: p.Number, Kind: p.Kind.String(), Product: p.Product,
		Quantity: p.Quantity, Total: p.Total, Currency: p.Currency, State: p.State.String(),
		Made: p.Made.UTC(), Changed: p.Changed.UTC(), Note: p.Note,
		Name: p.Person.Name, Email: p.Person.Email, Line1: p.Person.Line1, Line2: p.Person.Line2,
		City: p.Person.City, Postcode: p.Person.Postcode, Country: p.Person.Country,
	}
	if !p.Until.IsZero() {
		until := p.Until.UTC()
		r.Until = &until
	}
	return r
}

// Columns are the names of Row's cells, in its order.
func Columns() []string {
	return []string{
		"reference", "number", "kind", "product", "quantity", "total", "currency", "state", "made", "changed",
		"name", "email", "line1", "line2", "city", "postcode", "country", "note",
	}
}

// Row is the paper as cells of a table. Buyers wrote some of them: one that a
// spreadsheet would take for a formula gets an apostrophe in front.
func (r OrderJSON) Row() []string {
	cells := []string{
		r.Reference, strconv.FormatUint(r.Number, 10), r.Kind, r.Product, strconv.Itoa(r.Quantity),
		strconv.FormatInt(r.Total, 10), r.Currency, r.State, r.Made.Format(time.RFC3339), r.Changed.Format(time.RFC3339),
		r.Name, r.Email, r.Line1, r.Line2, r.City, r.Postcode, r.Country, r.Note,
	}
	for i, c := range cells {
		if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
			cells[i] = "'" + c
		}
	}
	return cells
}

// OrderPage is one page of a list.
type OrderPage struct {
	Orders []OrderJSON `json:"orders"`
	Next   uint64      `json:"next"` // ask again with after=Next; 0 = that was all
}

// SaleJSON is a sale as operators see it.
type SaleJSON struct {
	Product    string     `json:"product"`
	Mode       string     `json:"mode"`
	State      string     `json:"state"`
	Stock      int64      `json:"stock"`
	Sold       int64      `json:"sold"`
	Held       int64      `json:"held"`
	Free       int64      `json:"free"`
	Waiting    int        `json:"waiting"`
	Interested int        `json:"interested"`
	Entries    int        `json:"entries"`
	Opens      *time.Time `json:"opens,omitempty"`
	Closes     *time.Time `json:"closes,omitempty"`
}

func newSaleJSON(s orders.Sale) SaleJSON {
	r := SaleJSON{
		Product: s.Product, Mode: s.Mode.String(), State: s.State.String(),
		Stock: s.Stock, Sold: s.Sold, Held: s.Held, Free: s.Free,
		Waiting: s.Waiting, Interested: s.Interested, Entries: s.Entries,
	}
	if !s.Opens.IsZero() {
		opens := s.Opens.UTC()
		r.Opens = &opens
	}
	if !s.Closes.IsZero() {
		closes := s.Closes.UTC()
		r.Closes = &closes
	}
	return r
}

// AuditPage is one page of what operators changed.
type AuditPage struct {
	Changes []AuditJSON `json:"changes"`
	Next    uint64      `json:"next"` // as in Papers
}

// AuditJSON is one line of the trail.
type AuditJSON struct {
	Number   uint64    `json:"number"`
	At       time.Time `json:"at"`
	Operator string    `json:"operator"`
	Action   string    `json:"action"`
}

// OperatorCommand is what an operator asks for. Do is one of cancel, forget, announce,
// stock, open, close, times, invite and draw; the other fields are what that
// needs. Op is a number for the operation that the asker draws: the same again
// changes nothing.
type OperatorCommand struct {
	Action    string     `json:"action"`
	Operator  string     `json:"operator"`
	OpID      uint64     `json:"op_id,string"`
	Product   string     `json:"product,omitempty"`   // stock, open, close, times, invite, draw
	Reference string     `json:"reference,omitempty"` // cancel, forget
	Email     string     `json:"email,omitempty"`     // forget
	Text      string     `json:"text,omitempty"`      // announce; cancel: the reason; draw: the public text
	Kind      string     `json:"kind,omitempty"`      // draw: dice or drand
	Count     int64      `json:"count,omitempty"`     // stock: units, also negative; invite: people
	Opens     *time.Time `json:"opens,omitempty"`     // times
	Closes    *time.Time `json:"closes,omitempty"`    // times
	Until     *time.Time `json:"until,omitempty"`     // invite
}

// OperatorResult is how an Order ended.
type OperatorResult struct {
	Text  string `json:"text"`            // one sentence for a person
	Count int    `json:"count,omitempty"` // invite, forget: how many
	Left  int    `json:"left,omitempty"`  // forget: how many more there are; give the order again under a new Op
}
