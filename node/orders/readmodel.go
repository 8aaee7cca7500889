package orders

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// buildReadModel returns the model that readers see once the transaction is committed.
func (a *applyTx) buildReadModel() *readModel {
	b := a.b
	v := &readModel{digest: b.meta.digest, erasures: b.meta.erasures, orders: b.meta.orders, rules: b.meta.rules}
	changed := a.dirtied
	if len(b.published) < len(b.sales) && len(b.published) == 0 { // loadMemory
		changed = b.sales
	}
	if len(changed) > 0 {
		b.published = append(slices.Clone(b.published), make([]*Sale, len(b.sales)-len(b.published))...)
		for _, s := range changed {
			sale := s.Sale
			b.published[s.number] = &sale
		}
	}
	v.sales = b.published
	if last := b.readModel.Load(); last != nil && len(last.numbers) == len(b.sales) {
		v.numbers = last.numbers
	} else {
		v.numbers = make(map[string]uint16, len(b.sales))
		for _, s := range b.sales {
			v.numbers[s.Product] = s.number
		}
	}
	v.news = a.readNews()
	v.waitingForms = a.readConfirmQueue().Waiting
	v.nextDue, v.hasDue = a.nextDue()
	v.erasedAt, v.unsentMails = a.readNumber(erasedKey), a.readNumber(unsentMailKey)
	v.receiptKeys = readReceiptKeys(a.restore)
	v.restoring = a.readRestoreProgress()
	if times := a.restore.Get([]byte(restoredKey)); times != nil {
		v.restored = [2]time.Time{fromMillis(int64(binary.BigEndian.Uint64(times))), fromMillis(int64(binary.BigEndian.Uint64(times[8:])))}
	}
	return v
}

// nextDue returns the next moment at which a Tick changes something.
func (a *applyTx) nextDue() (at time.Time, ok bool) {
	soonest := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	for _, s := range a.b.active {
		if t, changes := s.nextChange(a.now); changes {
			soonest(t)
		}
		if s.canAdvanceDraw(a.now) || s.canRank() || s.canInvite() || s.sweep != 0 {
			soonest(a.now)
		}
	}
	if a.restore.Get([]byte(linkMailKey)) != nil {
		soonest(a.now)
	}
	if q := a.readConfirmQueue(); q.Waiting > 0 {
		soonest(fromMillis(a.nextPlace(q) - confirmMailAhead.Milliseconds()/2))
	}
	if k, _ := a.timers.Cursor().First(); k != nil {
		soonest(fromMillis(int64(binary.BigEndian.Uint64(k))))
	}
	return at, ok
}

// readNews reads the announcements, newest first.
func (a *applyTx) readNews() []News {
	var list []News
	c := a.bucket(bucketNews).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		r := decoder{data: v}
		n := News{At: r.time(), Text: r.text()}
		if !r.done() {
			a.fail(fmt.Errorf("%w: a stored announcement cannot be read", ErrBroken))
			return nil
		}
		list = append(list, n)
	}
	slices.Reverse(list)
	return list
}
