package shop

import (
	"context"
	"net/http"

	"bramble/node/orders"
)

// ConfirmPath returns the path of the page on which the person of an unconfirmed order confirms it. Only the mail
// has it: see OrderService.SignConfirmation.
func ConfirmPath(id orders.ID, token string) string { return ReceiptPath(id, token) + "/confirm" }

// serveConfirm shows an unconfirmed order with a button that makes it count. Mail scanners open links and press
// nothing.
func (s *Shop) serveConfirm(w http.ResponseWriter, r *http.Request) {
	f, ok := s.readReceiptForm(w, r, "sure")
	if !ok {
		return
	}
	token := r.PathValue("token")
	order, ok := s.findSigned(w, r, token, OrderService.VerifyConfirmation)
	if !ok {
		return
	}
	state := s.readPageState(s.now())
	data := s.newReceiptData(state, order.Order, order.position)
	if order.State != orders.StateUnconfirmed { // from now on the mailed link leads to the receipt
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, data.Path, http.StatusSeeOther)
		return
	}
	code := http.StatusOK
	if f != nil && f.statusCode() == 0 && f.get("sure") == "yes" {
		ctx, cancel := context.WithTimeout(r.Context(), placeTimeout)
		defer cancel()
		outcome, err := s.orderService.ConfirmOrder(ctx, order.ID)
		switch {
		case err == nil && outcome != orders.OverLimit && outcome != orders.TooLate:
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, data.Path, http.StatusSeeOther)
			return
		case err != nil:
			code, data.Alert = describeReceiptFailure(err)
		default:
			code = http.StatusConflict
			data.Alert = &formAlert{Title: "This one cannot be confirmed", Lines: []string{"You have confirmed another one since it was sent, the limit is reached, or its time is over. Nothing was changed; it ends by itself."}}
		}
	}
	data.Heading, data.Stale, data.CancelLabel = "Is this from you?", order.stale, ""
	data.Lines = []string{"Somebody sent this with your mail address. It does not count yet, and it ends at " + formatTime(order.Until) + " unless you confirm it."}
	data.ConfirmPath = ConfirmPath(order.ID, token)
	s.showReceipt(w, r, code, state, data)
}
