package shop

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"bramble/node/orders"
)

// receiptPath is the path of a paper's receipt.
func (s *Shop) receiptPath(id orders.ID) string { return ReceiptPath(id, s.desk.Sign(id)) }

// receiptData is a receipt as its template sees it.
type receiptData struct {
	Order           orders.Order
	Heading         string
	Lines           []string
	ProductName     string       // what was asked for
	Sale            *productSale // nil if the catalogue does not have the product any more
	Position        int          // in the queue, from 1; 0 = in none
	QueueLength     int
	Total           Money
	Parts           *orderTotal // the total's parts, if they are still what the sale asks
	Country         string
	Path            string
	CancelLabel     string // what the button to take it back says; "" = it cannot be
	Confirming      bool   // this is the question whether to take it back
	Alert           *formAlert
	InvitationTotal *orderTotal // what an invited person owes when saying yes
	Hidden          []formValue
	Person          []string // lines of the address; none if they are erased
	Erased          bool
	Stale           bool // the rest of the rack may know something newer
}

// newReceiptData makes a paper's receipt, so that a page and its JSON say the same.
func (s *Shop) newReceiptData(c *snapshot, p orders.Order, place int) *receiptData {
	v := &receiptData{
		Order:       p,
		ProductName: p.Product,
		Position:    place,
		Total:       Money{Minor: p.Total, Currency: p.Currency},
		Country:     p.Person.Country,
		Path:        s.receiptPath(p.ID),
		Erased:      p.Person == orders.Person{},
	}
	for i := range c.sales {
		if c.sales[i].Slug == p.Product {
			v.Sale = &c.sales[i]
			v.ProductName = v.Sale.Name
		}
	}
	if to := s.cat.shippingTo(p.Person.Country); to != nil {
		v.Country = to.Name
	}
	for _, line := range []string{p.Person.Name, p.Person.Line1, p.Person.Line2, strings.TrimSpace(p.Person.Postcode + " " + p.Person.City), v.Country} {
		if line != "" {
			v.Person = append(v.Person, line)
		}
	}
	if v.Sale != nil {
		v.QueueLength = max(place, v.Sale.Waiting)
		if p.Kind == orders.KindInterest {
			v.QueueLength = max(place, v.Sale.Interested)
		}
		if t, ok := s.totalFor(v.Sale, p.Person.Country, p.Quantity); ok {
			if t.Total == v.Total {
				v.Parts = &t
			}
			if p.State == orders.StateInvited {
				v.InvitationTotal = &t
				v.Hidden = acceptanceValues(v.Sale, p, &t)
			}
		}
	}
	v.Heading, v.Lines = describeOrder(v, c.now)
	v.CancelLabel = cancelLabel(v, c.now)
	return v
}

// acceptanceValues is the form by which an invited person says yes: the order form, filled with what
// the person has told before.
func acceptanceValues(o *productSale, p orders.Order, t *orderTotal) []formValue {
	who := p.Person
	return []formValue{{"kind", formOrder}, {"prices", o.pricesMark()}, {"agreed", t.formMark()}, {"quantity", itoa(p.Quantity)},
		{"name", who.Name}, {"email", who.Email}, {"line1", who.Line1}, {"line2", who.Line2},
		{"postcode", who.Postcode}, {"city", who.City}, {"country", who.Country}}
}

// cancelLabel is what the button says by which the buyer takes the paper back.
func cancelLabel(v *receiptData, now time.Time) string {
	p := v.Order
	if !p.Cancellable() {
		return ""
	}
	switch p.Kind {
	case orders.KindEntry:
		if p.State == orders.StateWon {
			return "Cancel what I won"
		}
		if v.Sale != nil && !v.Sale.Closes.IsZero() && !now.Before(v.Sale.Closes) {
			return "" // the list of entries that is drawn from stands
		}
		return "Take my entry back"
	case orders.KindInterest, orders.KindWaiting:
		if p.State == orders.StateInvited {
			return "Leave it to the next one"
		}
		return "Leave the list"
	}
	return "Cancel this order"
}

