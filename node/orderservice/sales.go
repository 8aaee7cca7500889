package orderservice

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// SaleJSON is a sale as operators see it. Fields may be added; these keep their names,
// types and meaning.
type SaleJSON struct {
	Product    string     `json:"product"`
	Mode       string     `json:"mode"`
	State      string     `json:"state"` // "not_offered": in the catalogue, and not in the order book yet
	Stock      int64      `json:"stock"`
	Sold       int64      `json:"sold"`
	Held       int64      `json:"held"`
	Free       int64      `json:"free"`
	Waiting    int        `json:"waiting"`
	Interested int        `json:"interested"`
	Entries    int        `json:"entries"`
	Opens      *time.Time `json:"opens,omitempty"`
	Closes     *time.Time `json:"closes,omitempty"`
	Draw       *DrawJSON  `json:"draw,omitempty"` // of a ballot
	Price      int64      `json:"price"`          // of a unit, in minor units
	Currency   string     `json:"currency"`
	Webhook    bool       `json:"webhook"` // orders are posted to the webhook
	Mail       bool       `json:"mail"`    // buyers get mail
	// Confirm is the time, such as "30m0s", in which people can confirm by mail what counts only then (entries of a ballot: until its close); "" = all counts at once.
	Confirm string `json:"confirm,omitempty"`
	Retired bool   `json:"retired,omitempty"`
	Refused string `json:"refused,omitempty"` // why the order book does not have it
	// Stuck is why units are free although people wait: "by_hand" (an operator must invite
	// them), "closed", or "too_few" (each wants more units than are free). "" = they are not.
	Stuck string `json:"stuck,omitempty"`
	// FirstWants is the number of units that the first person in the queue wants, if
	// fewer are free: invitations pass that person over, who keeps the place.
	FirstWants int `json:"first_wants,omitempty"`
	// Unposted is the number of orders from before the webhook that nobody has sent or posted.
	Unposted int `json:"unposted,omitempty"`
	// ClosedByOperator: no time opens the sale.
	ClosedByOperator bool `json:"closed_by_operator,omitempty"`
	// Differences lists what the files of the board that answers have differently.
	Differences []DifferenceJSON `json:"differences,omitempty"`
}

// stateNotOffered is the state of a product that the order book does not have yet.
const stateNotOffered = "not_offered"

// DrawJSON is the state of a ballot's draw.
type DrawJSON struct {
	State   string `json:"state"`   // one of the constants below
	Done    int    `json:"done"`    // entries that are drawn, about; exact once it is Drawn
	Total   int    `json:"total"`   // entries
	Winners int    `json:"winners"` // so far
	// Waits is why a draw that is in progress does not go on; "" if it does.
	Waits string `json:"waits_for,omitempty"`
	// Promised is the randomness that the draw waits for, or had; and List the hash of the list, once it is fixed.
	Promised draw.Promise `json:"promised"`
	List     string       `json:"list,omitempty"`
}

// The states of a draw.
const (
	DrawNotDue     = "not_due"     // the ballot has not closed yet
	DrawNeeds      = "needs_"      // and dice or drand: it waits for an operator's randomness
	DrawInProgress = "in_progress" // it takes some hundred entries at a time
	Drawn          = "drawn"
)

// newSaleJSON converts a sale of a book, whose State is that of this moment.
func (s *Service) newSaleJSON(book *orders.Book, sale orders.Sale) SaleJSON {
	j := SaleJSON{
		Product: sale.Product, Mode: sale.Mode.String(), State: sale.State.String(),
		Stock: sale.Stock, Sold: sale.Sold, Held: sale.Held, Free: sale.Free,
		Waiting: sale.Waiting, Interested: sale.Interested, Entries: sale.Entries,
		Opens: timeOrNil(sale.Opens), Closes: timeOrNil(sale.Closes),
		Price: sale.Price, Currency: sale.Currency, Webhook: sale.Webhook, Mail: sale.Mail,
		Retired: sale.Retired, Stuck: sale.Stuck(), ClosedByOperator: sale.ClosedByOperator() && !sale.Retired,
	}
	if sale.Confirms() {
		j.Confirm = sale.Confirm.String()
	}
	for _, u := range s.Unposted() {
		if u.Product == sale.Product {
			j.Unposted = u.Orders
		}
	}
	j.Differences = s.listDifferences(sale)
	j.describeQueue(book, sale)
	if sale.Mode == orders.Ballot {
		j.Draw = s.newDrawJSON(book, sale)
	}
	return j
}

