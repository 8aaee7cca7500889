package orders

import (
	"encoding/binary"
)

// runTick carries out what is due, at most tickWork papers' worth. Opening and closing need
// nothing done here: a sale's state follows from its hours, and finish notes it.
func (a *applyTx) runTick() Answer {
	answer := Answer{Outcome: Done}
	for answer.Count < maxTickWork && a.err == nil {
		k, _ := a.timers.Cursor().First()
		if k == nil || int64(binary.BigEndian.Uint64(k)) > a.at {
			break
		}
		k = append([]byte(nil), k...)
		p := a.orderByNumber(binary.BigEndian.Uint64(k[8:]))
		if p == nil {
			break
		}
		a.remove(a.timers, k)
		a.fireTimer(p)
		answer.Count++
	}
	for _, s := range a.b.sales {
		for answer.Count < maxTickWork && a.err == nil && s.canAdvanceDraw(a.now) {
			answer.Count += a.advanceDraw(s, maxTickWork-answer.Count)
		}
	}
	return answer
}

// fireTimer does what is due for a paper. A timer is not taken back when its reason is gone,
// so that there may be nothing to do.
func (a *applyTx) fireTimer(p *storedOrder) {
	s := a.b.sales[p.sale]
	switch {
	case p.State == StateInvited && !a.now.Before(p.Until):
		a.expireInvitation(p)
	case p.isFinished() && s.Retain > 0 && !a.now.Before(p.Changed.Add(s.Retain)):
		a.eraseOrder(p)
	}
}
