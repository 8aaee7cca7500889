package shop

import (
	"context"
	"net/http"

	"bramble/node/orders"
)

// ConfirmPath returns the path of the page on which a person confirms what was sent with an e-mail address. Only a mail
// to it has the path: see OrderService.SignConfirmation. It names the order that caused the mail, and is for all of
// that person's in the sale.
func ConfirmPath(id orders.ID, token string) string { return ReceiptPath(id, token) + "/confirm" }

// mailedLink is what the page behind a mailed link shows of the person: who has the link has the mailbox.
type mailedLink struct {
	Path          string
	Waiting, Live []*receiptData // newest first
	order         orders.Order   // that the link names
}

// serveConfirm shows what waits for a person's confirmation, each with a button that makes it count, and a form that
// counts at once. Mail scanners open links and press nothing.
func (s *Shop) serveConfirm(w http.ResponseWriter, r *http.Request) {
	order, ok := s.findSigned(w, r, r.PathValue("token"), OrderService.VerifyConfirmation)
	if !ok {
		return
	}
	p := s.cat.findProduct(order.Product)
	link, err := s.readMailedLink(order.Order, r.PathValue("token"))
	switch {
	case p == nil || err != nil: // it is sold no more, or the person is erased
		s.replyNoReceipt(w, r)
	case r.Method == http.MethodPost:
		s.placeOrder(w, r, p, link)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		s.rejectMethod(w, r, "GET, HEAD, POST", formPageRefusal)
	case len(link.Waiting) == 0 && len(link.Live) == 1: // the only thing to see
		redirectUncached(w, r, link.Live[0].Path, http.StatusSeeOther)
	default:
		s.replyWithLink(w, r, http.StatusOK, p, link, nil)
	}
}

func (s *Shop) readMailedLink(order orders.Order, token string) (*mailedLink, error) {
	live, waiting, err := s.orderService.OrdersOfMailbox(order.ID)
	if err != nil {
		return nil, err
	}
	link := &mailedLink{Path: ConfirmPath(order.ID, token), order: order}
	state := s.readPageState(s.now())
	for _, o := range live {
		link.Live = append(link.Live, s.newReceiptData(state, o, 0))
	}
	for _, o := range waiting {
		data := s.newReceiptData(state, o, 0)
		data.ConfirmPath = ConfirmPath(o.ID, s.orderService.SignConfirmation(o.ID))
		link.Waiting = append(link.Waiting, data)
	}
	return link, nil
}

// replyWithLink sends the page behind a mailed link, with an empty form.
func (s *Shop) replyWithLink(w http.ResponseWriter, r *http.Request, code int, p *Product, link *mailedLink, alert *formAlert) {
	state := s.readPageState(s.now())
	sale := state.saleOf(p)
	f := &form{values: map[string]string{"email": link.order.Person.Email, "token": newToken()}}
	hideFromSearch(w.Header())
	s.replyWithForm(w, r, code, state, sale, &formContent{form: f, kind: sale.FormKind, alert: alert, link: link})
}

// confirmOrder makes an unconfirmed order count, for who has its link.
func (s *Shop) confirmOrder(w http.ResponseWriter, r *http.Request, p *Product, link *mailedLink, id orders.ID) {
	ctx, cancel := context.WithTimeout(r.Context(), placeTimeout)
	defer cancel()
	outcome, err := s.orderService.ConfirmOrder(ctx, id)
	if err == nil && (outcome == orders.Done || outcome == orders.AlreadyDone) {
		redirectUncached(w, r, s.receiptPath(orders.Order{ID: id, Confirmed: true}), http.StatusSeeOther)
		return
	}
	code, alert := http.StatusConflict, &formAlert{Title: "This one cannot be confirmed: its time is over", Lines: []string{"Nothing was taken. The form below counts at once, if there is one."}}
	switch {
	case err != nil:
		code, alert = describeReceiptFailure(err)
	case outcome == orders.OverLimit:
		alert = &formAlert{Title: "You have all that one person can have", Lines: []string{"Nothing new was taken. To change what you have, cancel it on its receipt first."}}
	case outcome == orders.SoldOut:
		alert = &formAlert{Title: "Nothing is left at this moment", Lines: []string{"Nothing was held for this one. It stays here until its time is over: press the button again if something comes back."}}
	}
	s.replyWithLink(w, r, code, p, link, alert)
}
