package orders

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"
)

// In a sale with confirmation by mail, every form makes an unconfirmed order, whatever its person has already: so
// no form tells anything, and nobody can keep another person out by being first with their address. The mailed
// link proves the mailbox: it confirms any form of that mailbox in the sale, and no form ends another. What is confirmed belongs to
// the mailbox: who sent the form has lost its receipt.

const (
	// confirmMailInterval separates the mails with a link to one mailbox about one sale: three an hour at most. A later form
	// needs none, because the link shows it too.
	confirmMailInterval = 20 * time.Minute
)

// addUnconfirmed stores a new order that does not count yet. One of units holds them, unless its sender has
// enough held, or all unconfirmed orders and invitations would hold more than is free then.
func (a *applyTx) addUnconfirmed(s *storedSale, o *storedOrder, c *PlaceOrder) {
	o.State = StateUnconfirmed
	o.Unheld = o.Kind == KindOrder && (c.Unheld || s.Held+int64(o.Quantity) > s.Free-int64(o.Quantity))
	o.Until = fromMillis(a.queueForm(o.Number, c.Network)).Add(s.Confirm)
	if o.Kind == KindEntry {
		o.Until = s.Closes
	}
	a.storeOrder(nil, o)
}

// addConfirmMail gives an order whose turn it is the mail with its mailbox's link, due at a time, unless one was due a short
// time ago. These mails do not count for maxMailsPerHour: no other mail keeps them back, nor they another.
func (a *applyTx) addConfirmMail(o *storedOrder, due int64) {
	hour := time.Hour.Milliseconds() // further ahead is from before an operator set the clock back
	key, _ := a.readMailTimes(o)
	key = binary.BigEndian.AppendUint16(key, o.sale)
	revoked := int64(a.readNumber(revokedKey)) // the links of the mails until then have ended
	for _, last := range a.decodeMailTimes(a.restore.Get(key)) {
		if last > a.at-confirmMailInterval.Milliseconds() && last < a.at+hour && (last > revoked || revoked >= a.at+hour) {
			return
		}
	}
	a.writeMailTimes(key, mailTimes{due})
	a.sweepMailTimes(key)
	o.mailJob, o.mailSince = JobMailConfirm, due
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
		next.Until, next.Unheld, next.Confirmed = time.Time{}, false, true
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

const (
	// MaxOfMailbox limits each part of what OrdersOfMailbox returns: its newest.
	MaxOfMailbox = 5
	// maxMailboxScan limits the forms that it reads for that. Equal forms are one.
	maxMailboxScan = 128
)

// OrdersOfMailbox returns the newest orders of an order's mailbox in its sale that count, and those that wait for
// confirmation, equal ones once. Only who has the mailed link may see them. The error is ErrNoOrder, or the working copy's.
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
		list := func(prefix []byte, isSame func(a, b *storedOrder) bool) (found []Order, err error) {
			var kept []*storedOrder
			c := r.bucket(bucketPeople).Cursor()
			c.Seek(append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 9)...)) // longer than the number
			k, _ := c.Prev()
			for n := 0; bytes.HasPrefix(k, prefix) && len(kept) < MaxOfMailbox && n < maxMailboxScan; n++ {
				o, err := r.orderByNumber(binary.BigEndian.Uint64(k[len(k)-8:]))
				if err != nil {
					return nil, err
				}
				o.computeFingerprints(&rules)
				at := slices.IndexFunc(kept, func(k *storedOrder) bool { return isSame(k, o) })
				switch {
				case o.fingerprints.mailbox != of.fingerprints.mailbox:
				case at < 0:
					kept = append(kept, o)
				case kept[at].Unheld && !o.Unheld: // the better one
					kept[at] = o
				}
				k, _ = c.Prev()
			}
			for _, o := range kept {
				found = append(found, o.Order)
			}
			return found, nil
		}
		prints := of.fingerprints
		live, err = list(personPrefix(prints.email, of.sale, livePart), func(a, b *storedOrder) bool { return false })
		if err == nil {
			unconfirmed, err = list(append(personPrefix(prints.email, of.sale, unconfirmedPart), prints.mailbox[:]...), (*storedOrder).isAlike)
		}
		return err
	})
	return live, unconfirmed, err
}

// isAlike reports whether two forms of a mailbox ask for the same.
func (o *storedOrder) isAlike(other *storedOrder) bool {
	return o.fingerprints.person == other.fingerprints.person && o.Kind == other.Kind && o.Quantity == other.Quantity && o.Total == other.Total
}
