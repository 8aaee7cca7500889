package shop

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"bramble/node/orders"
)

// serveOrderForm takes the order page's form. The page itself is at another URL, so that a
// reload of it asks nothing of anybody, and a browser that is sent here without a form is
// led there.
func (s *Shop) serveOrderForm(w http.ResponseWriter, r *http.Request) {
	p := s.productFromURL(r)
	switch {
	case p == nil:
		s.notFound(w, r)
	case r.Method == http.MethodPost:
		s.placeOrder(w, r, p)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, pageAddress{page: "order", product: p}.path(), http.StatusFound)
	default:
		s.rejectMethod(w, r, "GET, HEAD, POST")
	}
}

// placeOrder has a form taken, and leads to the receipt (Post/Redirect/Get: to load that again
// is harmless) or back to the form, filled as it was.
func (s *Shop) placeOrder(w http.ResponseWriter, r *http.Request, p *Product) {
	if s.desk == nil {
		s.rejectOrder(w, r, p)
		return
	}
	if s.rejectCrossSite(w, r) {
		return
	}
	f := readForm(r, s.fieldLimits)
	if errors.Is(f.err, errFormType) {
		s.rejectFormType(w, r, pageAddress{page: "order", product: p}.path())
		return
	}
	o := s.saleForForm(p)
	ask := f.parseOrder(s, o)
	if f.statusCode() != 0 {
		code, y := f.rejection()
		c := s.takeSnapshot(s.now())
		o = c.saleOf(p)
		s.replyWithForm(w, r, code, c, o, &formState{form: f, kind: knownKindOr(f.get("kind"), o.FormKind), alert: y, extra: f.extraConfirmation(), orderID: ask.ID})
		return
	}
	bill, _ := s.totalFor(o, ask.Person.Country, ask.Quantity) // check has seen to it that there is one
	ask.Total, ask.Currency = bill.Total.Minor, bill.Total.Currency
	if !f.hasShown(o, &bill) {
		c := s.takeSnapshot(s.now())
		s.replyWithForm(w, r, http.StatusConflict, c, c.saleOf(p), &formState{form: f, kind: f.get("kind"), extra: f.extraConfirmation(), orderID: ask.ID, alert: &formAlert{
			Title: "Nothing was sent yet: please check the total",
			Lines: []string{fmt.Sprintf("It is %s. If that is right, press the button again.", bill.Total)},
		}})
		return
	}
	answer, err := s.submitOrder(r.Context(), &ask)
	if err == nil && (answer.Outcome == orders.Placed || answer.Outcome == orders.Same) {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, s.receiptPath(answer.Order), http.StatusSeeOther)
		return
	}
	c := s.takeSnapshot(s.now()) // what the answer is about may be newer
	o = c.saleOf(p)
	if o.InBook && answer.State != 0 {
		o.setState(answer.State)
	}
	fill := &formState{form: f, kind: f.get("kind"), extra: f.extraConfirmation(), orderID: ask.ID}
	var code int
	if err != nil {
		code, fill.alert = describeFailure(err)
	} else {
		code = describeOutcome(o, &ask, answer, fill)
	}
	s.replyWithForm(w, r, code, c, o, fill)
}

// maxIDAttempts bounds how often a new reference is made because it is somebody's already. One
// in 2^50 is; three in a row are a broken source of chance.
const maxIDAttempts = 3

// submitOrder has the order book answer, under a reference of its own unless the form brings one.
func (s *Shop) submitOrder(ctx context.Context, a *orders.PlaceOrder) (answer orders.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, placeWait)
	defer cancel()
	for try := range maxIDAttempts {
		if !a.More || try > 0 {
			a.ID = newOrderID()
		}
		answer, err = s.desk.PlaceOrder(ctx, *a)
		if err != nil || answer.Outcome != orders.IDInUse {
			return answer, err
		}
	}
	return orders.Answer{}, fmt.Errorf("%w: no reference is free", orders.ErrNotCommitted)
}

