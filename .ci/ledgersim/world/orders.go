package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"bramble/cluster/ledger"
	"bramble/cluster/ledger/ledgertest"
)

// orderMark is before the eight digits of an order's number: the machine looks for it in
// what is written to the cards.
const orderMark = "order-"

// order is one submitted command.
type order struct {
	number  int
	invoked time.Time
	// acked is when the board acknowledged it, zero if it did not.
	acked     time.Time
	index     uint64 // if acknowledged
	isRefused bool   // reported as not committed
	holders   uint64 // the cards that had it on disk when it was acknowledged, as bits
	// isGivenUp: an operator went on without the cards that had it, or all cards are lost.
	isGivenUp bool
}

func (o *order) text() string { return fmt.Sprintf("%s%08d", orderMark, o.number) }

// shelf is the state machine: a diary that compares every batch with what the other
// boards applied at its index.
type shelf struct {
	ledgertest.Diary
	world *world
	run   *boardRun
	has   map[string]bool
	last  uint64
	at    time.Time
	rules uint32 // of the last batch
}

// Apply implements ledger.StateMachine.
func (s *shelf) Apply(b ledger.Batch) ([][]byte, error) {
	if f := s.run.card.full; f != nil && f.book && len(b.Commands) > 0 && !s.run.isDead {
		return nil, fmt.Errorf("%w: no space left for the working copy", ledger.ErrRetryLater)
	}
	if !s.run.isDead {
		s.world.noteLedger(s.run)
		if b.Index <= s.last {
			s.world.failf("%s applies entry %d after %d", s.run.name, b.Index, s.last)
		}
		if b.At.Before(s.at) {
			s.world.failf("the ledger's clock goes back from %v to %v at entry %d", s.at, b.At, b.Index)
		}
		if known := s.world.rulesAt[b.Index]; b.Rules > s.Rules || b.Rules < s.rules || known != 0 && known != b.Rules {
			s.world.failf("%s, whose program knows rules %d, applies entry %d under %d, after %d; another board under %d",
				s.run.name, s.Rules, b.Index, b.Rules, s.rules, known)
		}
		s.rules, s.world.rulesAt[b.Index] = b.Rules, b.Rules
		var all []string
		for _, c := range b.Commands {
			all = append(all, string(c))
			s.has[string(c)] = true
		}
		s.world.noteApplied(s.run, b.Index, strings.Join(all, " "))
		s.world.checkClock(b)
	}
	s.last, s.at = b.Index, b.At
	if s.run == s.world.suspendsAtCommit && len(b.Commands) > 0 {
		s.world.suspendsAtCommit = nil
		s.world.suspend(s.run)
		enter(s.run.process)
	}
	return s.Diary.Apply(b)
}

// maxAhead is how far the ledger's clock may be ahead while most boards' clocks are right.
const maxAhead = 10 * time.Second

// checkClock checks that a few wrong clocks do not move the ledger's.
func (w *world) checkClock(b ledger.Batch) {
	right := 0
	for _, s := range w.sites {
		if !s.clock.wasWrong {
			right++
		}
	}
	if ahead := b.At.Sub(time.Now()); ahead > maxAhead && right > len(w.sites)/2 {
		w.failf("the ledger's clock is ahead by %v at entry %d, though %d of %d boards always had the right time", ahead, b.Index, right, len(w.sites))
	}
}

// Snapshot implements ledger.StateMachine.
func (s *shelf) Snapshot() (ledger.StateSnapshot, error) {
	v, err := s.Diary.Snapshot()
	return cutSnapshot{v, s.run}, err
}

// cutSnapshot is a snapshot of a board whose power may end before the files are complete.
type cutSnapshot struct {
	ledger.StateSnapshot
	run *boardRun
}

