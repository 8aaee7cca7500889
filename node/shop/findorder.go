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
	var order orders.Order
	var position int
	if verify(s.orderService, id, token) {
		ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
		defer cancel()
		order, position, err = s.orderService.Order(ctx, id)
	} else {
		err = judgeUnverified(s.orderService.Pause())
	}
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

// judgeUnverified returns the error for a URL whose token a board does not know: a board that lacks a part of the ledger
// may lack the key of the token, so it cannot say that there is no such receipt.
func judgeUnverified(pause orders.Pause) error {
	switch pause {
	case orders.NotPaused:
		return orders.ErrNoOrder
	case orders.PausedBoard:
		return orders.ErrBoardUnfit
	}
	return orders.ErrUncertain
}

// replyNoReceipt answers 404 to a receipt's URL that is not one.
func (s *Shop) replyNoReceipt(w http.ResponseWriter, r *http.Request) {
	s.sendErrorPage(w, r, http.StatusNotFound, errorMessage{
		Title:        "There is no receipt at this address",
		Text:         "The address of a receipt is long, and every letter counts: please open it exactly as you were given it. These are the products of this shop:",
		ListProducts: true,
	})
}
