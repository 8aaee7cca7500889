package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"
)

// recountState compares every counter and index of a book with the orders. It takes all pairs of all buckets, in order: an
// order says which keys the indexes must have, and a sum over their hashes, in which the
// order of the keys does not matter, is compared with the same sum over the keys that the
// index has. So a recount needs no lookup, and a Restore recounts what it reads. It does not recompute the
// fingerprints in the indexes, because that would take longer than everything else.
type recountState struct {
	meta    meta
	sales   []*storedSale
	tallies []saleTally
	want    indexSums // of the keys that the orders need
	have    indexSums
	// wantTimers are the keys of the timers of invitations.
	wantTimers   [][]byte
	timersSorted bool
	blocks       map[string]int // orders in each block of a queue
	prefix       []byte         // of the last key in people or addresses
	units        int            // so far under that prefix
	confirmQueue confirmQueue   // less the forms so far
	scratch      []byte
	// The present order and its decoder, here so that an order needs no memory of its own.
	order   storedOrder
	decoder decoder
}

// indexSums are the pairs of the indexes.
type indexSums struct{ ids, people, addresses, queue, outbox pairSum }

// pairSum is a set of pairs: their number and the sum of their hashes.
type pairSum struct {
	pairs int
	sum   uint64
}

// saleTally holds a sale's counters, recounted from its orders.
type saleTally struct {
	sold, held, waiting, interested int64
}

func newRecount() *recountState { return &recountState{blocks: map[string]int{}} }

// addPair adds the next pair of a bucket. It keeps neither slice.
func (r *recountState) addPair(name string, k, v []byte) error {
	err := r.checkPair(name, k, v)
	if err != nil {
		return fmt.Errorf("%w: recounting: %w", ErrBroken, err)
	}
	return nil
}

func (r *recountState) checkPair(name string, k, v []byte) (err error) {
	switch name {
	case bucketMeta:
		r.meta, err = decodeMeta(v)
	case bucketSales:
		var s *storedSale
		if s, err = decodeSale(binary.BigEndian.Uint16(k), v); err == nil && int(s.number) != len(r.sales) {
			err = fmt.Errorf("the sales are not numbered in order")
		}
		r.sales, r.tallies = append(r.sales, s), append(r.tallies, saleTally{})
	case bucketOrders:
		err = r.countOrder(k, v)
	case bucketIDs:
		r.addToSum(&r.have.ids, name, k, v)
	case bucketPeople:
		if len(k) != 27 && len(k) != 43 {
			return fmt.Errorf("an entry of people cannot be read")
		}
		r.addToSum(&r.have.people, name, k, v)
		err = r.checkLimit(name, k[:19], binary.BigEndian.Uint16(k[16:]), int(binary.BigEndian.Uint32(v[1:])))
	case bucketAddresses:
		r.addToSum(&r.have.addresses, name, k, v)
		// Who has confirmed by mail is not refused for a neighbour's order: see verifyLimit.
		if sale := binary.BigEndian.Uint16(k); int(sale) >= len(r.sales) || r.sales[sale].Confirm == 0 {
			err = r.checkLimit(name, k[:18], sale, int(binary.BigEndian.Uint32(v)))
		}
	case bucketQueue:
		r.addToSum(&r.have.queue, name, k, v)
		r.blocks[string(blockKey(binary.BigEndian.Uint16(k), uint32(binary.BigEndian.Uint64(k[2:])/queueBlockSize)))]++
	case bucketQueueBlocks:
		if r.blocks[string(k)] != int(binary.BigEndian.Uint32(v)) {
			return fmt.Errorf("the count of a queue's block is wrong")
		}
		delete(r.blocks, string(k))
	case bucketTimers:
		err = r.checkTimer(k)
	case bucketOutbox:
		r.addToSum(&r.have.outbox, name, k, v)
	case bucketOperations:
		if len(v) <= 8 {
			return fmt.Errorf("the record of an operator's command cannot be read")
		}
	case bucketRestore:
		if bytes.HasPrefix(k, []byte(mailTimesKey)) && (len(k) < len(mailTimesKey)+17 || len(k) > len(mailTimesKey)+34 || len(v)%8 != 0 || len(v) > 8*maxMailTimes) {
			return fmt.Errorf("the times of an address's mails cannot be read")
		}
		if string(k) == confirmQueueKey {
			_, err = binary.Decode(v, binary.BigEndian, &r.confirmQueue)
		} else if bytes.HasPrefix(k, []byte(waitingFormKey)) {
			if r.confirmQueue.Waiting--; len(k) != len(waitingForm(0, 0)) || len(v) != 8 {
				return fmt.Errorf("a form that waits cannot be read")
			}
		}
	}
	return err
}

