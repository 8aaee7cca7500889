package shop

import (
	"context"
	"net/http"
	"strings"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// Desk is where the shop takes papers to: the order book of the rack, by way of its
// ledger. The shop asks it for each page, so all but Place, Cancel and Paper must answer
// from this board's memory, without waiting. It is safe for concurrent use.
type OrderService interface {
	// Sale is a product's sale as this board knows it; false if the book does not have it
	// (yet). The shop asks it for its StateAt(Now()), and shows no other state.
	Sale(product string) (orders.Sale, bool)
	// News is the announcements, newest first. One with an empty text takes all older
	// ones off.
	News() []orders.News
	// Now is the ledger's clock, the same on every board.
	Now() time.Time
	// Place has a form taken. A nil error goes with an answer of the order book; the
	// errors match orders.ErrNotCommitted, ErrUncertain or ErrUnavailable; any other error is
	// treated as ErrUncertain, which is always true. It returns by the end of ctx.
	PlaceOrder(ctx context.Context, a orders.PlaceOrder) (orders.Answer, error)
	// Cancel takes a paper back for its buyer. Errors: those of Place, orders.ErrTooLate and
	// orders.ErrNoOrder.
	CancelOrder(ctx context.Context, id orders.ID) error
	// Paper waits, bounded, until this board knows all that was acknowledged anywhere, and
	// gives the paper with its place in the queue, from 1; 0 if it is in none. Errors:
	// those of Place, orders.ErrNoOrder, and orders.ErrStale, which comes with a paper.
	Order(ctx context.Context, id orders.ID) (orders.Order, int, error)
	// Draw is what is published about a ballot that is drawn; false before.
	Draw(product string) (draw.File, bool)
	// Sign makes the secret half of a receipt's URL, letters and digits: the same on
	// every board, and not to be guessed.
	Sign(id orders.ID) string
	// Signed reports whether sig is what Sign makes, in constant time.
	Verify(id orders.ID, sig string) bool
}

// Bounds on what a page waits for. A leader that dies is replaced within three seconds,
// and people press again after about ten.
const (
	placeWait = 10 * time.Second // for a Place or a Cancel
	paperWait = 5 * time.Second  // for a Paper
)

// Direct reports whether a request is between the client and this board's shop alone: no
// cache may answer or keep it, and it need not go over the ring, because each board has
// the order book. Those are forms, and receipts with what belongs to them.
func (s *Shop) Direct(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead || strings.HasPrefix(r.URL.Path, "/r/")
}

// Offers are the catalogue's products as the order book takes them. What only the node
// knows it fills in: the Operation, Webhook, Mail, Retain, and a ballot's Secret. What the
// catalogue says by hand is part of the offer, because the order book alone says how a sale
// stands: a product said to be sold out has no stock, and a closed one closed long ago, so
// that the operator can still add stock and open it.
func (c *Catalogue) Offers() []orders.Offer {
	list := make([]orders.Offer, 0, len(c.Products))
	for i := range c.Products {
		p := &c.Products[i]
		o := orders.Offer{
			Product:         p.Slug,
			Mode:            p.Mode,
			Stock:           int64(p.Stock),
			Limit:           p.PerPerson,
			LimitByAddress:  p.LimitByAddress,
			Opens:           p.Opens,
			Closes:          p.Closes,
			WaitingList:     p.WaitingList,
			Price:           p.Price.Minor,
			Currency:        p.Price.Currency,
			Countries:       c.countries(),
			FulfilmentDelay: p.FulfilmentDelay,
			PublicKind:      wanted(p.Draw),
		}
		switch p.Override {
		case orders.SaleSoldOut:
			o.Stock = 0
		case orders.SaleClosed:
			o.Opens, o.Closes = time.Time{}, time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		list = append(list, o)
	}
	return list
}

// countries is the shipping table as the order book has it.
func (c *Catalogue) countries() []orders.Country {
	list := make([]orders.Country, 0, len(c.Shipping))
	for _, s := range c.Shipping {
		list = append(list, orders.Country{Code: s.Country, Shipping: s.Price.Minor, Tax: s.Tax})
	}
	return list
}

func wanted(d DrawMethod) draw.Kind {
	switch d {
	case DrawDice:
		return draw.Dice
	case DrawDrand:
		return draw.Drand
	}
	return draw.None
}
