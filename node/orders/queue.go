package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

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

func (a *applyTx) inviteNext(s *storedSale, c Invite) (Answer, string) {
	if !c.Until.After(a.now) {
		return Answer{Outcome: TooLate}, "invite nobody: the invitation's end has already passed"
	}
	answer := Answer{Outcome: Done}
	after := uint64(0)
	for looked := 0; answer.Count < c.Count && looked < maxInviteWork; looked++ {
		o := a.nextQueued(s, after)
		fits := o != nil && int64(o.Quantity) <= s.Free
		if o == nil || !fits && (!a.rules.skipsHead || s.Free == 0) {
			break
		}
		after = o.queueNumber
		if fits {
			a.inviteOrder(o, c.Until)
			answer.Count++
		}
	}
	answer.Remaining = int(s.Free)
	return answer, fmt.Sprintf("invite %s: %d people until %s", s.Product, answer.Count, formatTime(c.Until))
}

// maxInviteWork limits the people that one Invite looks at.
const maxInviteWork = 10 * MaxPerCommand

// nextQueued returns the first order in the queue after a queue number, nil if there is none.
func (a *applyTx) nextQueued(s *storedSale, after uint64) *storedOrder {
	k, v := a.queue.Cursor().Seek(saleKey(s.number, after+1))
	if k == nil || !bytes.HasPrefix(k, uint16Key(s.number)) {
		return nil
	}
	return a.orderByNumber(binary.BigEndian.Uint64(v))
}

func (a *applyTx) inviteOrder(o *storedOrder, until time.Time) {
	next := a.withState(o, StateInvited)
	next.Until = until
	a.queueMail(next, JobMailInvited)
	a.storeOrder(o, next)
}

// automaticOperator is the operator in the audit trail of what the book does by itself.
const automaticOperator = "automatic"

// canInvite reports whether a Tick would invite people, or look for people who want as few units as
// are free. In a drawn ballot the entries that lost come first.
func (s *storedSale) canInvite() bool {
	return s.Invitations > 0 && !s.closed && !s.Retired && s.Free > 0 && s.Free > s.noFit && s.Waiting+s.Interested > 0 && !s.canRank()
}

// inviteWaiting invites the people in the queue to the free units, the first ones first. Who wants more units
// than are free is skipped and keeps the place. It looks at no more than work people, and returns their
// number; the next Tick goes on from there.
func (a *applyTx) inviteWaiting(s *storedSale, work int) int {
	a.touch(s)
	if s.Free > s.scanFree {
		s.scanned = 0
	}
	until := a.now.Add(s.Invitations)
	invited, done := 0, 0
	for ; done < work && a.err == nil; done++ {
		s.scanFree = s.Free
		o := a.nextQueued(s, s.scanned)
		if s.Free == 0 || o == nil {
			if o == nil {
				s.noFit = s.Free
			}
			s.scanned, s.scanFree = 0, 0
			done++
			break
		}
		s.scanned = o.queueNumber
		if int64(o.Quantity) <= s.Free {
			a.inviteOrder(o, until)
			invited++
		}
	}
	if invited > 0 {
		a.appendAudit(automaticOperator, fmt.Sprintf("invite %s: %d people until %s", s.Product, invited, formatTime(until)))
	}
	return done
}