// describeOrder says where a paper stands.
func describeOrder(v *receiptData, now time.Time) (heading string, lines []string) {
	p := v.Order
	switch p.State {
	case orders.StateInvited:
		return "It is your turn", []string{
			"What you asked for is kept for you until " + formatTime(p.Until) + ". If you still want it, order it below; if you do nothing, it goes to the next one in the queue."}
	case orders.StateWon:
		lines = []string{"Your entry was drawn: it is yours, and will be handed over to be packed and sent. You need do nothing."}
		return "You have won", append(lines, cancelDeadlineText(p, now)...)
	case orders.StateLost:
		lines = []string{"Your entry was not drawn. You owe nothing."}
		if v.Sale != nil && v.Sale.FormKind == formWaiting {
			lines = append(lines, "There is a waiting list: it is on the order page.")
		}
		return "Not this time", lines
	case orders.StateFulfilling:
		return "Your order is being handed over", []string{"It is on its way to be packed and sent, so it cannot be cancelled here any more."}
	case orders.StateFulfilled:
		return "Your order was handed over", []string{"It was given on to be packed and sent at " + formatTime(p.Changed) + ". Please ask the seller about anything further."}
	case orders.StateCancelled:
		what := "This order was cancelled"
		if p.Kind == orders.KindEntry {
			what = "This entry was taken back"
		}
		return what, withNote(p, "That was at "+formatTime(p.Changed)+". You owe nothing, and may order again.")
	case orders.StateLeft:
		return "You have left the list", withNote(p, "That was at "+formatTime(p.Changed)+". You owe nothing.")
	case orders.StateExpired:
		return "The time to order has passed", []string{"It was kept for you until " + formatTime(p.Until) + ", and is for the next one in the queue now. You owe nothing."}
	case orders.StateForgotten:
		return "What you told us is erased", []string{"Name and address are no longer known here. What is left are numbers."}
	}
	switch p.Kind {
	case orders.KindEntry:
		lines = []string{"Every entry has the same chance, the first as the last. Come back to this page after the draw."}
		if v.Sale != nil {
			switch {
			case v.Sale.State == orders.SaleOpen && !v.Sale.Closes.IsZero():
				lines = append([]string{"The ballot is open until " + formatTime(v.Sale.Closes) + ", and is drawn after that."}, lines...)
			case v.Sale.State == orders.SaleDrawing:
				lines = append([]string{"The ballot is over. " + drawProgress(v.Sale) + "."}, lines...)
			}
		}
		return "You are in the ballot", lines
	case orders.KindInterest:
		return "Your interest is registered", append(queueText(v, "the list"), "You have ordered nothing yet and owe nothing. When it is your turn, this page will say so.")
	case orders.KindWaiting:
		return "You are on the waiting list", append(queueText(v, "the waiting list"), "You have ordered nothing yet and owe nothing. When it is your turn, this page will say so.")
	}
	return "Your order is in", append([]string{"It is written to disk on most boards of the rack: a pulled plug does not lose it."}, cancelDeadlineText(p, now)...)
}

// queueText says the place in it, if it is known.
func queueText(v *receiptData, list string) []string {
	if v.Position == 0 {
		return nil
	}
	return []string{"You are number " + groupDigits(itoa(v.Position)) + " of " + groupDigits(itoa(v.QueueLength)) + " on " + list + "."}
}

func cancelDeadlineText(p orders.Order, now time.Time) []string {
	if p.Ready.After(now) {
		return []string{"You can cancel it at least until " + formatTime(p.Ready) + ", when it is due to be handed over."}
	}
	return []string{"It is due to be handed over: until then you can still cancel it."}
}

// withNote adds why, which never says anything about a person.
func withNote(p orders.Order, line string) []string {
	if p.Note == "" {
		return []string{line}
	}
	return []string{line, "The reason given: " + p.Note}
}

