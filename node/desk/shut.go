package desk

import (
	"context"
	"fmt"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// Shut is the desk of a board that has no order book, because its card fails:
// its pages say that they cannot take anything, and a form is answered with the
// reason. Other boards of the rack take orders all the same.
type Shut struct {
	Reason string // for the person at the page
}

// Sale knows none.
func (Shut) Sale(string) (orders.Sale, bool) { return orders.Sale{}, false }

// News is none.
func (Shut) News() []orders.News { return nil }

// Now is this board's own clock.
func (Shut) Now() time.Time { return time.Now() }

// Place takes nothing.
func (s Shut) Place(context.Context, orders.Ask) (orders.Answer, error) {
	return orders.Answer{}, s.refusal()
}

// Cancel takes nothing.
func (s Shut) Cancel(context.Context, orders.ID) error { return s.refusal() }

// Paper has none.
func (s Shut) Paper(context.Context, orders.ID) (orders.Paper, int, error) {
	return orders.Paper{}, 0, s.refusal()
}

// Draw knows none.
func (Shut) Draw(string) (draw.File, bool) { return draw.File{}, false }

// Sign signs nothing: there is no paper to be signed.
func (Shut) Sign(orders.ID) string { return "" }

// Signed knows no token.
func (Shut) Signed(orders.ID, string) bool { return false }

func (s Shut) refusal() error { return fmt.Errorf("%w: %s", orders.ErrUnavailable, s.Reason) }
