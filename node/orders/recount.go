package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// Recount reads the whole book as last applied and compares every counter and index with
// the orders. nil means that it does not contradict itself; otherwise the error is ErrBroken
// with the contradiction. A million orders take some seconds on a laptop.
func (b *Book) Recount() error {
	return b.withReadTx(func(r *readTx) error {
		next := &Book{}
		if err := next.loadMemory(r.tx); err != nil {
			return err
		}
		return recountTx(r.tx, next)
	})
}

// saleTally holds a sale's counters, recounted from its orders.
type saleTally struct {
	sold, held, waiting, interested int64
}

// recountTx compares the orders in a working copy with everything else in it. b is the book
// that was loaded from it.
func recountTx(tx *bbolt.Tx, b *Book) error {
	c := recountState{tx: tx, b: b, wantKeys: map[string]int{}, sales: make([]saleTally, len(b.sales))}
	steps := []func() error{c.countOrders, c.checkCounters, c.checkSizes, c.checkLimits, c.checkQueues, c.checkBallotEntries}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("%w: recounting: %w", ErrBroken, err)
		}
	}
	return nil
}

// recountState is a recount in progress.
type recountState struct {
	tx       *bbolt.Tx
	b        *Book
	sales    []saleTally
	wantKeys map[string]int // number of keys that each bucket should have
}

func (r *recountState) bucket(name string) *bbolt.Bucket { return r.tx.Bucket([]byte(name)) }

// expectKey counts a key that a bucket should have, and checks that it is there.
func (r *recountState) expectKey(name string, key, value []byte) error {
	r.wantKeys[name]++
	if v := r.bucket(name).Get(key); v == nil || !bytes.Equal(v, value) {
		return fmt.Errorf("%s does not agree with an order", name)
	}
	return nil
}

func (r *recountState) countOrders() error {
	cur := r.bucket(bucketOrders).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		o, err := decodeOrder(v)
		if err != nil {
			return err
		}
		if int(o.sale) >= len(r.b.sales) || !bytes.Equal(k, uint64Key(o.Number)) || o.Number > r.b.meta.orders {
			return fmt.Errorf("order number %d has the wrong key", o.Number)
		}
		r.wantKeys[bucketOrders]++
		if err := r.countOrder(o); err != nil {
			return fmt.Errorf("order %s: %w", o.ID, err)
		}
	}
	return nil
}

func (r *recountState) countOrder(o *storedOrder) error {
	s, t := r.b.sales[o.sale], &r.sales[o.sale]
	t.sold += o.unitsSold()
	t.held += o.unitsHeld()
	errs := []error{r.expectKey(bucketIDs, uint64Key(uint64(o.ID)), uint64Key(o.Number))}
	if o.State != StateErased {
		o.computeFingerprints()
		errs = append(errs, r.expectKey(bucketPeople, personKey(o), personValue(o)))
	}
	if s.LimitByAddress && o.isLive() {
		errs = append(errs, r.expectKey(bucketAddresses, addressKey(o), uint32Value(o.Quantity)))
	}
	if o.isQueued() {
		errs = append(errs, r.expectKey(bucketQueue, saleKey(o.sale, o.queueNumber), uint64Key(o.Number)))
		if o.Kind == KindInterest {
			t.interested++
		} else {
			t.waiting++
		}
	}
	if s.webhook && o.awaitsFulfilment() {
		errs = append(errs, r.expectKey(bucketOutbox, outboxKey(QueueWebhook, toMillis(o.Ready), o.Number), []byte{byte(JobWebhook)}))
	}
	if o.mailJob != 0 {
		errs = append(errs, r.expectKey(bucketOutbox, outboxKey(QueueMail, o.mailSince, o.Number), []byte{byte(o.mailJob)}))
	}
	if o.State == StateInvited && r.bucket(bucketTimers).Get(timerKey(toMillis(o.Until), o.Number)) == nil {
		errs = append(errs, fmt.Errorf("its invitation has no timer"))
	}
	return firstError(errs...)
}

