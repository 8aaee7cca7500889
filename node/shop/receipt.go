package shop

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bramble/node/orders"
)

// receiptPath returns the path of an order's receipt, of which it needs ID and Confirmed.
func (s *Shop) receiptPath(o orders.Order) string {
	return ReceiptPath(o.ID, s.orderService.Sign(o.ID, o.Confirmed))
}

type receiptData struct {
	Order           orders.Order
	Heading         string
	Lines           []string
	ProductName     string
	Sale            *productSale // nil if the product is no longer in the catalogue
	Position        int          // in the queue, from 1; 0 = in none
	QueueLength     int
	Total           Money
	Parts           *orderTotal // of the total, as it was when the order was placed; nil if it is not known
	Country         string
	Path            string
	CancelLabel     string // text of the cancel button; "" = it cannot be cancelled
	Confirming      bool   // the page asks for confirmation of the cancellation
	ConfirmPath     string // behind a mailed link: of the button that confirms it
	Alert           *formAlert
	InvitationTotal *orderTotal // the total of an invited person's order
	Hidden          []formValue
	Person          []string // lines of the address; none if it is erased
	Erased          bool
	Stale           bool // the rest of the rack may have a newer state
	Paused          bool // orders are paused, and a button is missing because of that
}

// newReceiptData returns an order's receipt, for the page and for its JSON.
func (s *Shop) newReceiptData(state *pageState, order orders.Order, position int) *receiptData {
	data := &receiptData{
		Order:       order,
		ProductName: order.Product,
		Position:    position,
		Total:       Money{Minor: order.Total, Currency: order.Currency},
		Country:     order.Person.Country,
		Path:        s.receiptPath(order),
		Erased:      order.Person == orders.Person{},
	}
	if p := s.cat.findProduct(order.Product); p != nil {
		data.Sale, data.ProductName = state.saleOf(p), p.Name
	}
	if to := s.cat.shippingTo(order.Person.Country); to != nil {
		data.Country = to.Name
	}
	for _, line := range []string{order.Person.Name, order.Person.Line1, order.Person.Line2, strings.TrimSpace(order.Person.Postcode + " " + order.Person.City), data.Country} {
		if line != "" {
			data.Person = append(data.Person, line)
		}
	}
	if split := order.Split; split.Price+split.Shipping+split.Tax == order.Total {
		money := func(minor int64) Money { return Money{Minor: minor, Currency: order.Currency} }
		data.Parts = &orderTotal{Quantity: order.Quantity, Name: data.Country, Goods: money(split.Price), Shipping: money(split.Shipping), Tax: money(split.Tax), Rate: formatPercent(split.TaxRate), Total: data.Total}
	}
	if data.Sale != nil {
		data.QueueLength = max(position, data.Sale.Waiting)
		if order.Kind == orders.KindInterest {
			data.QueueLength = max(position, data.Sale.Interested)
		}
		if total, ok := s.totalFor(data.Sale, order.Person.Country, order.Quantity); ok && order.State == orders.StateInvited {
			data.InvitationTotal = &total
			data.Hidden = []formValue{{"agreed", total.formText()}}
		}
	}
	data.Heading, data.Lines = describeOrder(data, state.now)
	data.CancelLabel = cancelLabel(data, state.now)
	if state.pause != orders.NotPaused && (data.CancelLabel != "" || data.InvitationTotal != nil) {
		data.CancelLabel, data.InvitationTotal, data.Paused = "", nil, true
	}
	return data
}

// cancelLabel returns the text of the button that cancels; "" if it is too late.
func cancelLabel(data *receiptData, now time.Time) string {
	order := data.Order
	if !order.Cancellable() {
		return ""
	}
	switch order.Kind {
	case orders.KindEntry:
		if order.State == orders.StateWon {
			return "Cancel what I won"
		}
		if data.Sale != nil && !data.Sale.Closes.IsZero() && !now.Before(data.Sale.Closes) {
			return "" // the list of entries for the draw is final
		}
		return "Withdraw my entry"
	case orders.KindInterest, orders.KindWaiting:
		if order.State == orders.StateInvited {
			return "Pass it on to the next person"
		}
		return "Leave the list"
	}
	return "Cancel this order"
}