func newOrderID() orders.ID {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails, says crypto/rand
		if id := orders.ID(binary.LittleEndian.Uint64(b[:])) & orders.MaxID; id.Valid() {
			return id
		}
	}
}

// extraConfirmation is where the question "in addition?" stands, as the form says.
func (f *form) extraConfirmation() extraConfirmation {
	if f.get("more") == "" {
		return extraUnasked
	}
	return extraConfirmed
}

// knownKindOr is the kind of form that was sent, or else the one that the page has.
func knownKindOr(sent, has string) string {
	if _, ok := orderKind(sent); ok {
		return sent
	}
	return has
}

// replyWithForm shows the order page, once, for who sent a form that was not taken.
func (s *Shop) replyWithForm(w http.ResponseWriter, r *http.Request, code int, c *snapshot, o *productSale, fill *formState) {
	if fill.extra == extraConfirmed && !fill.orderID.Valid() {
		fill.orderID = newOrderID()
	}
	page, err := s.renderOrder(c, o, fill)
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	s.sendUncached(w, r, code, page)
}

// describeFailure is what is said when the order book gave no answer.
func describeFailure(err error) (int, *formAlert) {
	y := &formAlert{
		Title: "It is not certain that this was taken",
		Lines: []string{"Boards of the rack lost sight of each other at that moment. Please press the button again: the same form cannot be taken twice, and if it was taken, you will see its receipt."},
	}
	switch {
	case errors.Is(err, orders.ErrUnavailable):
		y.Title = "Nothing was taken: the rack is not ready"
		y.Lines = []string{"Please press the button again in a little while. What you typed is kept below."}
		if _, reason, ok := strings.Cut(err.Error(), orders.ErrUnavailable.Error()+": "); ok {
			y.Lines = append(y.Lines, "The rack says: "+reason+".")
		}
	case errors.Is(err, orders.ErrNotCommitted):
		y.Title = "Nothing was taken: please press again"
		y.Lines = []string{"The rack could not take it just now. What you typed is kept below, so press the button again in a few seconds."}
	}
	return http.StatusServiceUnavailable, y
}

// describeOutcome turns an answer that took nothing into words above the form, which it chooses
// by what the sale takes now. It gives the reply's status.
func describeOutcome(o *productSale, a *orders.PlaceOrder, answer orders.Answer, fill *formState) int {
	y := &formAlert{}
	fill.alert = y
	switch answer.Outcome {
	case orders.Differs:
		y.Title = "You have been here before: nothing new was taken"
		y.Lines = []string{"With this e-mail address there is something already, and not all of it is what you typed now. It stays as it is; its receipt is at the address that you were led to then."}
		if o.PerPerson > 1 && fill.kind != "" {
			y.Lines = append(y.Lines, "Do you want this in addition to what you have?")
			fill.extra, fill.orderID = extraOffered, newOrderID()
		} else {
			fill.extra = extraUnasked
			y.Lines = append(y.Lines, "To change it, cancel it on its receipt and send this form again.")
		}
	case orders.OverLimit:
		y.Title = "That would be more than one person can have"
		y.Lines = []string{fmt.Sprintf("It is %d a person%s, and you have as many. Nothing new was taken.", o.PerPerson, orAddress(o))}
		if answer.Left > 0 {
			y.Lines = []string{fmt.Sprintf("It is %d a person%s, and what you have leaves %d more. Nothing new was taken.", o.PerPerson, orAddress(o), answer.Left)}
		}
	case orders.SoldOut:
		describeSoldOut(o, answer, fill)
	case orders.NotOpen:
		y.Title = "Nothing was taken: it is not open yet"
		opens := answer.Opens
		if opens.IsZero() {
			opens = o.Opens
		}
		y.Lines = []string{"It opens at " + formatTime(opens) + ". What you typed is kept below: press the button then. To press before is in vain, and harmless."}
	case orders.Closed:
		y.Title = "Nothing was taken: it is closed"
		fill.kind = o.FormKind
		if o.FormKind == "" {
			y.Lines = []string{"Nothing can be sent in now. If that changes, it will be at this address."}
		} else {
			y.Lines = []string{"What this page takes now is below, with what you typed."}
		}
	case orders.PriceChanged:
		y.Title = "Nothing was sent yet: the total has changed"
		y.Lines = []string{fmt.Sprintf("It is %s now. If that is right, press the button again.", o.moneyOf(answer.Total))}
	case orders.WrongKind:
		y.Title = "Nothing was taken: this page takes something else now"
		fill.kind = o.FormKind
		y.Lines = []string{"What it takes now is below, with what you typed. Send it if you want that."}
	case orders.NoShipping:
		fill.form.addProblem("country", countryProblem)
		fill.alert = alertForProblems(fill.form)
		return http.StatusUnprocessableEntity
	case orders.NoSuchSale:
		y.Title = "Nothing was taken: the rack is not ready"
		y.Lines = []string{"Its order book does not have this product yet. What you typed is kept below: please press the button again in a little while."}
		return http.StatusServiceUnavailable
	default:
		y.Title = "Nothing was taken: the order book cannot read this"
		y.Lines = []string{"Something in the form is not as it should be, though this page cannot tell what. Please look it over and send it again."}
		return http.StatusUnprocessableEntity
	}
	return http.StatusConflict
}

