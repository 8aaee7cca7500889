package orders

import (
	"bytes"
	"encoding/binary"
	"time"
)

// In a sale with confirmation by mail, every form makes an unconfirmed order, whatever its person has already: so
// no form tells anything, and nobody can keep another person out by being first with their address. The mailed
// link proves the mailbox: it confirms any form of its person in the sale, and no form ends another.

const (
	// confirmMailInterval separates the mails with a link to one person about one sale: three an hour at most. A later form
	// needs none, because the link shows it too.
	confirmMailInterval = 20 * time.Minute
	// confirmMailPace separates all mails with such links: 600 a minute. They wait for each other, and for no other mail.
	confirmMailPace = 100 * time.Millisecond
)

// addUnconfirmed stores a new order that does not count yet. One of units holds them, unless its sender has
// enough held, or all unconfirmed orders and invitations would hold more than is free then.
func (a *applyTx) addUnconfirmed(s *storedSale, o *storedOrder, unheld bool) {
	o.State = StateUnconfirmed
	o.Unheld = o.Kind == KindOrder && (unheld || s.Held+int64(o.Quantity) > s.Free-int64(o.Quantity))
	o.Until = fromMillis(a.queueConfirmMail(s, o)).Add(s.Confirm)
	if o.Kind == KindEntry {
		o.Until = s.Closes
	}
	a.storeOrder(nil, o)
}

// queueConfirmMail gives a new order the mail with its person's link, unless one was due a short time ago or
// waits. It returns when that mail is due, now at the earliest. These mails do not count for maxMailsPerHour: no other mail
// keeps them back, nor they another.
func (a *applyTx) queueConfirmMail(s *storedSale, o *storedOrder) (due int64) {
	key, _ := a.readMailTimes(o)
	key = binary.BigEndian.AppendUint16(key, s.number)
	hour := time.Hour.Milliseconds() // further ahead is from before an operator set the clock back
	for _, last := range a.decodeMailTimes(a.restore.Get(key)) {
		if last > a.at-confirmMailInterval.Milliseconds() && last < a.at+hour {
			return max(a.at, last)
		}
	}
	due = a.at
	if v := a.restore.Get([]byte(confirmMailKey)); v != nil {
		if next := int64(binary.BigEndian.Uint64(v)) + confirmMailPace.Milliseconds(); next < a.at+hour {
			due = max(due, next)
		}
	}
	a.put(a.restore, []byte(confirmMailKey), uint64Key(uint64(due)))
	a.writeMailTimes(key, mailTimes{due})
	a.sweepMailTimes(key)
	o.mailJob, o.mailSince = JobMailConfirm, due
	return due
}

// confirmOrder makes an unconfirmed order count. The person's others stay as they are, because a stranger who sent
// them must not see that the person has confirmed one.
func (a *applyTx) confirmOrder(c Confirm) Answer {
	return a.changeOrder(c.ID, func(s *storedSale, o *storedOrder) Outcome {
		o.computeFingerprints(&a.rules)
		switch {
		case o.isLive():
			return AlreadyDone
		case o.State != StateUnconfirmed, s.Retired, !a.canConfirm(s, o):
			return TooLate
		case a.countUnits(s, o.fingerprints)+o.Quantity > s.Limit:
			return OverLimit
		case o.Unheld && (s.StateAt(a.now) != SaleInStock || s.Free < int64(o.Quantity)):
			return SoldOut
		}
		next := a.withState(o, StateOpen)
		next.Until, next.Unheld = time.Time{}, false
		a.markNeighbours(s, next)
		a.admitOrder(s, next)
		a.storeOrder(o, next)
		a.verifyLimit(s, o.fingerprints)
		return Done
	})
}

// markNeighbours marks an order that is about to count, and one at the same postal address, if both together have more than
// the limit. A person whose mailbox is proven is not refused for that, because anybody could have typed the
// address before; the shopkeeper decides.
func (a *applyTx) markNeighbours(s *storedSale, o *storedOrder) {
	if !s.LimitByAddress || a.unitsAtAddress(s, o.fingerprints.address)+o.Quantity <= s.Limit {
		return
	}
	prefix := addressPrefix(o.fingerprints.address, s.number)
	k, _ := a.byAddress.Seek(prefix)
	if !bytes.HasPrefix(k, prefix) {
		return
	}
	if other := a.orderByNumber(binary.BigEndian.Uint64(k[len(prefix):])); other != nil {
		o.SameAddress = other.ID
		if other.SameAddress == 0 {
			marked := *other
			marked.SameAddress = o.ID
			a.storeOrder(other, &marked)
		}
	}
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
	}
	a.storeOrder(o, next)
}

// MaxOfMailbox limits each part of what OrdersOfMailbox returns: its newest.
const MaxOfMailbox = 5

// OrdersOfMailbox returns the newest orders of an order's person in its sale that count, and those that wait for
// confirmation. Only who has the mailed link may see them. The error is ErrNoOrder, or the working copy's.
func (b *Book) OrdersOfMailbox(id ID) (live, unconfirmed []Order, err error) {
	err = b.withReadTx(func(r *readTx) error {
		of, err := r.orderByID(id)
		if err == nil && of.State == StateErased {
			err = ErrNoOrder
		}
		if err != nil {
			return err
		}
		rules := rulesOf(b.Rules())
		of.computeFingerprints(&rules)
		list := func(part byte) (found []Order, err error) {
			prefix := personPrefix(of.fingerprints.email, of.sale, part)
			c := r.bucket(bucketPeople).Cursor()
			c.Seek(personPrefix(of.fingerprints.email, of.sale, part+1))
			for k, _ := c.Prev(); bytes.HasPrefix(k, prefix) && len(found) < MaxOfMailbox; k, _ = c.Prev() {
				o, err := r.orderByNumber(binary.BigEndian.Uint64(k[len(prefix):]))
				if err != nil {
					return nil, err
				}
				found = append(found, o.Order)
			}
			return found, nil
		}
		if live, err = list(livePart); err == nil {
			unconfirmed, err = list(unconfirmedPart)
		}
		return err
	})
	return live, unconfirmed, err
}