// describeOrder returns the heading and the text of a receipt.
func describeOrder(data *receiptData, now time.Time) (heading string, lines []string) {
	order := data.Order
	switch order.State {
	case orders.StateInvited:
		return "It is your turn", []string{
			"We are holding this for you until " + formatTime(order.Until) + ". If you still want it, order it below. If you do nothing, it goes to the next person in the queue."}
	case orders.StateWon:
		lines = []string{"Your entry was drawn: it is yours, and will be packed and sent to you. There is nothing more to do."}
		return "You have won", append(lines, cancelDeadlineText(order, now)...)
	case orders.StateLost:
		lines = []string{"Your entry was not drawn. You owe nothing."}
		if data.Sale != nil && data.Sale.FormKind == formWaiting {
			lines = append(lines, "There is a waiting list: you can join it on the order page.")
		}
		return "Not this time", lines
	case orders.StateFulfilling:
		return "Your order is being passed on for dispatch", []string{"It is about to be packed and sent, so it can no longer be cancelled here."}
	case orders.StateFulfilled:
		if order.Note != "webhook" { // an operator marked it
			return "Your order was sent", withNote(order, "That was at "+formatTime(order.Changed)+".", "The seller's note: ")
		}
		return "Your order has been passed on for dispatch", []string{"It was passed on to be packed and sent at " + formatTime(order.Changed) + ". Please ask the seller about anything further."}
	case orders.StateReturned:
		return "Your order came back to the seller", withNote(order, "That was at "+formatTime(order.Changed)+".", reasonLabel)
	case orders.StateCancelled:
		heading = "This order was cancelled"
		if order.Kind == orders.KindEntry {
			heading = "This entry was withdrawn"
		}
		return heading, withNote(order, "That was at "+formatTime(order.Changed)+". You owe nothing, and can order again.", reasonLabel)
	case orders.StateLeft:
		return "You have left the list", withNote(order, "That was at "+formatTime(order.Changed)+". You owe nothing.", reasonLabel)
	case orders.StateUnconfirmed:
		lines = []string{"We mail a link to " + order.Person.Email + ". If one came in the last hour, it is still good, and shows this too. Open it and press the button there, until " + formatTime(order.Until) + ": this counts from then on, and not before."}
		if plain := strings.ToLower(orders.NormalEmail(order.Person.Email)); plain != order.Person.Email { // for all such addresses, whatever was sent
			lines = append(lines, "All spellings of an address share few links an hour. If none comes within minutes, send the form with "+plain+" if that is your mailbox too, or again in an hour.")
		}
		if order.Unheld {
			lines = append(lines, "Nothing is held for it: it gets what is free when you press the button.")
		}
		return "Check your mail: this does not count yet", lines
	case orders.StateExpired:
		if order.Note == orders.NoteUnconfirmed {
			return "This was not confirmed", []string{"Nobody confirmed this one by mail in time. Nothing was taken for it, and you owe nothing. If you confirmed an equal one, that counts. You can send the form again."}
		}
		return "The time to order has passed", []string{"We held it for you until " + formatTime(order.Until) + ". It has gone to the next person in the queue. You owe nothing."}
	case orders.StateErased:
		return "Your details are erased", []string{"We no longer have your name and address. Only figures are left."}
	}
	switch order.Kind {
	case orders.KindEntry:
		return "You are in the ballot", append(ballotText(data), "Every entry has the same chance, the first and the last. Come back to this page after the draw.")
	case orders.KindInterest:
		return "Your interest is registered", append(queueText(data, "the list"), "You have ordered nothing yet and owe nothing. This page will tell you when it is your turn.")
	case orders.KindWaiting:
		return "You are on the waiting list", append(queueText(data, "the waiting list"), "You have ordered nothing yet and owe nothing. This page will tell you when it is your turn.")
	}
	return "Your order is placed", append([]string{"It is stored on disk: a power cut does not lose it."}, cancelDeadlineText(order, now)...)
}

func ballotText(data *receiptData) []string {
	switch {
	case data.Sale == nil:
	case data.Sale.State == orders.SaleOpen && !data.Sale.Closes.IsZero():
		return []string{"The ballot is open until " + formatTime(data.Sale.Closes) + " and is drawn after that."}
	case data.Sale.State == orders.SaleDrawing:
		return []string{"The ballot has closed. " + drawProgress(data.Sale) + "."}
	}
	return nil
}