// serveReceipt shows a receipt, as a page or as JSON.
func (s *Shop) serveReceipt(w http.ResponseWriter, r *http.Request) {
	if !s.requireReadMethod(w, r) {
		return
	}
	token, asJSON := strings.CutSuffix(r.PathValue("token"), ".json")
	found, ok := s.findOrder(w, r, token)
	if !ok {
		return
	}
	c := s.takeSnapshot(s.now())
	v := s.newReceiptData(c, found.Order, found.position)
	v.Stale = found.stale
	if asJSON {
		s.receiptJSON(w, r, v)
		return
	}
	s.showReceipt(w, r, http.StatusOK, c, v)
}

func (s *Shop) showReceipt(w http.ResponseWriter, r *http.Request, code int, c *snapshot, receipt *receiptData) {
	v := s.newTemplateData(c)
	v.Title = receipt.Heading + " · " + receipt.Order.ID.String()
	v.Receipt = receipt
	page, err := s.executeTemplate("receipt", v)
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	hideFromSearch(w.Header())
	s.sendUncached(w, r, code, page)
}

// hideFromSearch keeps a page that shows a person out of search engines.
func hideFromSearch(h http.Header) { h.Set("X-Robots-Tag", "noindex") }

// foundOrder is a paper as this board knows it.
type foundOrder struct {
	orders.Order
	position int  // in the queue, from 1; 0 = in none
	stale    bool // see orders.ErrStale
}

// findOrder finds the paper of a receipt's URL. A wrong reference and a wrong token get the
// same answer, from this board's memory.
func (s *Shop) findOrder(w http.ResponseWriter, r *http.Request, token string) (foundOrder, bool) {
	id, err := orders.ParseID(r.PathValue("id"))
	if s.desk == nil || err != nil || !s.desk.Verify(id, token) {
		s.replyNoReceipt(w, r)
		return foundOrder{}, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), paperWait)
	defer cancel()
	p, place, err := s.desk.Order(ctx, id)
	switch {
	case err == nil, errors.Is(err, orders.ErrStale):
		return foundOrder{Order: p, position: place, stale: err != nil}, true
	case errors.Is(err, orders.ErrNoOrder):
		s.replyNoReceipt(w, r)
	default:
		s.sendErrorPage(w, r, http.StatusServiceUnavailable, errorPage{
			Title: "This board cannot show the receipt yet",
			Text:  "It has not caught up with the rest of the rack. Nothing is lost: load this page again in a few seconds.",
		})
	}
	return foundOrder{}, false
}

func (s *Shop) replyNoReceipt(w http.ResponseWriter, r *http.Request) {
	s.sendErrorPage(w, r, http.StatusNotFound, errorPage{
		Title:        "There is no receipt at this address",
		Text:         "The address of a receipt is long, and every letter of it counts: please open it as you were given it. These are the products of this shop:",
		ListProducts: true,
	})
}

// serveCancel asks whether to take a paper back, and takes it back for who says yes.
func (s *Shop) serveCancel(w http.ResponseWriter, r *http.Request) {
	sure := false
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if s.rejectCrossSite(w, r) {
			return
		}
		f := readForm(r, map[string]int{"sure": maxHiddenValue})
		if errors.Is(f.err, errFormType) {
			s.rejectFormType(w, r, "")
			return
		}
		sure = f.statusCode() == 0 && f.get("sure") == "yes"
	default:
		s.rejectMethod(w, r, "GET, HEAD, POST")
		return
	}
	p, ok := s.findOrder(w, r, r.PathValue("token"))
	if !ok {
		return
	}
	if sure {
		ctx, cancel := context.WithTimeout(r.Context(), placeWait)
		defer cancel()
		err := s.desk.CancelOrder(ctx, p.ID)
		if err == nil || errors.Is(err, orders.ErrNoOrder) {
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, s.receiptPath(p.ID), http.StatusSeeOther)
			return
		}
		c := s.takeSnapshot(s.now())
		v := s.newReceiptData(c, p.Order, p.position)
		code := http.StatusConflict
		v.Alert = &formAlert{Title: "It is too late for that", Lines: []string{"Nothing was changed."}}
		if !errors.Is(err, orders.ErrTooLate) {
			code, v.Alert = describeCancelFailure(err)
			v.Confirming = true
		}
		s.showReceipt(w, r, code, c, v)
		return
	}
	c := s.takeSnapshot(s.now())
	v := s.newReceiptData(c, p.Order, p.position)
	v.Confirming = v.CancelLabel != ""
	s.showReceipt(w, r, http.StatusOK, c, v)
}

