package orderservice

import (
	"context"
	"fmt"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// Unavailable is the desk of a board that has no order book, because its card fails:
// its pages say that they cannot take anything, and a form is answered with the
// reason. Other boards of the rack take orders all the same.
type Unavailable struct {
	Reason string // for the person at the page
}

// Sale knows none.
func (Unavailable) Sale(string) (orders.Sale, bool) { return orders.Sale{}, false }

// News is none.
func (Unavailable) News() []orders.News { return nil }

// Now is this board's own clock.
func (Unavailable) Now() time.Time { return time.Now() }

// PlaceOrder takes nothing.
func (s Unavailable) PlaceOrder(context.Context, orders.PlaceOrder) (orders.Answer, error) {
	return orders.Answer{}, s.unavailableError()
}

// CancelOrder takes nothing.
func (s Unavailable) CancelOrder(context.Context, orders.ID) error { return s.unavailableError() }

// Order has none.
func (s Unavailable) Order(context.Context, orders.ID) (orders.Order, int, error) {
	return orders.Order{}, 0, s.unavailableError()
}

// Draw knows none.
func (Unavailable) Draw(string) (draw.File, bool) { return draw.File{}, false }

// Sign signs nothing: there is no paper to be signed.
func (Unavailable) Sign(orders.ID) string { return "" }

// Verify knows no token.
func (Unavailable) Verify(orders.ID, string) bool { return false }

func (s Unavailable) unavailableError() error {
	return fmt.Errorf("%w: %s", orders.ErrUnavailable, s.Reason)
}
