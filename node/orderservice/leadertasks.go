package orderservice

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"bramble/node/orders"
)

const (
	// taskInterval is how often a board looks whether it leads and something is
	// due. Hours pass by the clock in every answer anyway; a tick only writes
	// down what follows from them.
	taskInterval = 250 * time.Millisecond
	// taskTimeout bounds one command of the desk's own.
	taskTimeout = 5 * time.Second
	// maxTicksInRow bounds the ticks that follow each other without a pause: each
	// does a bounded amount of work, and orders want their turn.
	maxTicksInRow = 8
	// minCompactInterval is at least between two times that this board rewrites its
	// log to be rid of what was forgotten, so that a wave of wishes to be
	// forgotten does not wear out the card.
	minCompactInterval = time.Minute
	// catalogueOperator signs what the catalogue says.
	catalogueOperator = "catalogue"
)

// Run does, until ctx ends, what the leader's board does for all, and on each
// board erases from its log what was forgotten.
func (d *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(taskInterval)
	defer ticker.Stop()
	offered := false
	// How many people this board's files are rid of. None after a start: the log
	// may hold what was forgotten shortly before.
	erased, compacted := uint64(0), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if n := d.cfg.Book.Erasures(); n != erased && time.Since(compacted) > minCompactInterval {
			compacted = time.Now()
			if err := errors.Join(d.cfg.Ledger.Compact(ctx), d.cfg.Book.Rewrite()); err != nil {
				d.cfg.Logger.Warn("what was forgotten is still in this board's log; it will be tried again", "error", err)
				continue
			}
			erased = n
		}
		if !d.updateLeading(ctx) {
			offered = false
			continue
		}
		if !offered {
			offered = d.offerCatalogue(ctx)
		}
		d.runDueTicks(ctx)
	}
}

// updateLeading reports whether this board leads. A new leader first carries out what
// was committed before its time, so that nothing is done twice for not knowing.
func (d *Service) updateLeading(ctx context.Context) bool {
	leading := d.cfg.Ledger.Status().Leading
	if leading && !d.leading.Load() {
		ctx, cancel := context.WithTimeout(ctx, taskTimeout)
		defer cancel()
		leading = d.cfg.Ledger.Barrier(ctx) == nil
	}
	d.leading.Store(leading)
	return leading
}

// offerCatalogue gives the ledger the sales that the catalogue has and it does not. What
// it has already stands: operators change it, and that is on record.
func (d *Service) offerCatalogue(ctx context.Context) (all bool) {
	for _, o := range d.cfg.Offers {
		if _, known := d.cfg.Book.Sale(o.Product); known {
			continue
		}
		o.Operation = orders.Operation{Operator: catalogueOperator, OpID: NewOpID()}
		if o.Mode == orders.Ballot {
			rand.Read(o.Secret[:]) // does not fail
		}
		if !d.submitTask(ctx, o) {
			return false
		}
	}
	return true
}

// runDueTicks carries out what is due by the ledger's clock.
func (d *Service) runDueTicks(ctx context.Context) {
	for range maxTicksInRow {
		at, any := d.cfg.Book.Due()
		now, known := d.cfg.Ledger.Now()
		if !any || !known || at.After(now) || !d.submitTask(ctx, orders.Tick{}) {
			return
		}
	}
}

// submitTask submits a command of the desk's own; it is given again at the next look
// if it fails.
func (d *Service) submitTask(ctx context.Context, c orders.Command) bool {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	answer, err := d.submitUntilDecided(ctx, c)
	if err != nil {
		d.cfg.Logger.Debug("the desk's own command waits", "error", err)
		return false
	}
	switch answer.Outcome {
	case orders.Done, orders.Same:
		return true
	}
	d.cfg.Logger.Warn("the order book refused a command of the desk's own", "outcome", answer.Outcome.String())
	return false
}

// NewOpID numbers an operation, so that one given twice is done once; 0 is none.
func NewOpID() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // does not fail
		if id := binary.BigEndian.Uint64(b[:]); id != 0 {
			return id
		}
	}
}
