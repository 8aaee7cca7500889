package orderservice

import (
	"time"

	"bramble/node/fulfilment"
	"bramble/node/orders"
)

// OrderJSON is an order as operators and their programs see it. Fields may be added; these
// keep their names, types and meaning.
type OrderJSON struct {
	Reference string              `json:"reference"`
	Number    uint64              `json:"number"` // in order of arrival, from 1
	Kind      string              `json:"kind"`   // order, entry, interest or waiting
	Product   string              `json:"product"`
	Quantity  int                 `json:"quantity"`
	Total     int64               `json:"total"` // minor units
	Currency  string              `json:"currency"`
	Tax       *fulfilment.TaxPart `json:"tax,omitempty"` // of Total; nil if it is not known: see orders.Order
	State     string              `json:"state"`
	Made      time.Time           `json:"made"`
	Changed   time.Time           `json:"changed"`
	Until     *time.Time          `json:"until,omitempty"` // of an invitation
	Name      string              `json:"name,omitempty"`
	Email     string              `json:"email,omitempty"`
	Line1     string              `json:"line1,omitempty"`
	Line2     string              `json:"line2,omitempty"`
	City      string              `json:"city,omitempty"`
	Postcode  string              `json:"postcode,omitempty"`
	Country   string              `json:"country,omitempty"`
	Note      string              `json:"note,omitempty"`
	// SameAddress is another order from the same postal address, if both together have more than the limit: see orders.Order.
	SameAddress string `json:"same_address,omitempty"`
}

// NewOrderJSON converts an order of the order book.
func NewOrderJSON(o orders.Order) OrderJSON {
	j := OrderJSON{
		Reference: o.ID.String(), Number: o.Number, Kind: o.Kind.String(), Product: o.Product,
		Quantity: o.Quantity, Total: o.Total, Currency: o.Currency, State: o.State.String(),
		Made: o.Made.UTC(), Changed: o.Changed.UTC(), Note: o.Note,
		Name: o.Person.Name, Email: o.Person.Email, Line1: o.Person.Line1, Line2: o.Person.Line2,
		City: o.Person.City, Postcode: o.Person.Postcode, Country: o.Person.Country,
		Tax: fulfilment.TaxOf(o), Until: timeOrNil(o.Until),
	}
	if o.SameAddress != 0 {
		j.SameAddress = o.SameAddress.String()
	}
	return j
}

// newOrderList converts a list, and is never nil: JSON has [] for none.
func newOrderList(found []orders.Order) []OrderJSON {
	list := make([]OrderJSON, 0, len(found))
	for _, o := range found {
		list = append(list, NewOrderJSON(o))
	}
	return list
}

// OrderPage is one page of a list of orders.
type OrderPage struct {
	Orders []OrderJSON `json:"orders"`
	Next   uint64      `json:"next"`            // the next page's after; 0 = this is the last page
	Stale  *StaleJSON  `json:"stale,omitempty"` // only with stale=1
	// Others are of other spellings of a person's address, which an erase leaves. A person's are the first 1000 of each.
	Others []OrderJSON `json:"others,omitempty"`
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
	Times    int       `json:"times,omitempty"` // 1, or the number of times that the same command was refused, At the last time
}

// OperatorCommand is a command of an operator. Action is one of cancel, erase, sent, return,
// announce, stock, open, close, times, invite, revise, retire, fulfil, relink and draw; it decides
// which of the other fields are used.
// OpID is a random number that the client draws: the same command with the same OpID is
// carried out once.
type OperatorCommand struct {
	Action    string     `json:"action"`
	Operator  string     `json:"operator"`
	OpID      uint64     `json:"op_id,string"`
	Product   string     `json:"product,omitempty"`   // of a sale
	Reference string     `json:"reference,omitempty"` // cancel, erase, sent, return
	Email     string     `json:"email,omitempty"`     // erase: of exactly this address
	Text      string     `json:"text,omitempty"`      // announce; cancel, return: the reason; sent: a note; draw: the public text
	Kind      string     `json:"kind,omitempty"`      // draw: dice or drand
	Count     int64      `json:"count,omitempty"`     // stock: units, also negative; invite: people
	Opens     *time.Time `json:"opens,omitempty"`     // times; nil = it stays
	Closes    *time.Time `json:"closes,omitempty"`    // times; nil = it stays
	Clear     []string   `json:"clear,omitempty"`     // times: opens, closes: the sale has no such time any more
	Restock   bool       `json:"restock,omitempty"`   // return: the units are free again; otherwise they leave the stock
	DryRun    bool       `json:"dry_run,omitempty"`   // revise, relink: change nothing
	Revoke    bool       `json:"revoke,omitempty"`    // relink: the links from before end
	Undo      bool       `json:"undo,omitempty"`      // retire: bring it back
	Until     *time.Time `json:"until,omitempty"`     // invite
}

// OperatorResult is how an OperatorCommand ended.
type OperatorResult struct {
	Text      string `json:"text"`                // a sentence for a person
	Count     int    `json:"count,omitempty"`     // invite, erase: people or orders
	Remaining int    `json:"remaining,omitempty"` // erase: orders still to erase; send the command again with a new OpID
	Waits     string `json:"waits_for,omitempty"` // erase: why a draw, for which the others wait, does not go on
	Links     int    `json:"links,omitempty"`     // relink: links of receipts that end
	Mails     int    `json:"mails,omitempty"`     // relink: mails with a new link
	// The sale that the command is about, directly before and after it as this board saw
	// it; nil if it is about none, or about many (erase).
	Before *SaleJSON `json:"before,omitempty"`
	After  *SaleJSON `json:"after,omitempty"`
	// Skipped lists the people whom an invite passed over, because each wanted more units
	// than were free; of the first 500 in the queue. They keep their places.
	Skipped []SkippedJSON `json:"skipped,omitempty"`
	// Differences lists what this board's files have differently, for revise.
	Differences []DifferenceJSON `json:"differences,omitempty"`
}

// SkippedJSON is a person in a queue whom an invitation passed over.
type SkippedJSON struct {
	Reference string `json:"reference"`
	Wants     int    `json:"wants"` // units
}
