package orderservice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

const (
	// pauseAfter is the time without a working ledger after which orders count as paused.
	// A killed leader is replaced within 3 s, and in that time no page must change.
	pauseAfter = 4 * time.Second
	// resumeAfter is the time for which the ledger must work before orders go on. On full
	// cards leaders are elected that cannot write, and each leads for a moment.
	resumeAfter = time.Second
	// operatorWait limits an operator's command while orders are paused. It is tried, because
	// another board may lead, or the leader be back.
	operatorWait = 2 * time.Second
)

// readRestore returns the restore that keeps orders out, nil if none does.
func (s *Service) readRestore() *orders.RestoreProgress {
	r := s.cfg.Book.RestoreInProgress()
	if r == nil || s.Now().After(r.Until) {
		return nil
	}
	return r
}

// describeRestore tells operators of a restore in progress.
func describeRestore(r *orders.RestoreProgress) string {
	return fmt.Sprintf("A restore that %s began is in progress or was cut off: the rack has %d of %d parts. Until it is done, no orders and no operators' changes are accepted. "+
		"If it was cut off, run the same bramble restore again, or end it: bramble restore --cancel. Without a new part it ends at %s.", r.Operator, r.Parts, r.All, formatMoment(r.Until))
}

// judgePause returns why a ledger in this state accepts no orders. othersAccept: another board
// says that it accepts them; it is called only if that makes a difference. It is a pure rule.
func judgePause(s ledger.Status, othersAccept func() bool) orders.Pause {
	// With a leader, Trouble is what keeps this board alone from writing its log.
	fails := s.Halted != "" || s.Leader != "" && s.Trouble != ""
	switch {
	case !s.Founded:
		return orders.PausedStart
	case s.Foreign != "", s.Kept != "":
		return orders.PausedRack
	case s.Superseded != "":
		return pauseOfBoard(othersAccept, orders.PausedRack)
	case s.CatchingUp: // its pages would show what was in stock long ago
		return pauseOfBoard(othersAccept, orders.PausedStart)
	case s.Leader == "" && len(s.OlderPrograms) > 0: // they may have one
		return pauseOfBoard(othersAccept, orders.PausedRack)
	case s.Leader == "", fails && s.Leading:
		return orders.PausedRack
	case fails:
		return pauseOfBoard(othersAccept, orders.PausedRack)
	}
	return orders.NotPaused
}

// pauseOfBoard returns the pause of a board that cannot accept orders itself: alone is the one
// if no other board accepts them. A leader does not prove that one does: on full cards it
// leads, and nobody applies what it commits.
func pauseOfBoard(othersAccept func() bool, alone orders.Pause) orders.Pause {
	if othersAccept != nil && othersAccept() {
		return orders.PausedBoard
	}
	return alone
}

// pauseRule turns the pauses that judgePause returns over time into the one that pages show.
// An election changes nothing, and neither does a leader that is gone at once.
type pauseRule struct {
	shown     orders.Pause
	accepted  bool      // orders were accepted at some time: before, there is nothing to wait for
	badSince  time.Time // zero: the ledger works
	goodSince time.Time // zero: it does not work at this moment
}

// update returns the pause to show at now. isCertain: it is no election, and is shown at once.
func (p *pauseRule) update(now time.Time, judged orders.Pause, isCertain bool) orders.Pause {
	if judged == orders.NotPaused {
		if p.goodSince.IsZero() {
			p.goodSince = now
		}
		if !p.accepted || now.Sub(p.goodSince) >= resumeAfter {
			p.shown, p.accepted, p.badSince = orders.NotPaused, true, time.Time{}
		}
		return p.shown
	}
	p.goodSince = time.Time{}
	if p.badSince.IsZero() {
		p.badSince = now
	}
	if isCertain || !p.accepted || p.shown != orders.NotPaused || now.Sub(p.badSince) >= pauseAfter {
		p.shown = judged
	}
	return p.shown
}

// acceptance is a time in which orders are accepted. Its context ends when they are paused,
// and with it the wait of every buyer.
type acceptance struct {
	ctx context.Context
	end context.CancelFunc
}

// Pause returns why this board accepts no orders now. It answers from memory.
func (s *Service) Pause() orders.Pause { return orders.Pause(s.pause.Load()) }

func (s *Service) watchPause(ctx context.Context) { runChecks(ctx, pageCheckInterval, s.updatePause) }

// updatePause looks at the ledger once. One goroutine calls it.
func (s *Service) updatePause(now time.Time) {
	status := s.cfg.Ledger.Status()
	judged, restore := judgePause(status, s.cfg.OthersAccept), s.readRestore()
	if judged == orders.NotPaused && restore != nil {
		judged = orders.PausedStart
	}
	before, after := s.Pause(), s.pauseRule.update(now, judged, restore != nil)
	open := s.acceptance.Load()
	switch {
	case after == orders.NotPaused && open == nil:
		open = new(acceptance)
		open.ctx, open.end = context.WithCancel(context.Background())
		s.acceptance.Store(open)
	case after != orders.NotPaused && open != nil:
		s.acceptance.Store(nil)
		open.end()
	}
	s.pause.Store(uint32(after))
	switch {
	case before == after:
	case after == orders.NotPaused:
		s.cfg.Logger.Info("orders are accepted")
	case before == orders.NotPaused:
		s.cfg.Logger.Warn("orders are paused: pages offer no form until they go on", "pause", after.String(),
			"restoring", restore != nil, "halted", status.Halted, "trouble", status.Trouble, "foreign_boards", status.Foreign)
	}
}

// limitInPause returns ctx, limited to operatorWait while orders are paused.
func (s *Service) limitInPause(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.Pause() == orders.NotPaused {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, operatorWait)
}

// submitForBuyer submits a buyer's command, and stops waiting once orders are paused. While
// they are, it submits nothing: the error is orders.ErrPaused.
func (s *Service) submitForBuyer(ctx context.Context, c orders.Command) (orders.Answer, error) {
	open := s.acceptance.Load()
	if open == nil {
		return orders.Answer{}, orders.ErrPaused
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(open.ctx, cancel)()
	answer, err := s.submitUntilDecided(ctx, c)
	if err == nil && answer.Outcome == orders.Restoring { // this board's pages are a moment behind
		return orders.Answer{}, fmt.Errorf("%w: a backup is being restored", orders.ErrPaused)
	}
	if open.ctx.Err() != nil && errors.Is(err, orders.ErrNotCommitted) {
		err = fmt.Errorf("%w: %w", orders.ErrPaused, err)
	}
	return answer, err
}
