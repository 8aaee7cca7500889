package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// queueBlockSize is the number of queue numbers that are counted together. A person's
// position is the sum of the blocks before and a walk within one block: at a million people,
// about a thousand small reads of each kind.
const queueBlockSize = 1024

// updateQueue moves an order into or out of its sale's queue. Queue numbers are assigned
// once, in ascending order, and never reused or closed up.
func (a *applyTx) updateQueue(s *storedSale, before, o *storedOrder) {
	wasQueued, isQueued := before.Number != 0 && before.isQueued(), o.isQueued()
	if wasQueued == isQueued {
		return
	}
	delta := 1
	if wasQueued {
		delta = -1
		a.remove(a.queue, saleKey(o.sale, o.queueNumber))
	} else {
		a.put(a.queue, saleKey(o.sale, o.queueNumber), uint64Key(o.Number))
	}
	// before counts too, because an accepted invitation changes its kind.
	if o.Kind == KindInterest || wasQueued && before.Kind == KindInterest {
		s.Interested += delta
	} else {
		s.Waiting += delta
	}
	block := blockKey(o.sale, uint32(o.queueNumber/queueBlockSize))
	count := delta
	if v := a.queueBlocks.Get(block); v != nil {
		count += int(binary.BigEndian.Uint32(v))
	}
	switch {
	case count < 0:
		a.fail(fmt.Errorf("%w: %s: a block of the queue counts %d", ErrBroken, s.Product, count))
	case count == 0:
		a.remove(a.queueBlocks, block)
	default:
		a.put(a.queueBlocks, block, uint32Value(count))
	}
}

// queuePosition returns an order's position in its queue, from 1.
func queuePosition(tx *bbolt.Tx, o *storedOrder) int {
	ahead := 0
	block := uint32(o.queueNumber / queueBlockSize)
	prefix := uint16Key(o.sale)
	c := tx.Bucket([]byte(bucketQueueBlocks)).Cursor()
	end := blockKey(o.sale, block)
	for k, v := c.Seek(prefix); k != nil && bytes.Compare(k, end) < 0; k, v = c.Next() {
		ahead += int(binary.BigEndian.Uint32(v))
	}
	c = tx.Bucket([]byte(bucketQueue)).Cursor()
	own := saleKey(o.sale, o.queueNumber)
	for k, _ := c.Seek(saleKey(o.sale, uint64(block)*queueBlockSize)); k != nil && bytes.Compare(k, own) < 0; k, _ = c.Next() {
		ahead++
	}
	return ahead + 1
}

// inviteNext carries out an Invite.
func (a *applyTx) inviteNext(s *storedSale, c Invite) (Answer, string) {
	if !c.Until.After(a.now) {
		return Answer{Outcome: TooLate}, "invite nobody: the invitation's end has already passed"
	}
	answer := Answer{Outcome: Done}
	prefix := uint16Key(s.number)
	for answer.Count < c.Count {
		k, v := a.queue.Cursor().Seek(prefix)
		if k == nil || !bytes.HasPrefix(k, prefix) {
			break
		}
		o := a.orderByNumber(binary.BigEndian.Uint64(v))
		if o == nil || int64(o.Quantity) > s.Free {
			break
		}
		next := a.withState(o, StateInvited)
		next.Until = c.Until
		a.queueMail(next, JobMailInvited)
		a.storeOrder(o, next)
		answer.Count++
	}
	answer.Remaining = int(s.Free)
	return answer, fmt.Sprintf("invite %s: %d people until %s", s.Product, answer.Count, formatTime(c.Until))
}

// expireInvitation ends an invitation that was not accepted; its units become free.
func (a *applyTx) expireInvitation(o *storedOrder) {
	a.storeOrder(o, a.withState(o, StateExpired))
}
