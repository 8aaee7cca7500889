package shop

import (
	"context"
	"net/http"

	"bramble/node/orders"
)

// serveAcceptance turns an invitation into an order, for the person who has the receipt's address: to know
// name, e-mail and postal address is not enough.
func (s *Shop) serveAcceptance(w http.ResponseWriter, r *http.Request) {
	f, ok := s.readReceiptForm(w, r, "agreed")
	if !ok {
		return
	}
	order, ok := s.findOrder(w, r, r.PathValue("token"))
	if !ok {
		return
	}
	state := s.readPageState(s.now())
	data := s.newReceiptData(state, order.Order, order.position)
	total, code := data.InvitationTotal, http.StatusConflict
	switch {
	case f == nil || order.State != orders.StateInvited:
		redirectUncached(w, r, data.Path, http.StatusSeeOther)
		return
	case total == nil:
		data.Alert = &formAlert{Title: "It cannot be ordered now", Lines: []string{"Nothing was changed."}}
	case f.get("agreed") != total.formText():
		data.Alert = &formAlert{Title: "Not sent yet: please check the total", Lines: []string{"The total is " + total.Total.String() + ". If that is right, press the button again."}}
	default:
		ctx, cancel := context.WithTimeout(r.Context(), placeTimeout)
		defer cancel()
		answer, err := s.acceptInvitation(ctx, order.Order, total)
		switch {
		case err == nil && (answer.Outcome == orders.Placed || answer.Outcome == orders.AlreadyDone):
			redirectUncached(w, r, data.Path, http.StatusSeeOther)
			return
		case err != nil:
			code, data.Alert = describeReceiptFailure(err)
		default:
			data.Alert = &formAlert{Title: "It cannot be ordered any more", Lines: []string{"Nothing was changed. Load this page again to see where things stand."}}
		}
	}
	s.showReceipt(w, r, code, state, data)
}

// acceptInvitation orders what is held for an invited person. Its order has the invitation's reference; while the
// rack runs under rules 2, which find the invitation by the person, it needs another one.
func (s *Shop) acceptInvitation(ctx context.Context, held orders.Order, total *orderTotal) (orders.Answer, error) {
	order := orders.PlaceOrder{ID: held.ID, Product: held.Product, Kind: orders.KindOrder, Quantity: held.Quantity,
		Total: total.Total.Minor, Currency: total.Total.Currency, Person: held.Person, FromReceipt: held.Confirmed}
	answer, err := s.orderService.PlaceOrder(ctx, order)
	if err == nil && answer.Outcome == orders.IDInUse {
		order.ID, _ = s.orderService.Reference(order.Product, newToken(), 0)
		answer, err = s.orderService.PlaceOrder(ctx, order)
	}
	return answer, err
}
