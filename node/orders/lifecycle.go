package orders

// What happens to a paper after it was made, other than in its queue or ballot.

// cancelOrder takes a paper back, for its buyer or an operator.
func (a *applyTx) cancelOrder(c Cancel) Answer {
	p := a.orderByID(c.ID)
	if p == nil {
		return Answer{Outcome: NoOrder}
	}
	s := a.b.sales[p.sale]
	byOperator := c.By != (Operation{})
	answer := Answer{Outcome: Done, Order: p.ID}
	switch {
	case p.State == StateCancelled || p.State == StateLeft:
		answer.Outcome = Same
	case p.State == StateFulfilling && !byOperator,
		!p.Cancellable() && p.State != StateFulfilling,
		p.Kind == KindEntry && p.State == StateOpen && !a.now.Before(s.Closes):
		answer.Outcome = TooLate
	default:
		a.withdrawOrder(s, p, c.Reason)
	}
	answer.State = s.StateAt(a.now)
	return answer
}

// withdrawOrder cancels or leaves a paper that can still be taken back.
func (a *applyTx) withdrawOrder(s *storedSale, p *storedOrder, reason string) *storedOrder {
	state := StateCancelled
	if p.Kind == KindWaiting || p.Kind == KindInterest {
		state = StateLeft
	}
	if p.Kind == KindEntry && p.State == StateOpen {
		a.remove(a.entries, saleKey(p.sale, uint64(p.ID)))
		s.Entries--
	}
	next := a.withState(p, state)
	next.Note = reason
	next.Until = fromMillis(0)
	a.queueMail(next, JobMailCancelled)
	a.storeOrder(p, next)
	return next
}

// beginFulfilment marks a paper as on its way.
func (a *applyTx) beginFulfilment(c BeginFulfilment) Answer {
	p := a.orderByID(c.ID)
	if p == nil {
		return Answer{Outcome: NoOrder}
	}
	answer := Answer{Outcome: Same, Order: p.ID, State: a.b.sales[p.sale].StateAt(a.now)}
	switch {
	case p.State == StateFulfilling || p.State == StateFulfilled:
	case p.awaitsFulfilment():
		a.storeOrder(p, a.withState(p, StateFulfilling))
		answer.Outcome = Done
	default:
		answer.Outcome = TooLate
	}
	return answer
}

// finishFulfilment ends the hand-over; also one that was never begun, because an operator may
// hand over by hand.
func (a *applyTx) finishFulfilment(c FinishFulfilment) Answer {
	p := a.orderByID(c.ID)
	if p == nil {
		return Answer{Outcome: NoOrder}
	}
	answer := Answer{Outcome: Same, Order: p.ID, State: a.b.sales[p.sale].StateAt(a.now)}
	switch {
	case p.State == StateFulfilled:
	case p.awaitsFulfilment():
		next := a.withState(p, StateFulfilled)
		next.Note = c.How
		a.storeOrder(p, next)
		answer.Outcome = Done
	default:
		answer.Outcome = TooLate
	}
	return answer
}

// finishMail removes a mail job, unless a newer one has taken its place.
func (a *applyTx) finishMail(c FinishMail) Answer {
	p := a.orderByID(c.ID)
	if p == nil {
		return Answer{Outcome: NoOrder}
	}
	answer := Answer{Outcome: Same, Order: p.ID, State: a.b.sales[p.sale].StateAt(a.now)}
	if p.mailJob == c.Kind {
		next := *p
		next.mailJob, next.mailSince = 0, 0
		a.storeOrder(p, &next)
		answer.Outcome = Done
	}
	return answer
}