// describeQueue sets what the queue of a sale with free units waits for.
func (j *SaleJSON) describeQueue(book *orders.Book, sale orders.Sale) {
	if sale.Free == 0 || sale.Waiting+sale.Interested == 0 {
		return
	}
	head, err := book.QueueHead(sale.Product, maxSkippedRead)
	if err != nil || len(head) == 0 {
		return
	}
	if int64(head[0].Quantity) > sale.Free {
		j.FirstWants = head[0].Quantity
	}
	fits := func(o orders.Order) bool { return int64(o.Quantity) <= sale.Free }
	if j.Stuck == orders.StuckByHand && len(head) < maxSkippedRead && !slices.ContainsFunc(head, fits) {
		j.Stuck = orders.StuckTooFew // an invitation would pass over everybody
	}
}

func (s *Service) newDrawJSON(book *orders.Book, sale orders.Sale) *DrawJSON {
	d := &DrawJSON{State: DrawNotDue, Total: sale.Entries, Winners: sale.Draw.Winners, Promised: sale.Promise(), List: sale.Draw.List}
	switch {
	case !sale.Draw.At.IsZero():
		d.State, d.Done = Drawn, d.Total
	case sale.State != orders.SaleDrawing:
	case sale.Draw.PublicKind != draw.None && sale.Draw.Public == (draw.Public{}):
		d.State = DrawNeeds + string(sale.Draw.PublicKind)
	default:
		d.State, d.Waits = DrawInProgress, s.describeClockWait()
		if done, _, err := book.DrawProgress(sale.Product); err == nil {
			d.Done = done
		}
	}
	return d
}

// timeOrNil returns a moment in UTC; nil for the zero time.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// listSales lists the order book's sales, and what the catalogue has besides. The order
// book offers that within a second of the start of a rack.
func (s *Service) listSales(r *http.Request) (any, error) {
	book, _, err := s.bookFor(r)
	if err != nil {
		return nil, err
	}
	list := []SaleJSON{}
	for _, sale := range append(s.salesOf(book), book.RetiredSales()...) {
		list = append(list, s.newSaleJSON(book, sale))
	}
	for _, o := range s.cfg.Offers {
		if _, known := book.Sale(o.Product); !known {
			list = append(list, SaleJSON{Product: o.Product, Mode: o.Mode.String(), State: stateNotOffered, Refused: s.whyRefused(o)})
		}
	}
	return list, nil
}

func (s *Service) showSale(r *http.Request) (any, error) {
	if err := s.awaitFresh(r); err != nil {
		return nil, err
	}
	sale, known := s.Sale(r.PathValue("product"))
	if !known {
		return nil, noSaleError(r.PathValue("product"))
	}
	return s.newSaleJSON(s.cfg.Book, sale), nil
}

func noSaleError(product string) error {
	return fmt.Errorf("%w: %q; \"bramble sale list\" shows the products", orders.ErrNoSale, product)
}

// showDraw answers with the published file of a draw. Before it is drawn, the error is what
// it waits for.
func (s *Service) showDraw(r *http.Request) (any, error) {
	product := r.PathValue("product")
	if err := s.awaitFresh(r); err != nil {
		return nil, err
	}
	f, err := s.cfg.Book.Draw(product)
	if sale, known := s.Sale(product); known && sale.Draw.At.IsZero() {
		err = fmt.Errorf("%w: %s", orders.ErrNoDraw, s.describeUndrawn(sale))
	}
	return f, err
}

// describeUndrawn returns what a draw waits for.
func (s *Service) describeUndrawn(sale orders.Sale) string {
	if sale.Mode != orders.Ballot {
		return sale.Product + " is not a ballot; it is sold as " + sale.Mode.String()
	}
	d := s.newDrawJSON(s.cfg.Book, sale)
	if d.State == DrawNotDue {
		return "the ballot of " + sale.Product + " closes at " + sale.Closes.UTC().Format(time.RFC3339)
	}
	return d.Describe(sale.Product)
}

// Describe returns how far the draw of a product is, as a sentence without its end.
func (d *DrawJSON) Describe(product string) string {
	p := d.Promised
	switch {
	case d.State == Drawn:
		return fmt.Sprintf("%s is drawn: %d entries, %d won", product, d.Total, d.Winners)
	case d.State == DrawNeeds+string(draw.Dice):
		return fmt.Sprintf("the draw of %s waits for an operator: roll %d dice, and run bramble draw make %s --dice DIGITS", product, p.Dice, product)
	case d.State == DrawNeeds+string(draw.Drand):
		return fmt.Sprintf("the draw of %s waits for an operator: round %d is made at %s, then run bramble draw make %s", product, p.Round, draw.RoundTime(p.Round).Format(time.RFC3339), product)
	case d.Waits != "":
		return fmt.Sprintf("the draw of %s waits: %s", product, d.Waits)
	}
	return fmt.Sprintf("the draw of %s is in progress (about %d of %d entries)", product, d.Done, d.Total)
}
