package orders

import (
	"encoding/binary"
	"time"
)

// runTick carries out what is due, for at most maxTickWork orders. Opening and closing
// need nothing here: a sale's state follows from its times, and finishBatch stores it.
func (a *applyTx) runTick(c Tick) Answer {
	until := a.now
	if !c.Until.IsZero() && c.Until.Before(until) {
		until = c.Until
	}
	answer := Answer{Outcome: Done}
	for answer.Count < maxTickWork && a.err == nil {
		k, _ := a.timers.Cursor().First()
		if k == nil || int64(binary.BigEndian.Uint64(k)) > toMillis(until) {
			break
		}
		k = append([]byte(nil), k...)
		o := a.orderByNumber(binary.BigEndian.Uint64(k[8:]))
		if o == nil {
			break
		}
		a.remove(a.timers, k)
		a.fireTimer(o, until)
		answer.Count++
	}
	answer.Count += a.queueLinkMails(maxTickWork - answer.Count)
	for _, s := range a.b.active {
		for answer.Count < maxTickWork && a.err == nil {
			done := a.advanceSale(s, until, c.Boards, maxTickWork-answer.Count)
			if answer.Count += done; done == 0 {
				break
			}
		}
	}
	return answer
}

// advanceSale does the next part of what a sale has to do by a time, for at most work orders, and returns
// their number. boards is the time by most boards' own clocks.
func (a *applyTx) advanceSale(s *storedSale, until, boards time.Time, work int) int {
	switch {
	case s.canAdvanceDraw(until) && s.awaitsList():
		if s.NeedsBoards() && boards.IsZero() {
			return 0
		}
		a.touch(s)
		a.fixList(s, boards)
		return 1
	case s.canAdvanceDraw(until):
		return a.advanceDraw(s, work)
	case s.canRank():
		return a.advanceRanks(s, work)
	case s.canInvite():
		return a.inviteWaiting(s, work)
	case s.sweep != 0:
		return a.sweepOrders(s, work)
	}
	return 0
}

// fireTimer carries out the due change of an order. A timer stays when its reason no longer applies, so
// there may be nothing to do.
func (a *applyTx) fireTimer(o *storedOrder, until time.Time) {
	s := a.b.sales[o.sale]
	switch {
	case o.State == StateUnconfirmed && o.Kind == KindEntry && until.Before(s.Closes): // an operator has moved the close
		next := *o
		next.Until = s.Closes
		a.storeOrder(o, &next)
	case o.hasTimer() && !until.Before(o.Until):
		a.expireOrder(o)
	case o.isFinished() && s.Retain > 0 && !until.Before(o.Changed.Add(s.Retain)):
		a.eraseOrder(o)
	case o.isFinished() && s.Retain > 0 && a.rules.version > 1: // it is kept longer now
		a.setRetentionTimer(s, o)
	}
}

func (a *applyTx) setRetentionTimer(s *storedSale, o *storedOrder) {
	a.put(a.timers, timerKey(toMillis(o.Changed.Add(s.Retain)), o.Number), nil)
}

// sweepOrders continues a sweep over all orders, and returns the number that it looked at.
func (a *applyTx) sweepOrders(s *storedSale, work int) int {
	a.touch(s)
	for done := range work {
		k, _ := a.orders.Cursor().Seek(uint64Key(s.sweep))
		if k == nil {
			s.sweep, s.sweepFor = 0, 0
			return done + 1
		}
		s.sweep = binary.BigEndian.Uint64(k) + 1
		o := a.orderByNumber(s.sweep - 1)
		if o == nil {
			return done + 1
		}
		if o.sale != s.number {
			continue
		}
		if s.sweepFor&sweepRetention != 0 && o.isFinished() && s.Retain > 0 {
			a.setRetentionTimer(s, o)
		}
		if s.sweepFor&sweepHandOver != 0 && o.awaitsFulfilment() && o.webhookJob == 0 {
			next := *o
			next.webhookJob, next.webhookSince = JobWebhook, toMillis(o.Ready)
			a.storeOrder(o, &next)
		}
	}
	return work
}