// addToSum adds a pair to a sum, without its fingerprints.
func (r *recountState) addToSum(sum *pairSum, name string, k, v []byte) {
	switch name {
	case bucketPeople:
		r.scratch = append(append(r.scratch[:0], k[16:19]...), k[len(k)-8:]...)
		r.scratch = append(r.scratch, v[:5]...)
		k, v = r.scratch, nil
	case bucketAddresses:
		r.scratch = append(append(r.scratch[:0], k[:2]...), k[18:]...)
		r.scratch = append(r.scratch, v...)
		k, v = r.scratch, nil
	}
	r.scratch = append(append(r.scratch[:0], k...), v...)
	sum.pairs++
	sum.sum += xxhash.Sum64(r.scratch)
}

// countOrder counts an order, and the keys that it needs.
func (r *recountState) countOrder(k, v []byte) error {
	o := &r.order
	*o, r.decoder = storedOrder{}, decoder{data: v, skipsTexts: true}
	if err := o.decode(&r.decoder); err != nil {
		return err
	}
	if int(o.sale) >= len(r.sales) || binary.BigEndian.Uint64(k) != o.Number || o.Number > r.meta.orders {
		return fmt.Errorf("order number %d has the wrong key", o.Number)
	}
	s, t := r.sales[o.sale], &r.tallies[o.sale]
	o.deriveFields(s)
	t.sold += o.unitsSold()
	t.held += o.unitsHeld()
	r.addToSum(&r.want.ids, bucketIDs, uint64Key(uint64(o.ID)), uint64Key(o.Number))
	if o.State != StateErased {
		r.addToSum(&r.want.people, bucketPeople, personKey(o), personValue(o))
	}
	if s.LimitByAddress && o.isLive() {
		r.addToSum(&r.want.addresses, bucketAddresses, addressKey(o), uint32Value(o.Quantity))
	}
	if o.isQueued() {
		r.addToSum(&r.want.queue, bucketQueue, saleKey(o.sale, o.queueNumber), uint64Key(o.Number))
		if o.Kind == KindInterest {
			t.interested++
		} else {
			t.waiting++
		}
	}
	if o.webhookJob != 0 {
		r.addToSum(&r.want.outbox, bucketOutbox, outboxKey(QueueWebhook, o.webhookSince, o.Number), []byte{byte(o.webhookJob)})
	}
	if o.mailJob != 0 {
		r.addToSum(&r.want.outbox, bucketOutbox, outboxKey(QueueMail, o.mailSince, o.Number), []byte{byte(o.mailJob)})
	}
	if o.hasTimer() {
		r.wantTimers = append(r.wantTimers, timerKey(toMillis(o.Until), o.Number))
	}
	return nil
}

// checkLimit adds up the units of each person and each address: keys with the same prefix
// are adjacent.
func (r *recountState) checkLimit(name string, prefix []byte, sale uint16, units int) error {
	if int(sale) >= len(r.sales) {
		return fmt.Errorf("%s has a sale that does not exist", name)
	}
	if !bytes.Equal(r.prefix, prefix) { // the two buckets have prefixes of different lengths
		r.prefix, r.units = append(r.prefix[:0], prefix...), 0
	}
	r.units += units
	if s := r.sales[sale]; r.units > s.Limit && !s.overLimit {
		return fmt.Errorf("%s: an entry in %s exceeds the limit", r.sales[sale].Product, name)
	}
	return nil
}

