package orders

import "strings"

// What happens to an order after it is placed, except in its queue or ballot.

// changeOrder answers a command about an order. change carries it out.
func (a *applyTx) changeOrder(id ID, change func(*storedSale, *storedOrder) Outcome) Answer {
	o := a.orderByID(id)
	if o == nil {
		return Answer{Outcome: NoOrder}
	}
	s := a.b.sales[o.sale]
	outcome := change(s, o)
	return Answer{Outcome: outcome, Order: o.ID, State: s.StateAt(a.now)}
}

// cancelOrder cancels an order, for its buyer or an operator.
func (a *applyTx) cancelOrder(c Cancel) Answer {
	return a.changeOrder(c.ID, func(s *storedSale, o *storedOrder) Outcome {
		byOperator := c.By != (Operation{})
		switch {
		case o.State == StateCancelled || o.State == StateLeft:
			return AlreadyDone
		case o.State == StateFulfilling && !byOperator,
			!o.Cancellable() && o.State != StateFulfilling,
			o.Kind == KindEntry && o.State == StateOpen && a.hasFixedEntries(s):
			return TooLate
		}
		a.withdrawOrder(s, o, c.Reason, !byOperator)
		return Done
	})
}

// withdrawOrder cancels an order that can still be cancelled, and returns it. A buyer gets no mail about an order
// that no mail has told of.
func (a *applyTx) withdrawOrder(s *storedSale, o *storedOrder, reason string, byBuyer bool) *storedOrder {
	state := StateCancelled
	if o.Kind == KindWaiting || o.Kind == KindInterest {
		state = StateLeft
	}
	if o.Kind == KindEntry && o.State == StateOpen {
		a.remove(a.ballotEntries, saleKey(o.sale, uint64(o.ID)))
		s.Entries--
	}
	next := a.withState(o, state)
	next.Note, next.Until = reason, fromMillis(0)
	isUntold := a.rules.limitsMail && o.mailJob == JobMailPlaced && o.mailSince > a.at && o.queueNumber == 0 && !s.Confirms()
	switch {
	case o.State == StateUnconfirmed: // its mail is for the person's other forms too
	case byBuyer && isUntold:
		a.dropMail(next)
	default:
		a.queueMail(next, JobMailCancelled)
	}
	a.storeOrder(o, next)
	return next
}

// handOver marks an order as being passed to the fulfiller, or as fulfilled, also one whose fulfilment was never begun,
// because an operator may fulfil it by hand.
func (a *applyTx) handOver(id ID, state OrderState, how string) Answer {
	return a.changeOrder(id, func(_ *storedSale, o *storedOrder) Outcome {
		switch {
		case o.State == state || o.State == StateFulfilled:
			return AlreadyDone
		case !o.awaitsFulfilment():
			return TooLate
		}
		next := a.withState(o, state)
		if next.HandedOver = true; state == StateFulfilled {
			next.Note = how
		}
		a.storeOrder(o, next)
		return Done
	})
}

// finishJob removes a job from an order, unless a newer one has replaced it.
func (a *applyTx) finishJob(id ID, kind JobKind) Answer {
	return a.changeOrder(id, func(_ *storedSale, o *storedOrder) Outcome {
		next := *o
		pending, since := &next.webhookJob, &next.webhookSince
		if kind.IsMail() {
			pending, since = &next.mailJob, &next.mailSince
		}
		if *pending != kind {
			return AlreadyDone
		}
		*pending, *since = 0, 0
		a.storeOrder(o, &next)
		return Done
	})
}

// markSent marks an order as fulfilled by hand, or changes the note of one that is fulfilled.
func (a *applyTx) markSent(c MarkSent) Answer {
	return a.changeOrder(c.ID, func(_ *storedSale, o *storedOrder) Outcome {
		next := *o
		switch {
		case o.awaitsFulfilment():
			next = *a.withState(o, StateFulfilled)
		case o.State != StateFulfilled:
			return TooLate
		case c.Note == "" || c.Note == o.Note:
			return AlreadyDone
		}
		next.Note = c.Note
		a.queueMail(&next, JobMailSent)
		a.storeOrder(o, &next)
		return Done
	})
}

// returnOrder takes a fulfilled order back.
func (a *applyTx) returnOrder(c ReturnOrder) (Answer, string) {
	action := "return " + c.ID.String()
	if c.Restock {
		action += " to the stock"
	}
	return a.changeOrder(c.ID, func(s *storedSale, o *storedOrder) Outcome {
		switch o.State {
		case StateFulfilled:
		case StateReturned:
			return AlreadyDone
		default:
			return TooLate
		}
		next := a.withState(o, StateReturned)
		next.Note, next.Restocked = noteOfReturn(o.Note, c.Reason), c.Restock
		a.queueMail(next, JobMailReturned)
		a.storeOrder(o, next)
		if !c.Restock {
			s.Stock -= int64(o.Quantity)
			s.Free -= int64(o.Quantity)
		}
		return Done
	}), action
}

// noteReturned is in the note of a returned order, between how it was sent and why it came back.
const noteReturned = "; returned"

// noteOfReturn returns the note of an order that came back: it keeps the earlier note, such as the
// tracking number. If both exceed MaxText, the reason is kept alone.
func noteOfReturn(before, reason string) string {
	switch {
	case before == "":
		return reason
	case reason == "":
		reason = before + noteReturned
	case len(before)+len(noteReturned)+len(": ")+len(reason) <= MaxText:
		reason = before + noteReturned + ": " + reason
	}
	if len(reason) > MaxText {
		return before
	}
	return reason
}

// Reason returns why the order was cancelled or came back, "" if nobody said.
func (o *Order) Reason() string {
	if _, reason, both := strings.Cut(o.Note, noteReturned); both && o.State == StateReturned {
		return strings.TrimPrefix(reason, ": ")
	}
	return o.Note
}
