package orderservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/backup"
	"bramble/node/orders"
	"bramble/node/orders/draw"
)

const (
	// retryInterval is the pause between two attempts to submit while there is no leader.
	retryInterval = 100 * time.Millisecond
	// catchUpTimeout bounds the wait of a receipt for an order that this board does not have.
	catchUpTimeout = 3 * time.Second
	// freshTimeout bounds the wait of a receipt for changes to an order that this board
	// has. A leader on the same network answers within some tens of milliseconds; more
	// than a second would be noticed while there is no leader.
	freshTimeout = time.Second
)

// OrderLedger is the rack's ledger as this package uses it; *ledger.Ledger is one.
type OrderLedger interface {
	Submit(ctx context.Context, command []byte) (reply []byte, index uint64, err error)
	Wait(ctx context.Context, index uint64) error
	Barrier(ctx context.Context) error
	Now() (t time.Time, known bool)
	Status() ledger.Status
	CompactThrough(ctx context.Context, index uint64) error
	LogSince() time.Time
	ReadLog(into ledger.StateMachine) (ledger.Recovery, error)
	Clock(ctx context.Context) (ledger.ClockReport, error)
	SetClock(ctx context.Context, to time.Time, command []byte) (reply []byte, index uint64, err error)
}

// Config configures a Service.
type Config struct {
	Ledger OrderLedger
	Book   *orders.Book
	Link   func(id orders.ID, token string) string // URL of an order's receipt, from what Sign returns; a path if the shop's URL is unknown
	Offers []orders.Offer                          // the catalogue's; the leader's board submits them
	// DefaultConfirm is the Confirm of a new sale whose offer has none; orders.ConfirmOff in an offer is for none.
	DefaultConfirm time.Duration
	// Keys are the rack's keys, at least one. They sign the addresses of receipts until the ledger has a
	// secret of its own: the first one signs, all are accepted.
	Keys   [][]byte
	Logger *slog.Logger
	// Clock is this board's own clock, used until the ledger's is known.
	Clock func() time.Time
	// Amount writes minor units of a currency for operators; nil = as a number.
	Amount func(minor int64, currency string) string
	// OthersAccept reports whether another live board says that it accepts orders. nil = no.
	OthersAccept func() bool
	// LogViewDir is a folder for a book that is made of the log of a board without a leader,
	// while operators look at it. "" = they see only what the board has applied.
	LogViewDir string
	// PurgeTag drops this board's stored pages with a cache tag. nil = there are none.
	PurgeTag func(tag string)
	// Board and Version name this board and its program in backups.
	Board, Version string
	// BackupStatus returns the state of this board's scheduled backups. nil = it makes none.
	BackupStatus func() []backup.TargetStatus
}

// Service is the order service of one board. It is safe for concurrent use.
type Service struct {
	cfg     Config
	derived sync.Map    // keys, by purpose and secret: see deriveKey
	leading atomic.Bool // this board leads, and has applied everything committed before
	barrier *sharedBarrier
	logView logView
	// lostReceipt is the reference of an order that was acknowledged and that the ledger does not
	// have; nil if none was asked for.
	lostReceipt atomic.Pointer[string]
	// refused has why the book refused an offer, by product, if it could not be told before.
	refused sync.Map
	// backingUp holds one element while a backup is written.
	backingUp chan struct{}
	unposted  unpostedOrders

	pause      atomic.Uint32              // orders.Pause, as of the last updatePause
	acceptance atomic.Pointer[acceptance] // nil while orders are paused
	pauseRule  pauseRule                  // used by updatePause only
}

// New returns a service. Until Run it only answers calls.
func New(cfg Config) *Service {
	s := &Service{cfg: cfg, barrier: newSharedBarrier(cfg.Ledger.Barrier, catchUpTimeout), backingUp: make(chan struct{}, 1), logView: logView{dir: cfg.LogViewDir}}
	s.updatePause(time.Now())
	return s
}

// Leading reports whether this board runs the tasks that one board performs for the rack.
func (s *Service) Leading() bool { return s.leading.Load() }

// Sale returns a product's sale at this moment, as this board knows it.
func (s *Service) Sale(product string) (orders.Sale, bool) {
	sale, ok := s.cfg.Book.Sale(product)
	if ok {
		sale.State = sale.StateAt(s.Now())
	}
	return sale, ok
}

// Sales returns all sales at this moment, as this board knows them.
func (s *Service) Sales() []orders.Sale { return s.salesOf(s.cfg.Book) }

// salesOf returns all sales of a book at this moment.
func (s *Service) salesOf(book *orders.Book) []orders.Sale {
	sales := book.Sales()
	now := s.Now()
	for i := range sales {
		sales[i].State = sales[i].StateAt(now)
	}
	return sales
}

// News returns the announcements, newest first.
func (s *Service) News() []orders.News { return s.cfg.Book.News() }

// Now returns the ledger's clock, which is the same on every board; until it is known,
// this board's own.
func (s *Service) Now() time.Time {
	if now, known := s.cfg.Ledger.Now(); known {
		return now
	}
	return s.cfg.Clock()
}

// Draw returns the published file of a ballot, as far as it is public; false if there is none.
func (s *Service) Draw(product string) (draw.File, bool) {
	f, err := s.cfg.Book.Draw(product)
	return f, err == nil
}