func (r *recountState) checkCounters() error {
	for i, s := range r.b.sales {
		if err := s.checkCounters(); err != nil {
			return err
		}
		t := r.sales[i]
		if t.sold != s.Sold || t.held != s.Held || t.waiting != int64(s.Waiting) || t.interested != int64(s.Interested) {
			return fmt.Errorf("%s: orders have sold %d, held %d, waiting %d, interested %d; the sale has %d, %d, %d, %d",
				s.Product, t.sold, t.held, t.waiting, t.interested, s.Sold, s.Held, s.Waiting, s.Interested)
		}
	}
	return nil
}

// checkSizes finds keys that belong to no order.
func (r *recountState) checkSizes() error {
	for _, name := range []string{bucketOrders, bucketIDs, bucketPeople, bucketAddresses, bucketQueue, bucketOutbox} {
		n := 0
		cur := r.bucket(name).Cursor()
		for k, _ := cur.First(); k != nil; k, _ = cur.Next() {
			n++
		}
		if n != r.wantKeys[name] {
			return fmt.Errorf("%s has %d keys, the orders need %d", name, n, r.wantKeys[name])
		}
	}
	return nil
}

// checkLimits adds up the units of each person and each address: keys with the same prefix
// are adjacent.
func (r *recountState) checkLimits() error {
	err := r.checkPrefixSums(bucketPeople, 19, func(k, v []byte) (uint16, int) {
		return binary.BigEndian.Uint16(k[16:]), int(binary.BigEndian.Uint32(v[1:]))
	})
	if err != nil {
		return err
	}
	return r.checkPrefixSums(bucketAddresses, 18, func(k, v []byte) (uint16, int) {
		return binary.BigEndian.Uint16(k), int(binary.BigEndian.Uint32(v))
	})
}

func (r *recountState) checkPrefixSums(name string, prefix int, of func(k, v []byte) (sale uint16, units int)) error {
	var last []byte
	sum := 0
	cur := r.bucket(name).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		sale, units := of(k, v)
		if int(sale) >= len(r.b.sales) {
			return fmt.Errorf("%s has a sale that does not exist", name)
		}
		if !bytes.Equal(last, k[:prefix]) {
			last, sum = k[:prefix], 0
		}
		sum += units
		if sum > r.b.sales[sale].Limit {
			return fmt.Errorf("%s: an entry in %s exceeds the limit", r.b.sales[sale].Product, name)
		}
	}
	return nil
}

// checkQueues compares the blocks with the queue.
func (r *recountState) checkQueues() error {
	blocks := map[string]int{}
	cur := r.bucket(bucketQueue).Cursor()
	for k, _ := cur.First(); k != nil; k, _ = cur.Next() {
		number := binary.BigEndian.Uint64(k[2:])
		blocks[string(blockKey(binary.BigEndian.Uint16(k), uint32(number/queueBlockSize)))]++
	}
	n := 0
	cur = r.bucket(bucketQueueBlocks).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if blocks[string(k)] != int(binary.BigEndian.Uint32(v)) {
			return fmt.Errorf("the count of a queue's block is wrong")
		}
		n++
	}
	if n != len(blocks) {
		return fmt.Errorf("the queues have %d blocks, %d are counted", len(blocks), n)
	}
	return nil
}

// checkBallotEntries compares the ballots' entries with the orders.
func (r *recountState) checkBallotEntries() error {
	counts := make([]int, len(r.b.sales))
	cur := r.bucket(bucketBallotEntries).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		sale := binary.BigEndian.Uint16(k)
		data := r.bucket(bucketOrders).Get(uint64Key(binary.BigEndian.Uint64(v)))
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
	for i, s := range r.b.sales {
		if s.Entries != counts[i] {
			return fmt.Errorf("%s: the ballot has %d entries, the sale has %d", s.Product, counts[i], s.Entries)
		}
	}
	return nil
}
