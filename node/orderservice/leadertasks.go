package orderservice

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"bramble/node/orders"
)

const (
	// taskInterval is the interval at which a board checks whether it leads and something
	// is due. Sales open and close by the clock in every answer anyway; a tick only
	// records what follows from that.
	taskInterval = 250 * time.Millisecond
	// taskTimeout limits one command that this package submits itself.
	taskTimeout = 5 * time.Second
	// maxTicksInRow limits the ticks without a pause between them: each does a bounded
	// amount of work, and orders are applied between them.
	maxTicksInRow = 8
	// catalogueOperator is the operator that the audit trail names for catalogue offers.
	catalogueOperator = orders.CatalogueOperator
)

// Run does this board's background work until ctx ends: the leader's tasks, the removal of
// erased people from the log, and the purge of pages that the order book outdates.
func (s *Service) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	defer s.logView.close()
	running.Go(func() { s.watchPause(ctx) })
	running.Go(func() { s.watchUnposted(ctx) })
	if s.cfg.PurgeTag != nil {
		running.Go(func() { newPageInvalidator(s).run(ctx) })
	}
	s.runTasks(ctx)
}

func (s *Service) runTasks(ctx context.Context) {
	ticker := time.NewTicker(taskInterval)
	defer ticker.Stop()
	offered, followed := false, false
	scrub := newScrub(s)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		scrub.runIfDue(ctx)
		if !s.updateLeading(ctx) {
			offered, followed = false, false
			s.refused.Clear() // this board may offer them again when it leads next
			continue
		}
		// The rules may have risen meanwhile, and with them the number of products.
		if offered = offered && s.hasOffers(); !offered {
			if offered = s.offerCatalogue(ctx); offered {
				s.logDifferences()
			}
		}
		if s.cfg.Ledger.Status().Rules >= orders.TrustRules && !s.cfg.Book.HasSecret() {
			s.submitFirstSecret(ctx)
		}
		if offered && !followed {
			followed = s.followConfig(ctx)
		}
		s.runDueTicks(ctx)
	}
}

// submitFirstSecret gives the ledger its first secret. Links that were signed before stay valid, also if the
// rack's key changes later.
func (s *Service) submitFirstSecret(ctx context.Context) {
	c := newReceiptSecret(orders.Operation{Operator: catalogueOperator, OpID: NewOpID()})
	c.First = true
	for _, key := range s.deriveRackKeys(receiptPurpose) {
		c.Former = append(c.Former, [32]byte(key))
	}
	s.submitTask(ctx, c)
}

// updateLeading reports whether this board leads. A new leader first applies everything
// that was committed before its term, so that it repeats nothing.
func (s *Service) updateLeading(ctx context.Context) bool {
	leading := s.cfg.Ledger.Status().Leading
	if leading && !s.leading.Load() {
		ctx, cancel := context.WithTimeout(ctx, taskTimeout)
		defer cancel()
		leading = s.cfg.Ledger.Barrier(ctx) == nil
	}
	s.leading.Store(leading)
	return leading
}

// runDueTicks carries out what is due by the ledger's clock, while it is trusted: not across
// a jump, and not while the boards' clocks contradict it. A Tick says until when the clock is
// trusted, because another leader may commit it after a step.
func (s *Service) runDueTicks(ctx context.Context) {
	for range maxTicksInRow {
		at, any := s.cfg.Book.Due()
		now, known := s.cfg.Ledger.Now()
		if !any || !known || at.After(now) {
			return
		}
		var tick orders.Tick
		status := s.cfg.Ledger.Status()
		if status.Rules >= orders.RestoreRules {
			tick.Until = now.Truncate(time.Millisecond)
		}
		if !status.Clock.Trusted {
			return
		}
		if status.Rules >= orders.TrustRules && slices.ContainsFunc(s.Sales(), awaitsList) {
			report, err := s.readClock(ctx)
			tick.Boards = report.AgreedTime().Truncate(time.Millisecond)
			if err != nil || tick.Boards.IsZero() && slices.ContainsFunc(s.Sales(), func(sale orders.Sale) bool { return awaitsList(sale) && sale.NeedsBoards() }) {
				return
			}
		}
		if _, ok := s.submitTask(ctx, tick); !ok {
			return
		}
	}
}

// awaitsList reports whether the next Tick would fix a ballot's list.
func awaitsList(s orders.Sale) bool { return s.State == orders.SaleDrawing && s.Draw.List == "" }

// submitTask submits one of this package's own commands. ok is false if it is not known to be
// committed: runTasks submits it again at the next interval. An outcome other than Done and
// AlreadyDone is a refusal.
func (s *Service) submitTask(ctx context.Context, c orders.Command) (outcome orders.Outcome, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	answer, err := s.submitUntilDecided(ctx, c)
	if err != nil {
		s.cfg.Logger.Debug("a command of the order service is not committed yet; it will be submitted again", "error", err)
		return 0, false
	}
	if answer.Outcome != orders.Done && answer.Outcome != orders.AlreadyDone {
		s.cfg.Logger.Warn("the order book refused a command of the order service", "outcome", answer.Outcome.String())
	}
	return answer.Outcome, true
}

// NewOpID returns a random number for an operation, which makes it idempotent. It is not 0.
func NewOpID() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails
		if id := binary.BigEndian.Uint64(b[:]); id != 0 {
			return id
		}
	}
}
