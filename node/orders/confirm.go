package orders

import (
	"bytes"
	"encoding/binary"
	"time"
)

// In a sale with confirmation by mail, every form makes an unconfirmed order, whatever its person has already: so
// no form tells anything, and nobody can keep another person out by being first with their address.

// maxUnconfirmed limits a person's unconfirmed orders in a sale. A newer one ends the oldest, so that
// forms of strangers cannot keep out the person's own.
const maxUnconfirmed = 3

// addUnconfirmed stores a new order that does not count yet. One of units holds them.
func (a *applyTx) addUnconfirmed(s *storedSale, o *storedOrder) {
	if others := a.listUnconfirmed(s, o); len(others) >= maxUnconfirmed {
		a.expireOrder(others[0])
	}
	o.State, o.Until = StateUnconfirmed, a.now.Add(s.Confirm)
	if o.Kind == KindEntry {
		o.Until = s.Closes
	}
	a.queueMail(o, JobMailConfirm)
	if o.mailSince > a.at && o.Kind != KindEntry { // the address has had too many
		o.Until = fromMillis(o.mailSince).Add(s.Confirm)
	}
	a.storeOrder(nil, o)
}

// listUnconfirmed returns the unconfirmed orders of an order's person in the sale, oldest first.
func (a *applyTx) listUnconfirmed(s *storedSale, o *storedOrder) (list []*storedOrder) {
	prefix := personPrefix(o.fingerprints.email, s.number, unconfirmedPart)
	for k, _ := a.byPerson.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = a.byPerson.Next() {
		if other := a.orderByNumber(binary.BigEndian.Uint64(k[len(prefix):])); other != nil {
			list = append(list, other)
		}
	}
	return list
}

// confirmOrder makes an unconfirmed order count. The person's others keep their units and their pages until
// their time is over, because a stranger who sent them must not see that the person has confirmed one.
func (a *applyTx) confirmOrder(c Confirm) Answer {
	return a.changeOrder(c.ID, func(s *storedSale, o *storedOrder) Outcome {
		o.computeFingerprints(&a.rules)
		switch {
		case o.isLive():
			return AlreadyDone
		case o.State != StateUnconfirmed, s.Retired, !a.canConfirm(s, o):
			return TooLate
		case o.isOutrun || a.countUnits(s, o.fingerprints)+o.Quantity > s.Limit:
			return OverLimit
		}
		for _, other := range a.listUnconfirmed(s, o) {
			if other.ID != o.ID {
				outrun := *other
				outrun.isOutrun = true
				a.storeOrder(other, &outrun)
			}
		}
		next := a.withState(o, StateOpen)
		next.Until = time.Time{}
		a.admitOrder(s, next)
		a.storeOrder(o, next)
		a.verifyLimit(s, o.fingerprints)
		return Done
	})
}

// canConfirm reports whether an unconfirmed order's time is not over: an entry's is that of the ballot.
func (a *applyTx) canConfirm(s *storedSale, o *storedOrder) bool {
	if o.Kind == KindEntry {
		return s.StateAt(a.now) == SaleOpen
	}
	return a.now.Before(o.Until)
}

// expireOrder ends an invitation that was not accepted, or an order that was not confirmed. Its units become
// free.
func (a *applyTx) expireOrder(o *storedOrder) {
	next := a.withState(o, StateExpired)
	if o.State == StateUnconfirmed {
		next.Note = NoteUnconfirmed
		a.dropMail(next)
	}
	a.storeOrder(o, next)
}
