package shop

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// OrderService is where the shop submits orders: the rack's order book, behind its ledger.
// The shop calls it for each page, so everything but PlaceOrder, CancelOrder and Order must
// answer from this board's memory, without waiting. It is safe for concurrent use.
type OrderService interface {
	// Sale returns a product's sale as this board knows it; false if the book does not have
	// it (yet). The shop shows the sale's StateAt(Now()) and no other state.
	Sale(product string) (orders.Sale, bool)
	// IsRefused reports whether the order book refuses a product that Sale does not have, so that
	// it will not appear by itself.
	IsRefused(product string) bool
	// Pause returns why this board accepts no orders now; orders.NotPaused if it does.
	// Meanwhile PlaceOrder and CancelOrder fail at once.
	Pause() orders.Pause
	// News returns the announcements, newest first. One with an empty text withdraws all
	// older ones.
	News() []orders.News
	// Now returns the time of the ledger's clock, the same on every board.
	Now() time.Time
	// PlaceOrder submits a form. A nil error comes with the order book's answer. Errors match
	// orders.ErrNotCommitted, ErrPaused, ErrUncertain or ErrUnavailable; any other error is treated as
	// ErrUncertain, which is always safe. It returns when ctx ends at the latest.
	PlaceOrder(ctx context.Context, order orders.PlaceOrder) (orders.Answer, error)
	// CancelOrder cancels an order for its buyer. Errors: those of PlaceOrder,
	// orders.ErrTooLate and orders.ErrNoOrder.
	CancelOrder(ctx context.Context, id orders.ID) error
	// ConfirmOrder confirms an unconfirmed order. Errors: those of PlaceOrder.
	ConfirmOrder(ctx context.Context, id orders.ID) (orders.Outcome, error)
	// OrdersOfMailbox returns the newest orders of the mailbox and the sale of an order: those that count, and those that
	// wait for confirmation, equal ones once. Errors: orders.ErrNoOrder, orders.ErrBoardUnfit.
	OrdersOfMailbox(id orders.ID) (live, unconfirmed []orders.Order, err error)
	// SignConfirmation returns the secret half of the address on which an order is confirmed, and
	// VerifyConfirmation verifies it, as with a receipt. Only the order's mail may have it.
	SignConfirmation(id orders.ID) string
	VerifyConfirmation(id orders.ID, sig string) bool
	// Order waits, for a limited time, until this board has everything that any board has
	// acknowledged, and returns the order with its position in the queue, from 1; 0 if it is
	// in none. Errors: those of PlaceOrder, orders.ErrNoOrder, and orders.ErrStale, which
	// comes with an order.
	Order(ctx context.Context, id orders.ID) (orders.Order, int, error)
	// Draw returns the published file of a ballot's draw, as far as it is public; false if there is none yet.
	Draw(product string) (draw.File, bool)
	// Reference returns the reference of the order that a product's form with a token makes: the same
	// on every board, and nobody who sends a form can choose or compute it. The next
	// attempt is for a reference that is in use. hasEnded: its order's links have ended, and the form must not lead to it.
	Reference(product, token string, attempt int) (id orders.ID, hasEnded bool)
	// Sign returns the secret half of a receipt's URL, letters and digits: the same on every
	// board, and impossible to guess. That of a confirmed order is another than the form's that made it.
	Sign(id orders.ID, isConfirmed bool) string
	// Verify reports whether sig is what Sign returns, in constant time, and IsOfMailbox whether it is that of a confirmed order.
	Verify(id orders.ID, sig string) bool
	IsOfMailbox(sig string) bool
	// HasEnded reports whether sig was what Sign or SignConfirmation returned until an operator ended all links.
	HasEnded(id orders.ID, sig string) bool
}

// How long a page waits. A failed leader is replaced within three seconds, and people press
// the button again after about ten.
const (
	placeTimeout = 10 * time.Second // for PlaceOrder or CancelOrder
	readTimeout  = 5 * time.Second  // for Order
)

// BypassesCache reports whether only this board's shop answers a request: forms, receipts and their
// subpages. No cache may answer or store these, and they need no owner on the ring, because
// each board has the order book.
func (s *Shop) BypassesCache(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead || strings.HasPrefix(r.URL.Path, "/r/")
}

// SharesPage reports whether this board's page at a URL may be shown to the clients of other boards,
// and theirs to its own. That are the list of products, their pages and the pictures alone: a board
// in strange hands can change what it makes for the others, and the draw, its verifier, the forms
// and the status are what a buyer trusts. Any other URL, also another spelling of these, is the
// board's own. While orders are paused each board shows its own view of all pages: another board
// may still accept orders, or again.
func (s *Shop) SharesPage(u *url.URL) bool {
	return u.RawQuery == "" && !u.ForceQuery && s.sharedPaths[u.EscapedPath()] &&
		(s.orderService == nil || s.orderService.Pause() == orders.NotPaused)
}

// sharedPaths returns the paths of the pages that boards may share.
func (c *Catalogue) sharedPaths() map[string]bool {
	paths := map[string]bool{pageAddress{page: "home"}.path(): true}
	for i := range c.Products {
		paths[pageAddress{page: "product", product: &c.Products[i]}.path()] = true
	}
	for _, p := range c.pictures {
		paths[p.path] = true
	}
	return paths
}