// WriteTo implements io.WriterTo.
func (c cutSnapshot) WriteTo(out io.Writer) (int64, error) {
	n, err := c.StateSnapshot.WriteTo(out)
	if w := c.run.site.world; w.cutsPowerOf == c.run {
		w.cutsPowerOf = nil
		w.did("power cut in a snapshot")
		w.kill(c.run.site, w.rng.IntN(4))
	}
	return n, err
}

// Restore implements ledger.StateMachine.
func (s *shelf) Restore(r io.Reader) error {
	if err := s.Diary.Restore(r); err != nil {
		return err
	}
	clear(s.has)
	if !s.run.isDead {
		s.world.noteLedger(s.run)
	}
	batch, index := []string{}, uint64(0)
	for _, n := range append(s.Diary.Notes(), ledgertest.Note{}) {
		if n.Index != index && index != 0 && !s.run.isDead {
			s.world.noteApplied(s.run, index, strings.Join(batch, " "))
			batch = nil
		}
		if n.Index != 0 {
			s.has[n.Text] = true
			s.last, s.at = n.Index, n.At
		}
		index, batch = n.Index, append(batch, n.Text)
	}
	return nil
}

// noteApplied compares a batch with the one that other boards applied at its index.
func (w *world) noteApplied(b *boardRun, index uint64, batch string) {
	if have, known := w.history[index]; known {
		if have != batch {
			w.failf("%s applies %q at entry %d, where another board applied %q", b.name, batch, index, have)
		}
		return
	}
	w.history[index] = batch
	for _, text := range strings.Fields(batch) {
		if at, twice := w.appliedAt[text]; twice && at != index {
			w.failf("%s is in the ledger twice, at %d and %d", text, at, index)
		}
		w.appliedAt[text] = index
	}
}

// submit submits an order on a board.
func (w *world) submit(b *boardRun, patience time.Duration) (*order, error) {
	o := &order{number: len(w.orders), invoked: time.Now()}
	w.orders = append(w.orders, o)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	enter(b.process)
	_, index, err := b.Submit(ctx, []byte(o.text()))
	enter(nil)
	switch {
	case b.isDead: // nobody learnt the answer
		err = errors.Join(err, ledger.ErrUncertain)
	case err == nil:
		o.acked, o.index, o.holders = time.Now(), index, cardsWith(o.number)
		w.acknowledged++
		if o.holders == 0 {
			w.failf("%s was acknowledged and is on no card", o.text())
		}
	case !errors.Is(err, ledger.ErrUncertain):
		o.isRefused = true
	}
	return o, err
}

// runClient orders, and reads, on one board until the world ends.
func (w *world) runClient(s *site) {
	for !w.isEnding {
		time.Sleep(time.Duration(20+w.rng.IntN(w.pace)) * time.Millisecond)
		b := s.run
		if b == nil || w.isEnding {
			continue
		}
		w.clients.Add(1)
		if w.rng.IntN(5) == 0 {
			w.read(b)
		} else if o, err := w.submit(b, w.drawPatience()); err == nil {
			w.logf("%s %s acknowledged at %d by cards %b", b.name, o.text(), o.index, o.holders)
		} else {
			w.logf("%s %s: %v", b.name, o.text(), err)
		}
		w.clients.Done()
	}
}

// drawPatience returns how long a client waits for its order.
func (w *world) drawPatience() time.Duration {
	most := 2000
	if w.rng.IntN(3) == 0 {
		most = 12_000
	}
	return time.Duration(300+w.rng.IntN(most)) * time.Millisecond
}

// read checks that a board that passed a barrier has everything acknowledged before.
func (w *world) read(b *boardRun) {
	before := len(w.orders)
	invoked := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	enter(b.process)
	err := b.Barrier(ctx)
	enter(nil)
	if err != nil || b.isDead {
		return
	}
	for _, o := range w.orders[:before] {
		if !o.acked.IsZero() && o.acked.Before(invoked) && !o.isGivenUp && !b.shelf.has[o.text()] {
			w.failf("%s passed a barrier without %s, which was acknowledged before", b.name, o.text())
		}
	}
}
