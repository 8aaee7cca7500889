package orderservice

import (
	"time"

	"bramble/node/orders"
)

// OrderJSON is an order as operators and their programs see it. Fields may be added; these
// keep their names, types and meaning.
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

// NewOrderJSON converts an order of the order book.
func NewOrderJSON(o orders.Order) OrderJSON {
	j := OrderJSON{
		Reference: o.ID.String(), Number: o.Number, Kind: o.Kind.String(), Product: o.Product,
		Quantity: o.Quantity, Total: o.Total, Currency: o.Currency, State: o.State.String(),
		Made: o.Made.UTC(), Changed: o.Changed.UTC(), Note: o.Note,
		Name: o.Person.Name, Email: o.Person.Email, Line1: o.Person.Line1, Line2: o.Person.Line2,
		City: o.Person.City, Postcode: o.Person.Postcode, Country: o.Person.Country,
	}
	if !o.Until.IsZero() {
		until := o.Until.UTC()
		j.Until = &until
	}
	return j
}

// OrderPage is one page of a list of orders.
type OrderPage struct {
	Orders []OrderJSON `json:"orders"`
	Next   uint64      `json:"next"`            // the next page's after; 0 = this is the last page
	Stale  *StaleJSON  `json:"stale,omitempty"` // only with stale=1
}

// AuditPage is one page of the operators' audit trail.
type AuditPage struct {
	Changes []AuditJSON `json:"changes"`
	Next    uint64      `json:"next"` // as in OrderPage
}

// AuditJSON is one entry of the audit trail.
type AuditJSON struct {
	Number   uint64    `json:"number"`
	At       time.Time `json:"at"`
	Operator string    `json:"operator"`
	Action   string    `json:"action"`
}

// OperatorCommand is a command of an operator. Action is one of cancel, erase, announce,
// stock, open, close, times, invite and draw; it decides which of the other fields are used.
// OpID is a random number that the client draws: the same command with the same OpID is
// carried out once.
type OperatorCommand struct {
	Action    string     `json:"action"`
	Operator  string     `json:"operator"`
	OpID      uint64     `json:"op_id,string"`
	Product   string     `json:"product,omitempty"`   // stock, open, close, times, invite, draw
	Reference string     `json:"reference,omitempty"` // cancel, erase
	Email     string     `json:"email,omitempty"`     // erase
	Text      string     `json:"text,omitempty"`      // announce; cancel: the reason; draw: the public text
	Kind      string     `json:"kind,omitempty"`      // draw: dice or drand
	Count     int64      `json:"count,omitempty"`     // stock: units, also negative; invite: people
	Opens     *time.Time `json:"opens,omitempty"`     // times
	Closes    *time.Time `json:"closes,omitempty"`    // times
	Until     *time.Time `json:"until,omitempty"`     // invite
}

// OperatorResult is how an OperatorCommand ended.
type OperatorResult struct {
	Text      string `json:"text"`                // a sentence for a person
	Count     int    `json:"count,omitempty"`     // invite, erase: people or orders
	Remaining int    `json:"remaining,omitempty"` // erase: orders still to erase; send the command again with a new OpID
	// The sale that the command is about, directly before and after it as this board saw
	// it; nil if it is about none, or about many (erase).
	Before *SaleJSON `json:"before,omitempty"`
	After  *SaleJSON `json:"after,omitempty"`
}