// describeCancelFailure is what is said when the order book gave no answer to a cancelling.
func describeCancelFailure(err error) (int, *formAlert) {
	y := &formAlert{Title: "It is not certain that this was done", Lines: []string{"Please press the button again: it does no harm to say it twice."}}
	if errors.Is(err, orders.ErrNotCommitted) || errors.Is(err, orders.ErrUnavailable) {
		y = &formAlert{Title: "Nothing was changed: please press again", Lines: []string{"The rack could not take it just now. Press the button again in a few seconds."}}
	}
	return http.StatusServiceUnavailable, y
}

// Receipt is the body of a receipt's JSON, at its URL with ".json" added. Fields may be
// added; those here keep their names, types and meaning.
type Receipt struct {
	Reference string         `json:"reference"`
	Kind      string         `json:"kind"`    // order, entry, interest or waiting
	State     string         `json:"state"`   // open, invited, won, lost, fulfilling, fulfilled, cancelled, left, expired or forgotten
	Text      string         `json:"text"`    // the state in words
	Current   bool           `json:"current"` // false = the board could not ask the rack whether there is something newer
	Product   string         `json:"product"`
	Quantity  int            `json:"quantity"`
	Total     StatusPrice    `json:"total"`
	Parts     *ReceiptParts  `json:"parts"`    // of the total; null if the sale's prices have changed since
	Position  *int           `json:"position"` // in the queue, from 1; null = in none
	Made      string         `json:"made"`     // RFC 3339, UTC, as all times
	Changed   string         `json:"changed"`
	Until     *string        `json:"until"` // the end of the invitation
	For       *ReceiptPerson `json:"for"`   // null if it is erased
}

// ReceiptParts are the parts of a total, in minor units.
type ReceiptParts struct {
	Price    int64 `json:"price"`
	Shipping int64 `json:"shipping"`
	Tax      int64 `json:"tax"`
}

// ReceiptPerson is who a paper is for.
type ReceiptPerson struct {
	Name     string `json:"name"`
	Email    string `json:"email"`
	Line1    string `json:"line1"`
	Line2    string `json:"line2"`
	Postcode string `json:"postcode"`
	City     string `json:"city"`
	Country  string `json:"country"`
}

func (s *Shop) receiptJSON(w http.ResponseWriter, r *http.Request, v *receiptData) {
	p := v.Order
	body := Receipt{
		Reference: p.ID.String(),
		Kind:      p.Kind.String(),
		State:     p.State.String(),
		Text:      v.Heading,
		Current:   !v.Stale,
		Product:   p.Product,
		Quantity:  p.Quantity,
		Total:     newStatusPrice(v.Total),
		Made:      formatTimestamp(p.Made),
		Changed:   formatTimestamp(p.Changed),
		Until:     timestampOrNull(p.Until),
	}
	if v.Parts != nil {
		body.Parts = &ReceiptParts{Price: v.Parts.Goods.Minor, Shipping: v.Parts.Shipping.Minor, Tax: v.Parts.Tax.Minor}
	}
	if v.Position > 0 {
		body.Position = &v.Position
	}
	if !v.Erased {
		body.For = &ReceiptPerson{Name: p.Person.Name, Email: p.Person.Email, Line1: p.Person.Line1,
			Line2: p.Person.Line2, Postcode: p.Person.Postcode, City: p.Person.City, Country: p.Person.Country}
	}
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	hideFromSearch(w.Header())
	w.Header().Set("Cache-Control", "no-store")
	sendContent(w, r, "application/json", append(text, '\n'))
}
