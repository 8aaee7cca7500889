package orders

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// In a sale with confirmation by mail, every form makes an unconfirmed order, whatever its person has already: so
// no form tells anything, and nobody can keep another person out by being first with their address. The mailed
// link proves the mailbox: it confirms any form of that mailbox in the sale, and no form ends another. What is confirmed belongs to
// the mailbox: who sent the form has lost its receipt.

const (
	// confirmMailInterval separates the mails with a link to one mailbox about one sale: three an hour at most. A later form
	// needs none, because the link shows it too.
	confirmMailInterval = 20 * time.Minute
	// maxLinkMails limits the mails with a link in an hour, over all sales, to all spellings of a kind that the limit takes for one
	// address: 18 to the three kinds. Beyond it the plain address gets one an hour for each sale, and the others none.
	maxLinkMails = 6
	linksPart    = "links" // of the key of their times

	plainSpelling, taggedSpelling, otherSpelling byte = 0, 1, 2
)

// spellingOf returns the kind of an address, of all spellings that the limit takes for one: plainSpelling is one only, in small letters
// without a tag, or dots at Gmail. Mails to one kind keep none to another back: a thousand tags do not lock the plain address out.
func (r *ruleSet) spellingOf(email string) byte {
	switch {
	case mailboxText(email) == strings.ToLower(r.normalEmail(email)):
		return plainSpelling
	case strings.Contains(email, "+"):
		return taggedSpelling
	}
	return otherSpelling
}

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
// time ago, or maxLinkMails were. These mails do not count for maxMailsPerHour: no other mail keeps them back, nor they another.
func (a *applyTx) addConfirmMail(o *storedOrder, due int64) {
	key, _ := a.readMailTimes(o, linksPart)
	pauseKey := slices.Concat([]byte(mailTimesKey), o.fingerprints.email[:], o.fingerprints.mailbox[:], uint16Key(o.sale))
	pause, sent := confirmMailInterval, a.linksSince(key, time.Hour)
	if len(sent) >= maxLinkMails {
		pause = time.Hour
	}
	if pause == time.Hour && a.rules.spellingOf(o.Person.Email) != plainSpelling || len(a.linksSince(pauseKey, pause)) > 0 {
		return
	}
	a.writeMailTimes(key, append(sent[max(0, len(sent)-maxLinkMails+1):], due))
	a.writeMailTimes(pauseKey, mailTimes{due})
	a.sweepMailTimes(pauseKey)
	o.mailJob, o.mailSince = JobMailConfirm, due
}

// linksSince returns the times under a key since an interval ago of links that have not ended. Operators may have set the clock back.
func (a *applyTx) linksSince(key []byte, interval time.Duration) mailTimes {
	hour, revoked := a.at+time.Hour.Milliseconds(), int64(a.readNumber(revokedKey))
	return slices.DeleteFunc(a.decodeMailTimes(a.restore.Get(key)), func(due int64) bool {
		return due <= a.at-interval.Milliseconds() || due >= hour || due <= revoked && revoked < hour
	})
}

// confirmOrder makes an unconfirmed order count. The person's others stay as they are, because a stranger who sent
// them must not see that the person has confirmed one; equal ones hold nothing from then on.
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
		case o.unitsHeld() == 0 && o.Kind == KindOrder && (s.StateAt(a.now) != SaleInStock || s.Free < int64(o.Quantity)):
			return SoldOut
		}
		next := a.withState(o, StateOpen)
		next.Until, next.Unheld, next.Confirmed = time.Time{}, false, true
		a.markNeighbours(s, next)
		a.admitOrder(s, next)
		a.storeOrder(o, next)
		a.verifyLimit(s, o.fingerprints)
		for _, number := range newestOf(a.people.Cursor(), append(personPrefix(o.fingerprints.email, o.sale, unconfirmedPart), o.fingerprints.mailbox[:]...)) {
			other := a.orderByNumber(number)
			if other == nil {
				break
			}
			if other.computeFingerprints(&a.rules); other.isAlike(o) {
				next := *other
				next.equalCounts = true
				a.storeOrder(other, &next)
			}
		}
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
	// maxMailboxScan limits the forms that it reads for that: the newest. Equal forms are one.
	maxMailboxScan = 128
)

// newestOf returns the numbers of the newest orders under a prefix of the people's keys, newest first, at most maxMailboxScan.
func newestOf(people *bbolt.Cursor, prefix []byte) (numbers []uint64) {
	people.Seek(append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 9)...)) // longer than the number
	for k, _ := people.Prev(); bytes.HasPrefix(k, prefix) && len(numbers) < maxMailboxScan; k, _ = people.Prev() {
		numbers = append(numbers, binary.BigEndian.Uint64(k[len(k)-8:]))
	}
	return numbers
}

// OrdersOfMailbox returns the newest orders of an order's mailbox in its sale that count, and those that wait for
// confirmation: of equal ones the oldest that holds units, or the oldest, and none that equals one that counts, if it came before
// or is more than the limit. Only who has the mailed link may see them. The error is ErrNoOrder, or the working copy's.
func (b *Book) OrdersOfMailbox(id ID) (live, unconfirmed []Order, err error) {
	err = b.withReadTx(func(r *readTx) error {
		of, err := r.orderByID(id)
		if err != nil || of.State == StateErased {
			return cmp.Or(err, ErrNoOrder)
		}
		rules, s := rulesOf(b.Rules()), b.readModel.Load().sales[of.sale]
		of.computeFingerprints(&rules)
		var counting, waiting []*storedOrder
		units := 0
		prints, people := of.fingerprints, r.bucket(bucketPeople).Cursor()
		forms := newestOf(people, append(personPrefix(prints.email, of.sale, unconfirmedPart), prints.mailbox[:]...))
		for _, number := range append(newestOf(people, personPrefix(prints.email, of.sale, livePart)), forms...) {
			o, err := r.orderByNumber(number)
			if err != nil {
				return err
			}
			o.computeFingerprints(&rules)
			at := slices.IndexFunc(waiting, o.isAlike)
			switch {
			case o.isLive():
				if units += o.Quantity; o.fingerprints.mailbox == prints.mailbox && len(counting) < MaxOfMailbox {
					counting, live = append(counting, o), append(live, o.Order)
				}
			case o.equalCounts || units+o.Quantity > s.Limit && slices.ContainsFunc(counting, o.isAlike):
			case at < 0 && len(waiting) < MaxOfMailbox:
				waiting, unconfirmed = append(waiting, o), append(unconfirmed, o.Order)
			case at >= 0 && (waiting[at].Unheld || !o.Unheld):
				waiting[at], unconfirmed[at] = o, o.Order
			}
		}
		return nil
	})
	return live, unconfirmed, err
}

// isAlike reports whether two forms of a mailbox ask for the same.
func (o *storedOrder) isAlike(other *storedOrder) bool {
	return o.fingerprints.person == other.fingerprints.person && o.Kind == other.Kind && o.Quantity == other.Quantity && o.Total == other.Total
}
