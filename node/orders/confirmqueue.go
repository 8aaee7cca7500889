package orders

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"
)

const (
	// confirmMailPace separates all mails with links to confirm: 600 a minute.
	confirmMailPace = 100 * time.Millisecond
	// confirmMailAhead is the time from when a mail leaves the queue until it is due. No other overtakes it then.
	confirmMailAhead = 3 * time.Second
	// maxUnsentMails limits the mails of the last unsentMailTime that are not sent when the next leaves the queue, so that a slow mail
	// server takes them in the queue's order. Older ones do not count: addresses that fail do not stop it.
	maxUnsentMails, unsentMailTime = 60, time.Minute
	// maxWaitingForms limits the forms of the queue, except that each of 65,536 networks may have one. A network may have a
	// waitingFormsPart of what is left: 2,666 of an empty queue. At 600 a minute they all take 40 minutes.
	maxWaitingForms, waitingFormsPart = 24_000, 8
)

// confirmQueue is what each form of a sale with confirmation passes before its mail is due, also if it gets none, because whose
// mailbox got one must not show. Networks take turns, so that a flood keeps the mail of a buyer in another network
// back by one mail of each network, and by those that have left.
type confirmQueue struct {
	Promised int64  // when the newest form's mail would be due if they left as they come: its time begins then. Unix milliseconds
	Due      int64  // when the newest mail that has left is due, Unix milliseconds
	Waiting  int64  // forms
	Served   uint16 // network of the form that left last
}

// mayWait reports whether a network of which forms wait may have one more, if all together are waiting.
func mayWait(forms, waiting int64) bool {
	return forms < max(1, (maxWaitingForms-waiting)/waitingFormsPart)
}

func (a *applyTx) readConfirmQueue() (q confirmQueue) {
	_, _ = binary.Decode(a.restore.Get([]byte(confirmQueueKey)), binary.BigEndian, &q) // an error: it is empty
	return q
}

func (a *applyTx) writeConfirmQueue(q confirmQueue) {
	data, _ := binary.Append(nil, binary.BigEndian, q) // no error: its size is fixed
	a.put(a.restore, []byte(confirmQueueKey), data)
}

func waitingForm(network uint16, order uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(waitingFormKey), uint16Key(network)...), order)
}

// countForms returns the number of a network's forms that wait, and the ordinal of its newest.
func (a *applyTx) countForms(network uint16) (forms, newest int64) {
	c := a.restore.Cursor()
	if k, oldest := c.Seek(waitingForm(network, 0)); bytes.HasPrefix(k, append([]byte(waitingFormKey), uint16Key(network)...)) {
		c.Seek(waitingForm(network, math.MaxUint64))
		_, v := c.Prev()
		newest = int64(binary.BigEndian.Uint64(v))
		forms = newest - int64(binary.BigEndian.Uint64(oldest)) + 1
	}
	return forms, newest
}

// queueForm adds an order's form to the queue, and returns when its time begins: that follows from the forms before it alone.
func (a *applyTx) queueForm(order uint64, network uint16) int64 {
	q := a.readConfirmQueue()
	if q.Promised > a.at+time.Hour.Milliseconds() { // from before an operator set the clock back
		q.Promised = 0
	}
	q.Promised = max(a.at, q.Promised+confirmMailPace.Milliseconds())
	q.Waiting++
	a.writeConfirmQueue(q)
	_, newest := a.countForms(network)
	a.put(a.restore, waitingForm(network, order), uint64Key(uint64(newest+1)))
	return q.Promised
}

// nextPlace returns when the next mail that leaves the queue can be due.
func (a *applyTx) nextPlace(q confirmQueue) int64 {
	due, ahead := a.at, a.at+confirmMailAhead.Milliseconds()
	if q.Due <= ahead { // otherwise an operator has set the clock back
		due = max(due, q.Due+confirmMailPace.Milliseconds())
	}
	c := a.outbox.Cursor()
	c.Seek(outboxKey(QueueMail, ahead+1, 0))
	for n := 1; ; n++ {
		k, _ := c.Prev()
		if k == nil || Queue(k[0]) != QueueMail {
			return due
		}
		if free := int64(binary.BigEndian.Uint64(k[1:])) + unsentMailTime.Milliseconds(); free <= due || n == maxUnsentMails {
			return max(due, free)
		}
	}
}

// takeTurns lets forms leave the queue while places for their mails are near. It ends, because each makes the next place later.
func (a *applyTx) takeTurns() {
	for q := a.readConfirmQueue(); q.Waiting > 0 && a.err == nil; a.writeConfirmQueue(q) {
		if q.Due = a.nextPlace(q); q.Due > a.at+confirmMailAhead.Milliseconds() {
			return
		}
		c := a.restore.Cursor()
		k, _ := c.Seek(waitingForm(q.Served+1, 0)) // after the last one comes 0
		if !bytes.HasPrefix(k, []byte(waitingFormKey)) {
			k, _ = c.Seek([]byte(waitingFormKey))
		}
		k = bytes.Clone(k)
		a.remove(a.restore, k)
		q.Served, q.Waiting = binary.BigEndian.Uint16(k[len(waitingFormKey):]), q.Waiting-1
		if o := a.orderByNumber(binary.BigEndian.Uint64(k[len(k)-8:])); o != nil && o.State == StateUnconfirmed {
			next := *o
			a.addConfirmMail(&next, q.Due)
			a.storeOrder(o, &next)
		}
	}
}
