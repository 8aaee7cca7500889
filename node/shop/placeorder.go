package shop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"bramble/node/orders"
)

// serveOrderForm accepts the order page's form. The page itself is at another URL, so that
// reloading it submits nothing, and a browser that comes here without a form is redirected
// to it.
func (s *Shop) serveOrderForm(w http.ResponseWriter, r *http.Request) {
	p := s.productFromURL(r)
	switch {
	case p == nil:
		s.notFound(w, r)
	case r.Method == http.MethodPost:
		s.placeOrder(w, r, p, nil)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		redirectUncached(w, r, pageAddress{page: "order", product: p}.path(), http.StatusFound)
	default:
		s.rejectMethod(w, r, "GET, HEAD, POST", formPageRefusal)
	}
}

// placeOrder parses a form, checks it against the sale and submits it to the order book:
// orderservice.PlaceOrder, then ledger.Submit, and orders.Book.Apply on every board. The
// reply redirects to the receipt (Post/Redirect/Get, so that a reload is harmless) or shows
// the form again, filled in, with the problems to correct. Only the form whose token made an order
// leads to its receipt: to know what somebody typed is not enough. With a mailed link the form is behind that: it counts
// at once, or confirms one of those that wait.
func (s *Shop) placeOrder(w http.ResponseWriter, r *http.Request, p *Product, link *mailedLink) {
	if s.orderService == nil {
		s.rejectWithoutOrderBook(w, r, p)
		return
	}
	if s.rejectCrossSite(w, r) {
		return
	}
	isMailed := link == nil && s.saleForForm(p).Confirms()
	admitted, ok := s.limitForm(w, r, isMailed)
	if !ok {
		return
	}
	f := readForm(r, s.fieldLimits)
	if errors.Is(f.err, errFormType) {
		s.rejectFormType(w, r, pageAddress{page: "order", product: p}.path())
		return
	}
	if link != nil {
		if f.get("sure") == "yes" && admitted {
			s.confirmOrder(w, r, p, link, link.order.ID)
			return
		}
		f.values["email"] = link.order.Person.Email
	}
	hadToken := f.ensureToken()

	if pause := s.orderService.Pause(); pause != orders.NotPaused {
		s.replyPaused(w, r, p, &formContent{form: f, link: link, unsure: f.get("unsure") != ""}, pause)
		return
	}

	sale := s.saleForForm(p)
	order := f.parseOrder(s, sale)
	content := &formContent{form: f, link: link, kind: f.get("kind"), inAddition: f.inAdditionAnswer(), unsure: f.get("unsure") != ""}
	switch {
	case !admitted:
		content.showAlert(limitTitle, limitText)
	case s.limits != nil && !sale.Confirms() && s.limits.HasAsked(r): // whatever the form says, so that this answer tells nothing
		admitted = false
		w.Header().Set("Retry-After", askedRetrySeconds)
		content.showAlert(limitTitle, askedText)
	}
	if !admitted || f.statusCode() != 0 {
		s.replyWithProblems(w, r, p, content)
		return
	}
	total, _ := s.totalFor(sale, order.Person.Country, order.Quantity) // parseOrder has checked the country
	if !f.personHasSeen(sale, &total) {
		content.showAlert("Not sent yet: please check the total", fmt.Sprintf("The total is %s. If that is right, press the button again.", total.Total))
		s.showForm(w, r, http.StatusConflict, p, content)
		return
	}
	if !hadToken {
		content.showAlert("Not sent yet: please press the button once more", "Your browser sent this form without the number that tells it from all others, as browsers without JavaScript do. The form has one now.")
		s.showForm(w, r, http.StatusConflict, p, content)
		return
	}
	order.Total, order.Currency = total.Total.Minor, total.Total.Currency
	if link == nil && !s.admitAbout(r, sale, &order.Person) {
		w.Header().Set("Retry-After", aboutRetrySeconds)
		content.showAlert(limitTitle, aboutText)
		s.showForm(w, r, http.StatusTooManyRequests, p, content)
		return
	}

	if isMailed && s.limits != nil {
		order.Unheld = order.Kind == orders.KindOrder && !s.limits.HoldsUnits(r)
		order.Network = s.limits.HashNetwork(r)
	}
	answer, err := s.submitOrder(r.Context(), &order, f.get("token"))
	if err == nil && link != nil && (answer.Outcome == orders.Placed || answer.Outcome == orders.AlreadyDone) {
		s.confirmOrder(w, r, p, link, answer.Order)
		return
	}
	if err == nil && (answer.Outcome == orders.Placed || answer.Outcome == orders.AlreadyDone && answer.Order == order.ID) {
		redirectUncached(w, r, s.receiptPath(orders.Order{ID: answer.Order}), http.StatusSeeOther)
		return
	}
	if err == nil && answer.Outcome == orders.Differs && answer.Order == order.ID { // this form's own
		f.values["token"] = newToken()
		content.alert = &formAlert{Title: "This page has placed an order already", Receipt: s.receiptPath(orders.Order{ID: order.ID}),
			Lines: []string{"Not all of it matches what you typed now, and nothing new was submitted. To change it, cancel it on its receipt and press the button again."}}
		s.showForm(w, r, http.StatusConflict, p, content)
		return
	}
	if err == nil && (answer.Outcome == orders.Differs || answer.Outcome == orders.OverLimit) && s.limits != nil {
		s.limits.NoteTold(r)
	}
	s.replyNotPlaced(w, r, p, content, answer, err)
}

