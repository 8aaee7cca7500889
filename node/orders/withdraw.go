package orders

// What happens to a paper after it was made, other than in its queue or ballot.

// cancel takes a paper back, for its buyer or an operator.
func (a *apply) cancel(c Cancel) Answer {
	p := a.paper(c.ID)
	if p == nil {
		return Answer{Outcome: NoPaper}
	}
	s := a.b.sales[p.sale]
	byOperator := c.By != (Operation{})
	answer := Answer{Outcome: Done, Paper: p.ID}
	switch {
	case p.State == StateCancelled || p.State == StateLeft:
		answer.Outcome = Same
	case p.State == StateHandingOver && !byOperator,
		!p.Cancellable() && p.State != StateHandingOver,
		p.Kind == KindEntry && p.State == StateOpen && !a.now.Before(s.Closes):
		answer.Outcome = TooLate
	default:
		a.takeBack(s, p, c.Reason)
	}
	answer.State = s.StateAt(a.now)
	return answer
}

// takeBack cancels or leaves a paper that can still be taken back.
func (a *apply) takeBack(s *sale, p *paper, reason string) *paper {
	state := StateCancelled
	if p.Kind == KindWaiting || p.Kind == KindInterest {
		state = StateLeft
	}
	if p.Kind == KindEntry && p.State == StateOpen {
		a.remove(a.pot, saleKey(p.sale, uint64(p.ID)))
		s.Entries--
	}
	next := a.become(p, state)
	next.Note = reason
	next.Until = moment(0)
	a.tell(next, JobMailCancelled)
	a.settle(p, next)
	return next
}

// handing marks a paper as on its way.
func (a *apply) handing(c Handing) Answer {
	p := a.paper(c.ID)
	if p == nil {
		return Answer{Outcome: NoPaper}
	}
	answer := Answer{Outcome: Same, Paper: p.ID, State: a.b.sales[p.sale].StateAt(a.now)}
	switch {
	case p.State == StateHandingOver || p.State == StateHandedOver:
	case p.toSend():
		a.settle(p, a.become(p, StateHandingOver))
		answer.Outcome = Done
	default:
		answer.Outcome = TooLate
	}
	return answer
}

// handedOver ends the hand-over; also one that was never begun, because an operator may
// hand over by hand.
func (a *apply) handedOver(c HandedOver) Answer {
	p := a.paper(c.ID)
	if p == nil {
		return Answer{Outcome: NoPaper}
	}
	answer := Answer{Outcome: Same, Paper: p.ID, State: a.b.sales[p.sale].StateAt(a.now)}
	switch {
	case p.State == StateHandedOver:
	case p.toSend():
		next := a.become(p, StateHandedOver)
		next.Note = c.How
		a.settle(p, next)
		answer.Outcome = Done
	default:
		answer.Outcome = TooLate
	}
	return answer
}

// mailed removes a mail job, unless a newer one has taken its place.
func (a *apply) mailed(c Mailed) Answer {
	p := a.paper(c.ID)
	if p == nil {
		return Answer{Outcome: NoPaper}
	}
	answer := Answer{Outcome: Same, Paper: p.ID, State: a.b.sales[p.sale].StateAt(a.now)}
	if p.mail == c.What {
		next := *p
		next.mail, next.since = 0, 0
		a.settle(p, &next)
		answer.Outcome = Done
	}
	return answer
}