// PlaceOrder submits an order to the ledger and returns when it is committed and applied
// on this board, or when ctx ends. Other goroutines commit and apply it: see
// ledger.Submit. Its errors match orders.ErrUnavailable, orders.ErrNotCommitted (or, as one
// kind of it, orders.ErrPaused) or orders.ErrUncertain.
func (s *Service) PlaceOrder(ctx context.Context, o orders.PlaceOrder) (orders.Answer, error) {
	return s.submitForBuyer(ctx, o)
}

// CancelOrder cancels an order for its buyer. Its errors are those of PlaceOrder,
// orders.ErrTooLate and orders.ErrNoOrder.
func (s *Service) CancelOrder(ctx context.Context, id orders.ID) error {
	answer, err := s.submitForBuyer(ctx, orders.Cancel{ID: id})
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

// ConfirmOrder confirms an unconfirmed order, for who has the mailed link. Its errors are those of PlaceOrder.
func (s *Service) ConfirmOrder(ctx context.Context, id orders.ID) (orders.Outcome, error) {
	answer, err := s.submitForBuyer(ctx, orders.Confirm{ID: id})
	return answer.Outcome, err
}

// OrdersOfMailbox returns the orders of the person to whom a link was mailed: see orders.Book. It reads what this board has.
func (s *Service) OrdersOfMailbox(id orders.ID) (live, unconfirmed []orders.Order, err error) {
	return s.cfg.Book.OrdersOfMailbox(id)
}

// submitUntilDecided submits a command until its outcome is known or ctx ends. Every
// command of the order book is idempotent, so one whose outcome is not known is submitted
// again.
func (s *Service) submitUntilDecided(ctx context.Context, c orders.Command) (orders.Answer, error) {
	encoded := orders.Encode(c)
	uncertain := false // an earlier attempt may have been committed
	for {
		reply, index, err := s.cfg.Ledger.Submit(ctx, encoded)
		switch {
		case err == nil:
			answer, err := orders.DecodeAnswer(reply)
			if err != nil {
				return answer, fmt.Errorf("%w: %w", orders.ErrUncertain, err)
			}
			// The next page should show it; a board that lags shows it later.
			s.awaitApplied(ctx, index)
			return answer, nil
		case errors.Is(err, ledger.ErrUncertain): // even if it matches another kind too
			uncertain = true
		case errors.Is(err, ledger.ErrNotFounded), errors.Is(err, ledger.ErrTwoLedgers),
			errors.Is(err, ledger.ErrHalted), errors.Is(err, ledger.ErrTooLarge), errors.Is(err, ledger.ErrStopped):
			return orders.Answer{}, undecidedError(uncertain, orders.ErrUnavailable, err)
		case !errors.Is(err, ledger.ErrNoMajority) && !errors.Is(err, ledger.ErrBusy):
			uncertain = true // an unknown error leaves open whether it was committed
		}
		select {
		case <-ctx.Done():
			return orders.Answer{}, undecidedError(uncertain, orders.ErrNotCommitted, err)
		case <-time.After(retryInterval):
		}
	}
}

// undecidedError wraps cause in kind, or in ErrUncertain if an earlier attempt may have
// been committed.
func undecidedError(uncertain bool, kind, cause error) error {
	if uncertain {
		kind = orders.ErrUncertain
	}
	return fmt.Errorf("%w: %w", kind, cause)
}

// awaitApplied waits, for at most catchUpTimeout, until this board has applied the
// committed entry. After that the caller reads a state that is a little old.
func (s *Service) awaitApplied(ctx context.Context, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	if err := s.cfg.Ledger.Wait(ctx, index); err != nil {
		s.cfg.Logger.Debug("this board is behind the ledger", "index", index, "error", err)
	}
}

// Order returns an order as it stands, and its position if it waits in a queue. This board
// first catches up with everything that was acknowledged on any board, so that a buyer who
// cancels on one board sees that on another. It waits at most catchUpTimeout for an order
// that it does not have, and freshTimeout for changes to one that it has; after that it
// returns its own copy, with orders.ErrStale. While orders are paused it does not wait. The
// error matches orders.ErrNoOrder if there is no such order.
func (s *Service) Order(ctx context.Context, id orders.ID) (o orders.Order, position int, err error) {
	timeout := catchUpTimeout
	if _, err := s.cfg.Book.Order(id); err == nil {
		timeout = freshTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	behind := error(orders.ErrPaused)
	switch s.Pause() {
	case orders.NotPaused:
		behind = s.barrier.wait(ctx)
	case orders.PausedBoard: // others have it
		behind = orders.ErrBoardUnfit
	}
	o, err = s.cfg.Book.Order(id)
	switch {
	case errors.Is(err, orders.ErrNoOrder) && behind != nil:
		return o, 0, fmt.Errorf("%w: %w", orders.ErrUncertain, behind)
	case errors.Is(err, orders.ErrNoOrder):
		s.noteLostReceipt(id)
		return o, 0, err
	case err != nil:
		return o, 0, err
	case behind != nil:
		err = fmt.Errorf("%w: %w", orders.ErrStale, behind)
	}
	position, _, _ = s.cfg.Book.Position(id) // 0 if it is in none
	return o, position, err
}
