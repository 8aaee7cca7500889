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

func (s *Shop) receiptPath(id orders.ID) string { return ReceiptPath(id, s.orderService.Sign(id)) }

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
		Path:        s.receiptPath(order.ID),
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
		if total, ok := s.totalFor(data.Sale, order.Person.Country, order.Quantity); ok {
			if order.State == orders.StateInvited {
				data.InvitationTotal = &total
				data.Hidden = acceptanceValues(data.Sale, order, &total)
			}
		}
	}
	data.Heading, data.Lines = describeOrder(data, state.now)
	data.CancelLabel = cancelLabel(data, state.now)
	if state.pause != orders.NotPaused && (data.CancelLabel != "" || data.InvitationTotal != nil) {
		data.CancelLabel, data.InvitationTotal, data.Paused = "", nil, true
	}
	return data
}

// acceptanceValues returns the form with which an invited person orders: the order form,
// filled in with the details that the person has given before.
func acceptanceValues(sale *productSale, order orders.Order, total *orderTotal) []formValue {
	person := order.Person
	return []formValue{{"kind", formOrder}, {"prices", sale.pricesHash()}, {"agreed", total.formText()}, {"quantity", strconv.Itoa(order.Quantity)},
		{"name", person.Name}, {"email", person.Email}, {"line1", person.Line1}, {"line2", person.Line2},
		{"postcode", person.Postcode}, {"city", person.City}, {"country", person.Country}}
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
	case orders.StateExpired:
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

// foundOrder is an order as this board knows it.
type foundOrder struct {
	orders.Order
	position int  // in the queue, from 1; 0 = in none
	stale    bool // see orders.ErrStale
}

// findOrder finds the order of a receipt's URL, or sends a reply with the reason why not. A wrong
// reference and a wrong token get the same reply, from this board's memory.
func (s *Shop) findOrder(w http.ResponseWriter, r *http.Request, token string) (foundOrder, bool) {
	id, err := orders.ParseID(r.PathValue("id"))
	if s.orderService == nil || err != nil {
		s.replyNoReceipt(w, r)
		return foundOrder{}, false
	}
	order, position, err := s.readOrder(r.Context(), id, token)
	switch {
	case err == nil, errors.Is(err, orders.ErrStale):
		return foundOrder{Order: order, position: position, stale: err != nil}, true
	case errors.Is(err, orders.ErrNoOrder):
		s.replyNoReceipt(w, r)
	case errors.Is(err, orders.ErrBoardUnfit):
		s.sendErrorPage(w, r, http.StatusServiceUnavailable, errorMessage{
			Title: "This server of the shop shows no receipts now",
			Text:  "Its other servers do. Nothing is lost: close this page, and open the address of your receipt again in a few minutes.",
		})
	default:
		s.sendErrorPage(w, r, http.StatusServiceUnavailable, errorMessage{
			Title: "The receipt cannot be shown yet",
			Text:  "This server of the shop does not have all orders: it has just been started, or cannot reach the others. Nothing is lost: load this page again later.",
		})
	}
	return foundOrder{}, false
}

// readOrder returns an order and its position in the queue, if the token is that of the order. A board that lacks part
// of the ledger may also lack the token's key, so it cannot say that there is no such receipt. Errors: those of
// OrderService.Order.
func (s *Shop) readOrder(ctx context.Context, id orders.ID, token string) (orders.Order, int, error) {
	if s.orderService.Verify(id, token) {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		return s.orderService.Order(ctx, id)
	}
	switch s.orderService.Pause() {
	case orders.NotPaused:
		return orders.Order{}, 0, orders.ErrNoOrder
	case orders.PausedBoard:
		return orders.Order{}, 0, orders.ErrBoardUnfit
	}
	return orders.Order{}, 0, orders.ErrUncertain
}

// replyNoReceipt answers 404 to a receipt's URL that is not one.
func (s *Shop) replyNoReceipt(w http.ResponseWriter, r *http.Request) {
	s.sendErrorPage(w, r, http.StatusNotFound, errorMessage{
		Title:        "There is no receipt at this address",
		Text:         "The address of a receipt is long, and every letter counts: please open it exactly as you were given it. These are the products of this shop:",
		ListProducts: true,
	})
}

// serveCancel shows the page that confirms a cancellation, and cancels the order once the
// person has confirmed it.
func (s *Shop) serveCancel(w http.ResponseWriter, r *http.Request) {
	confirmed := false
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
		confirmed = f.statusCode() == 0 && f.get("sure") == "yes"
	default:
		s.rejectMethod(w, r, "GET, HEAD, POST", formPageRefusal)
		return
	}
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
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, s.receiptPath(order.ID), http.StatusSeeOther)
		return
	}
	state := s.readPageState(s.now())
	data := s.newReceiptData(state, order.Order, order.position)
	code := http.StatusConflict
	data.Alert = &formAlert{Title: "It is too late for that", Lines: []string{"Nothing was changed."}}
	if !errors.Is(err, orders.ErrTooLate) {
		code, data.Alert = describeCancelFailure(err)
		data.Confirming = data.CancelLabel != ""
	}
	s.showReceipt(w, r, code, state, data)
}

// describeCancelFailure returns the status code and the alert for a cancellation that the
// order book has not answered.
func describeCancelFailure(err error) (int, *formAlert) {
	alert := &formAlert{Title: "We cannot tell whether this was cancelled", Lines: []string{"Please press the button again: doing it twice does no harm."}}
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
	State     string         `json:"state"`   // open, invited, won, lost, fulfilling, fulfilled, cancelled, left, expired or erased
	Text      string         `json:"text"`    // the state in words
	Current   bool           `json:"current"` // false = the board could not check with the rack whether this is out of date
	Product   string         `json:"product"`
	Quantity  int            `json:"quantity"`
	Total     StatusPrice    `json:"total"`
	Parts     *ReceiptParts  `json:"parts"`    // of the total; null if prices have changed since
	Position  *int           `json:"position"` // in the queue, from 1; null = not in one
	Made      string         `json:"made"`     // RFC 3339, UTC, like all times
	Changed   string         `json:"changed"`
	Until     *string        `json:"until"`  // end of the invitation
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
