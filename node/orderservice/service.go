package orderservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orders/draw"
)

const (
	// retryInterval is between two tries while there is no leader.
	retryInterval = 100 * time.Millisecond
	// catchUpTimeout is how long a receipt waits for this board to have its paper.
	catchUpTimeout = 3 * time.Second
	// freshTimeout is how long a receipt that is here already waits for what may
	// have become of it elsewhere. A leader on the same network says so within
	// some tens of milliseconds; more than a second would be felt while there is none.
	freshTimeout = time.Second
)

// OrderLedger is the rack's ledger, as the desk needs it; *ledger.Ledger is one.
type OrderLedger interface {
	Submit(ctx context.Context, command []byte) (reply []byte, index uint64, err error)
	Wait(ctx context.Context, index uint64) error
	Barrier(ctx context.Context) error
	Now() (t time.Time, known bool)
	Status() ledger.Status
	Compact(ctx context.Context) error
}

// Config is what a desk is made of.
type Config struct {
	Ledger OrderLedger
	Book   *orders.Book
	Offers []orders.Offer // what the catalogue has; given to the ledger by the leader's board
	// Keys sign the addresses of receipts; the first signs, all are accepted.
	Keys   [][]byte
	Logger *slog.Logger
	// Clock is this board's own, for as long as the ledger's is not known.
	Clock func() time.Time
}

// Service is one board's desk. It is safe for concurrent use.
type Service struct {
	cfg     Config
	sign    []signer
	leading atomic.Bool   // this board leads, and has carried out all from before
	barrier sharedBarrier // of the ledger
}

// New makes a desk. It does nothing by itself before Run.
func New(cfg Config) *Service {
	d := &Service{cfg: cfg, barrier: sharedBarrier{barrier: cfg.Ledger.Barrier, timeout: catchUpTimeout}}
	for _, key := range cfg.Keys {
		d.sign = append(d.sign, newSigner(key))
	}
	return d
}

// Leading reports whether this board does what one board does for all.
func (d *Service) Leading() bool { return d.leading.Load() }

// Sale is a product's sale at this moment, as this board knows it.
func (d *Service) Sale(product string) (orders.Sale, bool) {
	s, ok := d.cfg.Book.Sale(product)
	if ok {
		s.State = s.StateAt(d.Now())
	}
	return s, ok
}

// Sales are all sales at this moment, as this board knows them.
func (d *Service) Sales() []orders.Sale {
	sales := d.cfg.Book.Sales()
	now := d.Now()
	for i := range sales {
		sales[i].State = sales[i].StateAt(now)
	}
	return sales
}

// Offered reports whether this board's order book has all that the catalogue
// offers.
func (d *Service) Offered() bool {
	for _, o := range d.cfg.Offers {
		if _, known := d.cfg.Book.Sale(o.Product); !known {
			return false
		}
	}
	return true
}

// News is what was announced, newest first.
func (d *Service) News() []orders.News { return d.cfg.Book.News() }

// Now is the ledger's clock, the same on every board; until it is known, this
// board's own.
func (d *Service) Now() time.Time {
	if now, known := d.cfg.Ledger.Now(); known {
		return now
	}
	return d.cfg.Clock()
}

// Draw is a ballot's published file, if it has been drawn.
func (d *Service) Draw(product string) (draw.File, bool) {
	f, err := d.cfg.Book.Draw(product)
	return f, err == nil
}

// PlaceOrder gives a filled-in form to the ledger and returns when it is committed
// and carried out, or when ctx ends. Its errors match orders.ErrUnavailable,
// orders.ErrNotCommitted or orders.ErrUncertain.
func (d *Service) PlaceOrder(ctx context.Context, a orders.PlaceOrder) (orders.Answer, error) {
	return d.submitUntilDecided(ctx, a)
}

