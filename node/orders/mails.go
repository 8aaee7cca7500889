package orders

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"
)

const (
	// maxMailsPerHour limits the mails to one e-mail address that are due in any hour: an order and its cancellation,
	// three times. Later ones wait; each order has one at most, about its newest state.
	maxMailsPerHour = 6
	// maxMailTimes limits the times that a book keeps of an address: half a day of mails that wait.
	maxMailTimes = 64
	// mailTimesSwept is the number of other addresses whose times each new mail checks for their end, so that most
	// that a book keeps are of the last hour.
	mailTimesSwept = 4
)

// mailTimes are the times at which mails to one address are due, in order, Unix milliseconds: those of the last hour
// and of mails that wait.
type mailTimes []int64

// add adds the first time from at on that leaves no hour with more than maxMailsPerHour.
func (m mailTimes) add(at int64) (mailTimes, int64) {
	hour := time.Hour.Milliseconds()
	for {
		near := slices.DeleteFunc(slices.Clone(m), func(t int64) bool { return t <= at-hour || t >= at+hour })
		if len(near) < maxMailsPerHour {
			m = append(m[max(0, len(m)-maxMailTimes+1):], at)
			slices.Sort(m)
			return m, at
		}
		at = near[0] + hour
	}
}

// readMailTimes returns the times of an order's mailbox in all spellings of a kind, and their key. part is "" or linksPart.
func (a *applyTx) readMailTimes(o *storedOrder, part string) (key []byte, m mailTimes) {
	o.computeFingerprints(&a.rules)
	key = slices.Concat([]byte(mailTimesKey), o.fingerprints.email[:], []byte{a.rules.spellingOf(o.Person.Email)}, []byte(part))
	return key, a.decodeMailTimes(a.restore.Get(key))
}

func (a *applyTx) decodeMailTimes(data []byte) mailTimes {
	m := make(mailTimes, len(data)/8)
	_, _ = binary.Decode(data, binary.BigEndian, []int64(m)) // no error: its size is m's
	return slices.DeleteFunc(m, func(due int64) bool { return due <= a.at-time.Hour.Milliseconds() })
}

func (a *applyTx) writeMailTimes(key []byte, m mailTimes) {
	data, _ := binary.Append(nil, binary.BigEndian, []int64(m)) // no error: its size is fixed
	a.put(a.restore, key, data)
}

// queueMail adds a mail job to an order, if the sale has mail. It replaces an older one.
func (a *applyTx) queueMail(o *storedOrder, kind JobKind) { a.queueMailAt(o, kind, a.at) }

// queueMailAt is queueMail for a mail that is due at a time, or once its address may get another.
func (a *applyTx) queueMailAt(o *storedOrder, kind JobKind, at int64) {
	if !a.b.sales[o.sale].Mail {
		return
	}
	if a.rules.limitsMail {
		a.dropMail(o)
		key, m := a.readMailTimes(o, "")
		m, due := m.add(at)
		if kind == JobMailExists && due > at { // it says nothing new of the order
			a.countUnsentMail()
			return
		}
		a.writeMailTimes(key, m)
		a.sweepMailTimes(key)
		at = due
	}
	o.mailJob, o.mailSince = kind, at
}

// dropMail removes an order's mail job. If it still waits for its time, another mail can have that.
func (a *applyTx) dropMail(o *storedOrder) {
	if a.rules.limitsMail && o.mailJob != 0 && o.mailSince > a.at {
		key, m := a.readMailTimes(o, "")
		if i := slices.Index(m, o.mailSince); i >= 0 && o.mailJob != JobMailConfirm { // see addConfirmMail
			a.writeMailTimes(key, slices.Delete(m, i, i+1))
		}
		a.countUnsentMail()
	}
	o.mailJob, o.mailSince = 0, 0
}

// sweepMailTimes removes the times of a few addresses after key that do not count any more.
func (a *applyTx) sweepMailTimes(key []byte) {
	var over [][]byte
	c := a.restore.Cursor()
	c.Seek(key)
	for range mailTimesSwept {
		if k, v := c.Next(); bytes.HasPrefix(k, []byte(mailTimesKey)) && len(a.decodeMailTimes(v)) == 0 {
			over = append(over, bytes.Clone(k))
		}
	}
	for _, k := range over {
		a.remove(a.restore, k)
	}
}

// forgetMailTimes removes the times of a person who has been erased from the book.
func (a *applyTx) forgetMailTimes(o *storedOrder) {
	o.computeFingerprints(&a.rules)
	if k, _ := a.byPerson.Seek(o.fingerprints.email[:]); a.rules.limitsMail && !bytes.HasPrefix(k, o.fingerprints.email[:]) {
		a.removePrefix(a.restore, append([]byte(mailTimesKey), o.fingerprints.email[:]...)) // of all the person's mailboxes
	}
}

// countUnsentMail counts a mail that a newer one, or the end of its order, has made needless.
func (a *applyTx) countUnsentMail() {
	a.put(a.restore, []byte(unsentMailKey), uint64Key(a.readNumber(unsentMailKey)+1))
}
