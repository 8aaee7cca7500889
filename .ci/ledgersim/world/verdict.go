package main

import (
	"cmp"
	"slices"
	"time"
)

// Times at the end of a world.
const (
	settleTime    = 60 * time.Second // until all boards agree
	stopTime      = 5 * time.Second  // a rack that must stop is watched for this long
	finalPatience = 20 * time.Second
)

// prospect is what a rack must do after everything is healed.
type prospect int

const (
	mayDoEither prospect = iota // it depends on an entry that a leader could not complete, or on a founding that was not completed
	mustGoOn
	mustStop
)

// conclude ends the disturbances, lets the rack settle and checks everything. All boards
// start once more, so that each shows with which configuration it goes on.
func (w *world) conclude() {
	w.isEnding = true
	w.suspendsAtCommit, w.cutsPowerOf = nil, nil
	for _, b := range w.running() {
		w.resume(b)
	}
	w.clients.Wait()
	w.logf("the end: everything is healed, and starts again")
	w.net.heal()
	w.freeCards(w.sites...)
	for _, s := range w.sites {
		w.kill(s, keepAll)
	}
	for _, s := range w.sites {
		s.clock.skew, s.rules = 0, max(s.rules, w.newestRules)
		w.start(s)
	}
	time.Sleep(time.Second)
	w.look()
	switch w.expected() {
	case mustGoOn:
		w.settle()
	case mustStop:
		w.checkStopped()
		w.recover()
	case mayDoEither:
		if !w.goesOn() {
			w.recover()
		}
	}
	w.checkOrders()
	w.checkLinear()
}

// expected returns what the rack must do, from the configurations and the cards that are
// left.
func (w *world) expected() prospect {
	with, without := 0, 0
	for _, b := range w.running() {
		switch {
		case len(b.voters) == 0:
		case w.keepsMajority(b.voters, nil):
			with++
		default:
			without++
		}
	}
	switch {
	case with > 0 && without > 0:
		return mayDoEither
	case with > 0, !w.isFounded():
		return mustGoOn
	case without == 0 && !w.hasAcknowledged():
		return mayDoEither // the boards that agreed to found it may still do so
	case w.isAllBlank():
		return mustGoOn
	case slices.ContainsFunc(w.sites, func(s *site) bool { return s.card.mayForget }):
		return mayDoEither // a card that nobody saw forget may have everything again
	}
	return mustStop
}

// hasAcknowledged reports whether the present ledger has acknowledged an order.
func (w *world) hasAcknowledged() bool {
	return slices.ContainsFunc(w.orders, func(o *order) bool { return !o.acked.IsZero() && !o.isGivenUp })
}

// settle waits until every board takes an order and all have applied the same.
func (w *world) settle() {
	end := time.Now().Add(settleTime)
	for _, s := range w.sites {
		for {
			err := s.refusal
			if s.run != nil {
				if _, err = w.submit(s.run, finalPatience); err == nil {
					break
				}
			}
			if time.Now().After(end) {
				w.failf("%s takes no order: %v; %s", s.name, err, w.describe())
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	for !w.isSettled() {
		if time.Now().After(end.Add(settleTime)) {
			w.failf("the boards do not agree: %s", w.describe())
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (w *world) isSettled() bool {
	all := w.running()
	for _, b := range all {
		if b.shelf.Digest() != all[0].shelf.Digest() || len(b.shelf.has) != len(all[0].shelf.has) {
			return false
		}
	}
	return true
}

// goesOn reports whether the rack takes an order by itself.
func (w *world) goesOn() bool {
	for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		for _, b := range w.running() {
			if _, err := w.submit(b, time.Second); err == nil {
				w.settle()
				return true
			}
		}
	}
	return false
}

// checkStopped checks that a rack that lost too many cards takes no orders.
func (w *world) checkStopped() {
	w.story = append(w.story, "too many cards are lost: the rack must stop")
	for end := time.Now().Add(stopTime); time.Now().Before(end); {
		for _, b := range w.running() {
			if o, err := w.submit(b, time.Second); err == nil {
				w.failf("%s took %s, though a majority of the voters has lost its cards; %s", b.name, o.text(), w.describe())
				return
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// describe returns every board's state in one line.
func (w *world) describe() string {
	text := ""
	for _, b := range w.running() {
		s := b.Status()
		text += b.name + ": " + cmp.Or(s.Trouble, s.Halted, s.Foreign, "ok") + " leader " + s.Leader + "; "
	}
	return text
}

// checkOrders compares what the boards answered with what the ledger holds. If an order
// disappeared though a card that acknowledged it is not lost, the rack must have stopped.
func (w *world) checkOrders() {
	for _, o := range w.orders {
		index, isThere := w.appliedAt[o.text()]
		switch {
		case !o.acked.IsZero() && !o.isGivenUp && (!isThere || o.index != 0 && index != o.index):
			w.failf("%s was acknowledged at %d, and is in the ledger at %d", o.text(), o.index, index)
		case o.isRefused && isThere:
			w.failf("%s was reported as not committed, and is in the ledger at %d", o.text(), index)
		}
	}
	if w.expected() != mustGoOn {
		return
	}
	for _, b := range w.running() {
		for _, o := range w.orders {
			if !o.acked.IsZero() && !o.isGivenUp && !b.shelf.has[o.text()] {
				w.failf("%s was acknowledged (by cards %b) and is LOST on %s", o.text(), o.holders, b.name)
			}
		}
	}
}

// checkLinear checks the order: a command that was acknowledged before another was
// submitted has the lower index.
func (w *world) checkLinear() {
	var acked []*order
	for _, o := range w.orders {
		if !o.acked.IsZero() && !o.isGivenUp && o.index != 0 {
			acked = append(acked, o)
		}
	}
	byEnd := slices.Clone(acked)
	slices.SortFunc(byEnd, func(a, b *order) int { return a.acked.Compare(b.acked) })
	slices.SortFunc(acked, func(a, b *order) int { return a.invoked.Compare(b.invoked) })
	highest, k := &order{}, 0
	for _, o := range acked {
		for ; k < len(byEnd) && byEnd[k].acked.Before(o.invoked); k++ {
			if byEnd[k].index > highest.index {
				highest = byEnd[k]
			}
		}
		if o.index <= highest.index {
			w.failf("%s is at %d, before %s at %d, which was acknowledged before it was submitted",
				o.text(), o.index, highest.text(), highest.index)
		}
	}
}