// checkTimer finds invitations without a timer: those that would be before this one.
func (r *recountState) checkTimer(k []byte) error {
	if len(r.wantTimers) == 0 {
		return nil
	}
	if !r.timersSorted {
		slices.SortFunc(r.wantTimers, bytes.Compare)
		r.timersSorted = true
	}
	switch bytes.Compare(r.wantTimers[0], k) {
	case -1:
		return fmt.Errorf("an invitation or an unconfirmed order has no timer")
	case 0:
		r.wantTimers = r.wantTimers[1:]
	}
	return nil
}

// compareTotals compares what all pairs add up to. It looks up the orders of the ballots in tx.
func (r *recountState) compareTotals(tx *bbolt.Tx) error {
	for _, check := range []func(*bbolt.Tx) error{r.checkCounters, r.checkSums, r.checkBallotEntries} {
		if err := check(tx); err != nil {
			return fmt.Errorf("%w: recounting: %w", ErrBroken, err)
		}
	}
	return nil
}

func (r *recountState) checkCounters(*bbolt.Tx) error {
	for i, s := range r.sales {
		if err := s.checkCounters(); err != nil {
			return err
		}
		t := r.tallies[i]
		if t.sold != s.Sold || t.held != s.Held || t.waiting != int64(s.Waiting) || t.interested != int64(s.Interested) {
			return fmt.Errorf("%s: orders have sold %d, held %d, waiting %d, interested %d; the sale has %d, %d, %d, %d",
				s.Product, t.sold, t.held, t.waiting, t.interested, s.Sold, s.Held, s.Waiting, s.Interested)
		}
	}
	return nil
}

func (r *recountState) checkSums(*bbolt.Tx) error {
	have, want := &r.have, &r.want
	for name, sums := range map[string][2]pairSum{
		bucketIDs: {have.ids, want.ids}, bucketPeople: {have.people, want.people}, bucketAddresses: {have.addresses, want.addresses},
		bucketQueue: {have.queue, want.queue}, bucketOutbox: {have.outbox, want.outbox},
	} {
		if sums[0].pairs != sums[1].pairs {
			return fmt.Errorf("%s has %d keys, the orders need %d", name, sums[0].pairs, sums[1].pairs)
		} else if sums[0] != sums[1] {
			return fmt.Errorf("%s does not agree with the orders", name)
		}
	}
	switch {
	case len(r.wantTimers) > 0:
		return fmt.Errorf("an invitation or an unconfirmed order has no timer")
	case r.confirmQueue.Waiting != 0:
		return fmt.Errorf("the count of the forms that wait is wrong by %d", r.confirmQueue.Waiting)
	case len(r.blocks) > 0:
		return fmt.Errorf("%d blocks of queues are not counted", len(r.blocks))
	}
	return nil
}

// checkBallotEntries compares the ballots' entries with the orders.
func (r *recountState) checkBallotEntries(tx *bbolt.Tx) error {
	counts := make([]int, len(r.sales))
	numbers := tx.Bucket([]byte(bucketOrders))
	cur := tx.Bucket([]byte(bucketBallotEntries)).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		sale := binary.BigEndian.Uint16(k)
		data := numbers.Get(uint64Key(binary.BigEndian.Uint64(v)))
		if data == nil || int(sale) >= len(counts) {
			return fmt.Errorf("a ballot has an entry that is not an order")
		}
		o, err := decodeOrder(data)
		if err != nil {
			return err
		}
		if o.Kind != KindEntry || o.sale != sale || uint64(o.ID) != binary.BigEndian.Uint64(k[2:]) ||
			o.Quantity != int(binary.BigEndian.Uint32(v[8:])) {
			return fmt.Errorf("order %s: its ballot entry does not agree with it", o.ID)
		}
		counts[sale]++
	}
	for i, s := range r.sales {
		if s.Entries != counts[i] {
			return fmt.Errorf("%s: the ballot has %d entries, the sale has %d", s.Product, counts[i], s.Entries)
		}
	}
	return nil
}