// CancelOrder takes a paper back on the buyer's behalf. Its errors are Place's,
// shop.ErrTooLate and orders.ErrNoPaper.
func (d *Service) CancelOrder(ctx context.Context, id orders.ID) error {
	answer, err := d.submitUntilDecided(ctx, orders.Cancel{ID: id})
	switch {
	case err != nil:
		return err
	case answer.Outcome == orders.TooLate:
		return orders.ErrTooLate
	case answer.Outcome == orders.NoOrder:
		return orders.ErrNoOrder
	}
	return nil
}

// submitUntilDecided submits a command until it is known how it ended or ctx is over. All
// commands of the order book may be given twice: the second is answered as the
// first, so one whose fate is not known is simply given again.
func (d *Service) submitUntilDecided(ctx context.Context, c orders.Command) (orders.Answer, error) {
	bytes := c.Encode()
	perhaps := false // an earlier try may have been taken
	for {
		reply, index, err := d.cfg.Ledger.Submit(ctx, bytes)
		switch {
		case err == nil:
			answer, err := orders.DecodeAnswer(reply)
			if err != nil {
				return answer, fmt.Errorf("%w: %w", orders.ErrUncertain, err)
			}
			// The page that follows should show it; a board that lags shows it later.
			d.awaitApplied(ctx, index)
			return answer, nil
		case errors.Is(err, ledger.ErrUncertain): // whatever else it is
			perhaps = true
		case errors.Is(err, ledger.ErrNotFounded), errors.Is(err, ledger.ErrTwoLedgers),
			errors.Is(err, ledger.ErrHalted), errors.Is(err, ledger.ErrTooLarge), errors.Is(err, ledger.ErrStopped):
			return orders.Answer{}, undecidedError(perhaps, fmt.Errorf("%w: %w", orders.ErrUnavailable, err), err)
		case !errors.Is(err, ledger.ErrNoMajority) && !errors.Is(err, ledger.ErrBusy):
			perhaps = true // an error of no known kind tells nothing
		}
		select {
		case <-ctx.Done():
			return orders.Answer{}, undecidedError(perhaps, fmt.Errorf("%w: %w", orders.ErrNotCommitted, err), err)
		case <-time.After(retryInterval):
		}
	}
}

// undecidedError is sure that nothing was taken unless an earlier try may have been.
func undecidedError(perhaps bool, sure, cause error) error {
	if perhaps {
		return fmt.Errorf("%w: %w", orders.ErrUncertain, cause)
	}
	return sure
}

// awaitApplied waits, for a moment, until this board has carried out what was
// committed. Who cannot wait longer reads a little of the past.
func (d *Service) awaitApplied(ctx context.Context, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	if err := d.cfg.Ledger.Wait(ctx, index); err != nil {
		d.cfg.Logger.Debug("this board is behind the ledger", "index", index, "error", err)
	}
}

// Order finds a paper as it stands, and its place if it waits in a queue: this
// board first catches up with all that was acknowledged anywhere, so that who
// cancels on one board reads so on another. It waits at most catchUpWait for a
// paper that it does not have, and freshWait for news of one that it has; after
// that it gives what it has, with orders.ErrStale. The error matches orders.ErrNoPaper
// if there is none.
func (d *Service) Order(ctx context.Context, id orders.ID) (p orders.Order, place int, err error) {
	wait := catchUpTimeout
	if _, err := d.cfg.Book.Order(id); err == nil {
		wait = freshTimeout
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	behind := d.barrier.wait(waiting)
	p, err = d.cfg.Book.Order(id)
	switch {
	case errors.Is(err, orders.ErrNoOrder) && behind != nil:
		return p, 0, fmt.Errorf("%w: %w", orders.ErrUncertain, behind)
	case err != nil:
		return p, 0, err
	case behind != nil:
		err = fmt.Errorf("%w: %w", orders.ErrStale, behind)
	}
	place, _, nowhere := d.cfg.Book.Position(id)
	if nowhere != nil { // it waits in no queue
		return p, 0, err
	}
	return p, place, err
}