func (s *Shop) replyWithProblems(w http.ResponseWriter, r *http.Request, p *Product, content *formContent) {
	state := s.readPageState(s.now())
	sale := state.saleOf(p)
	if _, err := orders.ParseKind(content.kind); err != nil {
		content.kind = sale.FormKind
	}
	code := http.StatusTooManyRequests
	if content.alert == nil {
		code, content.alert = content.form.describeProblems()
	}
	s.replyWithForm(w, r, code, state, sale, content)
}

// replyNotPlaced shows the form again after an order that the order book has not accepted,
// or whose outcome is not known.
func (s *Shop) replyNotPlaced(w http.ResponseWriter, r *http.Request, p *Product, content *formContent, answer orders.Answer, err error) {
	state := s.readPageState(s.now()) // the answer may be about a newer sale than the form's
	sale := state.saleOf(p)
	if sale.InBook && answer.State != 0 {
		sale.setState(answer.State)
	}
	var code int
	if err != nil {
		if errors.Is(err, orders.ErrPaused) || errors.Is(err, orders.ErrUnavailable) {
			s.replyPaused(w, r, p, content, pauseOf(err, state.pause))
			return
		}
		content.unsure = content.unsure || !errors.Is(err, orders.ErrNotCommitted)
		code, content.alert = describeFailure(err, content.unsure)
		if sale.Hold != "" { // the outcome is not known, and orders have been paused meanwhile
			s.replyPaused(w, r, p, content, state.pause)
			return
		}
	} else {
		code = describeOutcome(sale, s.cat.Seller.Email, answer, content)
	}
	s.replyWithForm(w, r, code, state, sale, content)
}

// replyPaused answers a form at once while orders are paused. The page has no form, but a button
// that sends what was typed once orders go on; not for a pause of this board alone, which a
// browser most often reaches again.
func (s *Shop) replyPaused(w http.ResponseWriter, r *http.Request, p *Product, content *formContent, pause orders.Pause) {
	content.kind, content.again, content.alert = "", pause != orders.PausedBoard, describePause(pause, content.unsure)
	w.Header().Set("Retry-After", strconv.Itoa(int(refreshInterval/time.Second)))
	s.showForm(w, r, http.StatusServiceUnavailable, p, content)
}

// showForm is replyWithForm for a product's sale as it is now.
func (s *Shop) showForm(w http.ResponseWriter, r *http.Request, code int, p *Product, content *formContent) {
	state := s.readPageState(s.now())
	s.replyWithForm(w, r, code, state, state.saleOf(p), content)
}

// replyWithForm sends the order page for one form that was not accepted.
func (s *Shop) replyWithForm(w http.ResponseWriter, r *http.Request, code int, state *pageState, sale *productSale, content *formContent) {
	page, err := s.renderOrder(state, sale, content)
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	s.sendUncached(w, r, code, page)
}

// maxIDAttempts limits the orders of different people that one token makes, in a browser that shows
// a form again which it has sent. Two tokens share a reference with a chance of 1 in 2^50.
const maxIDAttempts = 3

// submitOrder submits an order to the order book, under the reference that follows from the form's
// token: the same form is the same order, whichever board gets it, and nobody can choose a reference.
func (s *Shop) submitOrder(ctx context.Context, order *orders.PlaceOrder, token string) (answer orders.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	for attempt := range maxIDAttempts {
		var hasEnded bool
		if order.ID, hasEnded = s.orderService.Reference(order.Product, token, attempt); hasEnded {
			return orders.Answer{Outcome: orders.IDInUse}, nil
		}
		answer, err = s.orderService.PlaceOrder(ctx, *order)
		if err != nil || answer.Outcome != orders.IDInUse {
			return answer, err
		}
	}
	return answer, nil
}

// inAdditionAnswer returns whether the form confirms an order in addition to an earlier one.
func (f *form) inAdditionAnswer() inAdditionAnswer {
	if f.get("more") == "" {
		return inAdditionNotOffered
	}
	return inAdditionConfirmed
}

// rejectCrossSite answers 403 to a form that another site's page sent, without the typed
// values.
func (s *Shop) rejectCrossSite(w http.ResponseWriter, r *http.Request) bool {
	if s.crossOrigin.Check(r) == nil {
		return false
	}
	s.sendErrorPage(w, r, http.StatusForbidden, errorMessage{
		Title:        "This form came from another site",
		Text:         "Nothing was submitted. This shop only accepts forms from its own pages: please use one of these.",
		ListProducts: true,
	})
	return true
}

// rejectFormType answers 415 to a form in a type that no page of this shop sends.
func (s *Shop) rejectFormType(w http.ResponseWriter, r *http.Request, back string) {
	w.Header().Set("Accept-Post", "application/x-www-form-urlencoded")
	s.sendErrorPage(w, r, http.StatusUnsupportedMediaType, errorMessage{
		Title:    "This form cannot be read",
		Text:     "Nothing was submitted. This page accepts what its own form sends: application/x-www-form-urlencoded, in UTF-8. Your browser's Back button still has what you typed.",
		LinkPath: back,
	})
}

// formPageRefusal is the title of the reply to a method that a page with a form does not have.
const formPageRefusal = "This page does not accept that request"

// rejectMethod answers 405 to a method that a page does not have.
func (s *Shop) rejectMethod(w http.ResponseWriter, r *http.Request, allow, title string) {
	w.Header().Set("Allow", allow)
	s.sendErrorPage(w, r, http.StatusMethodNotAllowed, errorMessage{
		Title: title,
		Text:  "Your program sent a request that this page does not accept. Nothing was changed and nothing was ordered.",
	})
}
