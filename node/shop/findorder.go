package shop

import (
	"context"
	"errors"
	"net/http"

	"bramble/node/orders"
)

// foundOrder is an order as this board knows it.
type foundOrder struct {
	orders.Order
	position int  // in the queue, from 1; 0 = in none
	stale    bool // see orders.ErrStale
}

// findOrder finds the order of a receipt's URL, or sends a reply with the reason why not. A wrong
// reference and a wrong token get the same reply, from this board's memory.
func (s *Shop) findOrder(w http.ResponseWriter, r *http.Request, token string) (foundOrder, bool) {
	order, ok := s.findSigned(w, r, token, OrderService.Verify)
	if ok && order.Confirmed && !s.orderService.IsOfMailbox(token) { // anybody could have sent the form
		s.sendErrorPage(w, r, http.StatusGone, errorMessage{
			Title: "This was confirmed by mail",
			Text:  "Its receipt is behind the link in the mail, and nowhere else: anybody can send a form with your address, but only you have your mailbox.",
		})
		ok = false
	}
	return order, ok
}

// findSigned is findOrder for a token that verify accepts.
func (s *Shop) findSigned(w http.ResponseWriter, r *http.Request, token string, verify func(OrderService, orders.ID, string) bool) (foundOrder, bool) {
	id, err := orders.ParseID(r.PathValue("id"))
	if s.orderService == nil || err != nil {
		s.replyNoReceipt(w, r)
		return foundOrder{}, false
	}
	if s.orderService.HasEnded(id, token) {
		s.sendErrorPage(w, r, http.StatusGone, errorMessage{
			Title: "This link has ended",
			Text: "The shop has replaced all links, to keep them safe. Your order is not changed by that. " +
				"If the shop sends mail, the newest one about your order has its new link; if you had not confirmed yet, send the form again, and a new link comes. Otherwise please ask the seller.",
		})
		return foundOrder{}, false
	}
	order, position, err := s.readOrder(r.Context(), id, verify(s.orderService, id, token))
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

// readOrder returns an order and its position in the queue, if the token of its URL is verified. A board that lacks part
// of the ledger may also lack the token's key, so it cannot say that there is no such receipt. Errors: those of
// OrderService.Order.
func (s *Shop) readOrder(ctx context.Context, id orders.ID, isVerified bool) (orders.Order, int, error) {
	if isVerified {
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