func orAddress(o *productSale) string {
	if o.book.LimitByAddress {
		return " and postal address"
	}
	return ""
}

// describeSoldOut says that it is, or that there are too few, and offers what there is instead.
func describeSoldOut(o *productSale, answer orders.Answer, fill *formState) {
	y := fill.alert
	if answer.Left > 0 {
		y.Title = "There are fewer left than you asked for"
		y.Lines = []string{fmt.Sprintf("There are %d left. Nothing was taken: choose fewer and press the button again.", answer.Left)}
		return
	}
	if o.FormKind == formOrder { // this board has not heard of it yet
		o.setState(orders.SaleSoldOut)
	}
	y.Title = "The last one has gone: nothing was taken"
	fill.kind = o.FormKind
	if o.FormKind == formWaiting {
		y.Lines = []string{"You can join the waiting list: the form below has what you typed. It costs nothing, and you will be asked before you owe anything."}
	} else {
		y.Lines = []string{"You owe nothing. If more come, they will be at this address."}
	}
}

// rejectCrossSite refuses a form that another site's page sent, and shows nothing of it.
func (s *Shop) rejectCrossSite(w http.ResponseWriter, r *http.Request) bool {
	if s.crossOrigin.Check(r) == nil {
		return false
	}
	s.sendErrorPage(w, r, http.StatusForbidden, errorPage{
		Title:        "This form came from another site",
		Text:         "Nothing was taken. Forms of this shop are only taken from its own pages: please use those.",
		ListProducts: true,
	})
	return true
}

// rejectFormType refuses a form in a type that no page of this shop sends.
func (s *Shop) rejectFormType(w http.ResponseWriter, r *http.Request, back string) {
	w.Header().Set("Accept-Post", "application/x-www-form-urlencoded")
	s.sendErrorPage(w, r, http.StatusUnsupportedMediaType, errorPage{
		Title:    "This form cannot be read",
		Text:     "Nothing was taken. This page takes what its own form sends: application/x-www-form-urlencoded, in UTF-8. Your browser's Back button still has what you typed.",
		LinkPath: back,
	})
}

// rejectMethod answers 405 to a method that a page with a form does not have.
func (s *Shop) rejectMethod(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	s.sendErrorPage(w, r, http.StatusMethodNotAllowed, errorPage{
		Title: "This page does not take that",
		Text:  "Your program sent a request that this page does not take. Nothing was changed and nothing was ordered.",
	})
}