// queueText describes the position in a list, if it is known.
func queueText(data *receiptData, list string) []string {
	if data.Position == 0 {
		return nil
	}
	return []string{"You are number " + groupDigits(strconv.Itoa(data.Position)) + " of " + groupDigits(strconv.Itoa(data.QueueLength)) + " on " + list + "."}
}

func cancelDeadlineText(order orders.Order, now time.Time) []string {
	if order.Ready.After(now) {
		return []string{"You can cancel it at least until " + formatTime(order.Ready) + ", when it is due to be passed on for dispatch."}
	}
	return []string{"It is due to be passed on for dispatch: until that happens you can still cancel it."}
}

// reasonLabel introduces the note of an order that ended.
const reasonLabel = "The reason given: "

// withNote adds the note that the operator wrote. It never contains anything about a person.
func withNote(order orders.Order, line, introduction string) []string {
	if order.Note == "" {
		return []string{line}
	}
	return []string{line, introduction + order.Note}
}

func (s *Shop) serveReceipt(w http.ResponseWriter, r *http.Request) {
	if !s.requireReadMethod(w, r) {
		return
	}
	token, asJSON := strings.CutSuffix(r.PathValue("token"), ".json")
	order, ok := s.findOrder(w, r, token)
	if !ok {
		return
	}
	state := s.readPageState(s.now())
	data := s.newReceiptData(state, order.Order, order.position)
	data.Stale = order.stale
	if asJSON {
		s.receiptJSON(w, r, data)
		return
	}
	s.showReceipt(w, r, http.StatusOK, state, data)
}

func (s *Shop) showReceipt(w http.ResponseWriter, r *http.Request, code int, state *pageState, receipt *receiptData) {
	data := s.newTemplateData(state)
	data.Title = receipt.Heading + " · " + receipt.Order.ID.String()
	data.Receipt = receipt
	page, err := s.executeTemplate("receipt", data)
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	hideFromSearch(w.Header())
	s.sendUncached(w, r, code, page)
}

// hideFromSearch keeps a page with a person's details out of search engines.
func hideFromSearch(h http.Header) { h.Set("X-Robots-Tag", "noindex") }

// readReceiptForm reads the form of one field on a receipt's subpage: nil of a GET. It returns false if it has
// replied.
func (s *Shop) readReceiptForm(w http.ResponseWriter, r *http.Request, field string) (*form, bool) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return nil, true
	case http.MethodPost:
		if s.rejectCrossSite(w, r) {
			return nil, false
		}
		if admitted, ok := s.limitForm(w, r, false); !admitted {
			if ok { // nothing was typed: the page at this address has the button
				s.sendErrorPage(w, r, http.StatusTooManyRequests, errorMessage{Title: limitTitle, Text: limitText, LinkPath: r.URL.Path, LinkText: "Back to the button"})
			}
			return nil, false
		}
		f := readForm(r, map[string]int{field: maxHiddenValue})
		if errors.Is(f.err, errFormType) {
			s.rejectFormType(w, r, "")
			return nil, false
		}
		return f, true
	}
	s.rejectMethod(w, r, "GET, HEAD, POST", formPageRefusal)
	return nil, false
}

// serveCancel shows the page that confirms a cancellation, and cancels the order once the
// person has confirmed it.
func (s *Shop) serveCancel(w http.ResponseWriter, r *http.Request) {
	f, ok := s.readReceiptForm(w, r, "sure")
	if !ok {
		return
	}
	confirmed := f != nil && f.statusCode() == 0 && f.get("sure") == "yes"
	order, ok := s.findOrder(w, r, r.PathValue("token"))
	if !ok {
		return
	}
	if confirmed {
		s.cancelOrder(w, r, order)
		return
	}
	state := s.readPageState(s.now())
	data := s.newReceiptData(state, order.Order, order.position)
	data.Confirming, data.Stale = data.CancelLabel != "", order.stale
	s.showReceipt(w, r, http.StatusOK, state, data)
}

