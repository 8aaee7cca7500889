package main

import (
	"context"
	"fmt"
	"time"

	"bramble/cluster/ledger"
)

// recoverTime limits an operator's command.
const recoverTime = 10 * time.Second

// recover lets an operator recover the ledger of a rack that has stopped, on the board
// that has most of it, or found another if none has any. Then the rack must go on.
func (w *world) recover() {
	if len(w.failures) > 0 {
		return
	}
	if len(w.running()) == 0 { // a rack of one with a damaged card: ErrDamaged names the way out
		return
	}
	b, plan := w.recoverAnywhere()
	if b == nil {
		w.foundAgain()
		w.settle()
		return
	}
	w.story = append(w.story, fmt.Sprintf("recovered on %s: entry %d, proven to %d, %d commands unproven, without %v",
		plan.Board, plan.Index, plan.Proven, plan.Unproven, plan.CountedOut))
	held := b.card.holds
	w.giveUp(plan.Proven, held)
	w.ledger = ""
	s := b.site
	if !w.await("the recovered board runs again", func() bool { return s.run != nil && s.run != b && s.run.Status().Leading }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), recoverTime)
	defer cancel()
	w.ledger = s.run.Status().Ledger
	s.card.ledger = w.ledger
	if err := s.run.Choose(ctx, w.ledger); err != nil {
		w.failf("choosing the recovered ledger: %v", err)
	}
	w.settle()
}

// recoverAnywhere tries the command on each board.
func (w *world) recoverAnywhere() (*boardRun, ledger.RecoveryPlan) {
	for _, b := range w.running() {
		ctx, cancel := context.WithTimeout(context.Background(), recoverTime)
		defer cancel()
		plan, err := b.Recover(ctx, b.name)
		w.logf("an operator recovers on %s: %v", b.name, err)
		if err == nil {
			return b, plan
		}
	}
	return nil, ledger.RecoveryPlan{}
}

// foundAgain lets an operator found a ledger after every board has lost its own.
func (w *world) foundAgain() {
	w.story = append(w.story, "no board has the ledger: an operator founds another")
	w.giveUp(0, 0)
	w.ledger = ""
	ctx, cancel := context.WithTimeout(context.Background(), recoverTime)
	defer cancel()
	if err := w.running()[0].Found(ctx); err != nil {
		w.failf("founding again: %v", err)
	}
}

// await waits for something that must happen.
func (w *world) await(what string, ok func() bool) bool {
	for end := time.Now().Add(settleTime); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			w.failf("never: %s; %s", what, w.describe())
			return false
		}
	}
	return true
}
