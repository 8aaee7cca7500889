package orderservice

import (
	"context"
	"fmt"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// Unavailable is the order service of a board that has no order book because its card
// fails: it rejects every form, and the other boards of the rack accept orders.
type Unavailable struct {
	Reason       string      // for the operator
	OthersAccept func() bool // see Config
}

// Sale returns no sale.
func (Unavailable) Sale(string) (orders.Sale, bool) { return orders.Sale{}, false }

// IsRefused returns false.
func (Unavailable) IsRefused(string) bool { return false }

// Pause returns orders.PausedBoard while other boards accept orders, otherwise orders.PausedRack.
func (u Unavailable) Pause() orders.Pause { return pauseOfBoard(u.OthersAccept, orders.PausedRack) }

// News returns none.
func (Unavailable) News() []orders.News { return nil }

// Now returns this board's own clock.
func (Unavailable) Now() time.Time { return time.Now() }

// PlaceOrder fails with orders.ErrBoardUnfit.
func (u Unavailable) PlaceOrder(context.Context, orders.PlaceOrder) (orders.Answer, error) {
	return orders.Answer{}, u.unavailableError()
}

// CancelOrder fails with orders.ErrBoardUnfit.
func (u Unavailable) CancelOrder(context.Context, orders.ID) error { return u.unavailableError() }

// Order fails with orders.ErrBoardUnfit.
func (u Unavailable) Order(context.Context, orders.ID) (orders.Order, int, error) {
	return orders.Order{}, 0, u.unavailableError()
}

// Draw returns no file.
func (Unavailable) Draw(string) (draw.File, bool) { return draw.File{}, false }

// ConfirmOrder fails with orders.ErrBoardUnfit.
func (u Unavailable) ConfirmOrder(context.Context, orders.ID) (orders.Outcome, error) {
	return 0, u.unavailableError()
}

// OrdersOfMailbox returns none.
func (u Unavailable) OrdersOfMailbox(orders.ID) (live, unconfirmed []orders.Order, err error) {
	return nil, nil, u.unavailableError()
}

// SignConfirmation returns no token.
func (Unavailable) SignConfirmation(orders.ID) string { return "" }

// VerifyConfirmation accepts every token, as Verify does.
func (Unavailable) VerifyConfirmation(orders.ID, string) bool { return true }

// Reference returns none: PlaceOrder fails.
func (Unavailable) Reference(string, string, int) (orders.ID, bool) { return 0, false }

// Sign returns no token: there is no order to sign.
func (Unavailable) Sign(orders.ID, bool) string { return "" }

// IsOfMailbox reports nothing: see Verify.
func (Unavailable) IsOfMailbox(string) bool { return false }

// Verify accepts every token, because Order then reports that other boards have the order,
// whereas a wrong token means that there is no such receipt.
func (Unavailable) Verify(orders.ID, string) bool { return true }

// HasEnded reports nothing: see Verify.
func (Unavailable) HasEnded(orders.ID, string) bool { return false }

func (u Unavailable) unavailableError() error {
	return fmt.Errorf("%w: %s", orders.ErrBoardUnfit, u.Reason)
}
