package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// queueBlockSize is how many places of a queue are counted together. Somebody's position is
// the sum of the blocks before and a walk inside one block: at a million people about a
// thousand small reads of each.
const queueBlockSize = 1024

// updateQueue moves a paper into or out of its sale's queue. Places are given once, in
// order, and never closed up.
func (a *applyTx) updateQueue(s *storedSale, before, p *storedOrder) {
	was, is := before.Number != 0 && before.isQueued(), p.isQueued()
	if was == is {
		return
	}
	step := 1
	if was {
		step = -1
		a.remove(a.queue, saleKey(p.sale, p.queueNumber))
	} else {
		a.put(a.queue, saleKey(p.sale, p.queueNumber), uint64Key(p.Number))
	}
	// before is looked at because an accepted invitation changes its kind.
	if p.Kind == KindInterest || was && before.Kind == KindInterest {
		s.Interested += step
	} else {
		s.Waiting += step
	}
	block := blockKey(p.sale, uint32(p.queueNumber/queueBlockSize))
	count := step
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

// queuePosition is a paper's place in its queue, from 1.
func queuePosition(tx *bbolt.Tx, p *storedOrder) int {
	ahead := 0
	block := uint32(p.queueNumber / queueBlockSize)
	prefix := uint16Key(p.sale)
	c := tx.Bucket([]byte(bucketQueueBlocks)).Cursor()
	end := blockKey(p.sale, block)
	for k, v := c.Seek(prefix); k != nil && bytes.Compare(k, end) < 0; k, v = c.Next() {
		ahead += int(binary.BigEndian.Uint32(v))
	}
	c = tx.Bucket([]byte(bucketQueue)).Cursor()
	own := saleKey(p.sale, p.queueNumber)
	for k, _ := c.Seek(saleKey(p.sale, uint64(block)*queueBlockSize)); k != nil && bytes.Compare(k, own) < 0; k, _ = c.Next() {
		ahead++
	}
	return ahead + 1
}

// inviteNext carries out an Invite: a wave.
func (a *applyTx) inviteNext(s *storedSale, c Invite) (Answer, string) {
	if !c.Until.After(a.now) {
		return Answer{Outcome: TooLate}, "invite nobody: the end has passed"
	}
	answer := Answer{Outcome: Done}
	prefix := uint16Key(s.number)
	for answer.Count < c.Count {
		k, v := a.queue.Cursor().Seek(prefix)
		if k == nil || !bytes.HasPrefix(k, prefix) {
			break
		}
		p := a.orderByNumber(binary.BigEndian.Uint64(v))
		if p == nil || int64(p.Quantity) > s.Free {
			break
		}
		next := a.withState(p, StateInvited)
		next.Until = c.Until
		a.queueMail(next, JobMailInvited)
		a.storeOrder(p, next)
		answer.Count++
	}
	answer.Left = int(s.Free)
	return answer, fmt.Sprintf("invite %s: %d people until %s", s.Product, answer.Count, formatTime(c.Until))
}

// expireInvitation ends an invitation that was not used; its units are free again.
func (a *applyTx) expireInvitation(p *storedOrder) {
	a.storeOrder(p, a.withState(p, StateExpired))
}
