package orders

import (
	"encoding/binary"
)

// runTick carries out what is due, for at most maxTickWork orders. Opening and closing
// need nothing here: a sale's state follows from its times, and finishBatch stores it.
func (a *applyTx) runTick() Answer {
	answer := Answer{Outcome: Done}
	for answer.Count < maxTickWork && a.err == nil {
		k, _ := a.timers.Cursor().First()
		if k == nil || int64(binary.BigEndian.Uint64(k)) > a.at {
			break
		}
		k = append([]byte(nil), k...)
		o := a.orderByNumber(binary.BigEndian.Uint64(k[8:]))
		if o == nil {
			break
		}
		a.remove(a.timers, k)
		a.fireTimer(o)
		answer.Count++
	}
	for _, s := range a.b.sales {
		for answer.Count < maxTickWork && a.err == nil && s.canAdvanceDraw(a.now) {
			answer.Count += a.advanceDraw(s, maxTickWork-answer.Count)
		}
	}
	return answer
}

// fireTimer carries out the due change of an order. A timer stays when its reason no longer applies, so
// there may be nothing to do.
func (a *applyTx) fireTimer(o *storedOrder) {
	s := a.b.sales[o.sale]
	switch {
	case o.State == StateInvited && !a.now.Before(o.Until):
		a.expireInvitation(o)
	case o.isFinished() && s.Retain > 0 && !a.now.Before(o.Changed.Add(s.Retain)):
		a.eraseOrder(o)
	}
}