// cancelOrder cancels an order and redirects to its receipt, or shows why it was not
// cancelled.
func (s *Shop) cancelOrder(w http.ResponseWriter, r *http.Request, order foundOrder) {
	ctx, cancel := context.WithTimeout(r.Context(), placeTimeout)
	defer cancel()
	err := s.orderService.CancelOrder(ctx, order.ID)
	if err == nil || errors.Is(err, orders.ErrNoOrder) {
		redirectUncached(w, r, s.receiptPath(order.Order), http.StatusSeeOther)
		return
	}
	state := s.readPageState(s.now())
	data := s.newReceiptData(state, order.Order, order.position)
	code := http.StatusConflict
	data.Alert = &formAlert{Title: "It is too late for that", Lines: []string{"Nothing was changed."}}
	if !errors.Is(err, orders.ErrTooLate) {
		code, data.Alert = describeReceiptFailure(err)
		data.Confirming = data.CancelLabel != ""
	}
	s.showReceipt(w, r, code, state, data)
}

// describeReceiptFailure returns the status code and the alert for a button of a receipt that the
// order book has not answered.
func describeReceiptFailure(err error) (int, *formAlert) {
	alert := &formAlert{Title: "We cannot tell whether this went through", Lines: []string{"Please press the button again: doing it twice does no harm."}}
	switch {
	case errors.Is(err, orders.ErrPaused) || errors.Is(err, orders.ErrUnavailable):
		alert = &formAlert{Title: "Nothing was changed: orders are paused", Lines: []string{"Nothing is lost either. This page has the button again when they go on."}}
	case errors.Is(err, orders.ErrNotCommitted):
		alert = &formAlert{Title: "Nothing was changed: please try again", Lines: []string{"The shop could not accept it in time. Press the button again."}}
	}
	return http.StatusServiceUnavailable, alert
}

// Receipt is the body of a receipt's JSON, at the receipt's URL with ".json" appended. New
// fields may be added; these keep their names, types and meaning.
type Receipt struct {
	Reference string         `json:"reference"`
	Kind      string         `json:"kind"`    // order, entry, interest or waiting
	State     string         `json:"state"`   // open, unconfirmed, invited, won, lost, fulfilling, fulfilled, returned, cancelled, left, expired or erased
	Text      string         `json:"text"`    // the state in words
	Current   bool           `json:"current"` // false = the board could not check with the rack whether this is out of date
	Product   string         `json:"product"`
	Quantity  int            `json:"quantity"`
	Total     StatusPrice    `json:"total"`
	Parts     *ReceiptParts  `json:"parts"`    // of the total; null if prices have changed since
	Position  *int           `json:"position"` // in the queue, from 1; null = not in one
	Made      string         `json:"made"`     // RFC 3339, UTC, like all times
	Changed   string         `json:"changed"`
	Until     *string        `json:"until"`  // end of the invitation, or of the time to confirm
	Person    *ReceiptPerson `json:"person"` // null if erased
}

// ReceiptParts are the parts of a total, in minor units.
type ReceiptParts struct {
	Price    int64 `json:"price"`
	Shipping int64 `json:"shipping"`
	Tax      int64 `json:"tax"`
}

// ReceiptPerson is the person of an order.
type ReceiptPerson struct {
	Name     string `json:"name"`
	Email    string `json:"email"`
	Line1    string `json:"line1"`
	Line2    string `json:"line2"`
	Postcode string `json:"postcode"`
	City     string `json:"city"`
	Country  string `json:"country"`
}

func (s *Shop) receiptJSON(w http.ResponseWriter, r *http.Request, data *receiptData) {
	order := data.Order
	body := Receipt{
		Reference: order.ID.String(),
		Kind:      order.Kind.String(),
		State:     order.State.String(),
		Text:      data.Heading,
		Current:   !data.Stale,
		Product:   order.Product,
		Quantity:  order.Quantity,
		Total:     newStatusPrice(data.Total),
		Made:      formatTimestamp(order.Made),
		Changed:   formatTimestamp(order.Changed),
		Until:     timestampOrNull(order.Until),
	}
	if data.Parts != nil {
		body.Parts = &ReceiptParts{Price: data.Parts.Goods.Minor, Shipping: data.Parts.Shipping.Minor, Tax: data.Parts.Tax.Minor}
	}
	if data.Position > 0 {
		body.Position = &data.Position
	}
	if !data.Erased {
		body.Person = &ReceiptPerson{Name: order.Person.Name, Email: order.Person.Email, Line1: order.Person.Line1,
			Line2: order.Person.Line2, Postcode: order.Person.Postcode, City: order.Person.City, Country: order.Person.Country}
	}
	hideFromSearch(w.Header())
	s.sendJSON(w, r, body, "no-store")
}
