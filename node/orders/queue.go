package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// blockSize is how many places of a queue are counted together. Somebody's position is
// the sum of the blocks before and a walk inside one block: at a million people about a
// thousand small reads of each.
const blockSize = 1024

// settleQueue moves a paper into or out of its sale's queue. Places are given once, in
// order, and never closed up.
func (a *apply) settleQueue(s *sale, before, p *paper) {
	was, is := before.Number != 0 && before.queued(), p.queued()
	if was == is {
		return
	}
	step := 1
	if was {
		step = -1
		a.remove(a.queue, saleKey(p.sale, p.place))
	} else {
		a.put(a.queue, saleKey(p.sale, p.place), key8(p.Number))
	}
	// before is looked at because an accepted invitation changes its kind.
	if p.Kind == KindInterest || was && before.Kind == KindInterest {
		s.Interested += step
	} else {
		s.Waiting += step
	}
	block := blockKey(p.sale, uint32(p.place/blockSize))
	count := step
	if v := a.blocks.Get(block); v != nil {
		count += int(binary.BigEndian.Uint32(v))
	}
	switch {
	case count < 0:
		a.fail(fmt.Errorf("%w: %s: a block of the queue counts %d", ErrBroken, s.Product, count))
	case count == 0:
		a.remove(a.blocks, block)
	default:
		a.put(a.blocks, block, value4(count))
	}
}

// position is a paper's place in its queue, from 1.
func position(tx *bbolt.Tx, p *paper) int {
	ahead := 0
	block := uint32(p.place / blockSize)
	prefix := key2(p.sale)
	c := tx.Bucket([]byte(bucketBlocks)).Cursor()
	end := blockKey(p.sale, block)
	for k, v := c.Seek(prefix); k != nil && bytes.Compare(k, end) < 0; k, v = c.Next() {
		ahead += int(binary.BigEndian.Uint32(v))
	}
	c = tx.Bucket([]byte(bucketQueue)).Cursor()
	own := saleKey(p.sale, p.place)
	for k, _ := c.Seek(saleKey(p.sale, uint64(block)*blockSize)); k != nil && bytes.Compare(k, own) < 0; k, _ = c.Next() {
		ahead++
	}
	return ahead + 1
}

// invite carries out an Invite: a wave.
func (a *apply) invite(s *sale, c Invite) (Answer, string) {
	if !c.Until.After(a.now) {
		return Answer{Outcome: TooLate}, "invite nobody: the end has passed"
	}
	answer := Answer{Outcome: Done}
	prefix := key2(s.number)
	for answer.Count < c.Count {
		k, v := a.queue.Cursor().Seek(prefix)
		if k == nil || !bytes.HasPrefix(k, prefix) {
			break
		}
		p := a.numbered(binary.BigEndian.Uint64(v))
		if p == nil || int64(p.Quantity) > s.Free {
			break
		}
		next := a.become(p, StateInvited)
		next.Until = c.Until
		a.tell(next, JobMailInvited)
		a.settle(p, next)
		answer.Count++
	}
	answer.Left = int(s.Free)
	return answer, fmt.Sprintf("invite %s: %d people until %s", s.Product, answer.Count, said(c.Until))
}

// expire ends an invitation that was not used; its units are free again.
func (a *apply) expire(p *paper) {
	a.settle(p, a.become(p, StateExpired))
}
