package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// Recount goes through the whole book as last applied and compares every counter and
// index with the papers. nil means that it does not contradict itself; otherwise the
// error is ErrBroken with what was found. A million papers take some seconds on a laptop.
func (b *Book) Recount() error {
	return b.read(func(r *reading) error {
		next := &Book{}
		if err := next.load(r.tx); err != nil {
			return err
		}
		return recount(r.tx, next)
	})
}

// tally is what the papers say that a sale's counters and indexes should have.
type tally struct {
	sold, held, waiting, interested int64
}

// recount compares the papers in a working copy with everything else in it. b is what was
// loaded from it.
func recount(tx *bbolt.Tx, b *Book) error {
	c := counting{tx: tx, b: b, want: map[string]int{}, sales: make([]tally, len(b.sales))}
	steps := []func() error{c.papers, c.counters, c.sizes, c.limits, c.queues, c.pots}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("%w: counting again: %w", ErrBroken, err)
		}
	}
	return nil
}

// counting is a recount under way.
type counting struct {
	tx    *bbolt.Tx
	b     *Book
	sales []tally
	want  map[string]int // keys that a bucket should have
}

func (c *counting) bucket(name string) *bbolt.Bucket { return c.tx.Bucket([]byte(name)) }

// has counts a key that a bucket should have, and looks whether it is there.
func (c *counting) has(name string, key, value []byte) error {
	c.want[name]++
	if v := c.bucket(name).Get(key); v == nil || !bytes.Equal(v, value) {
		return fmt.Errorf("%s does not agree with a paper", name)
	}
	return nil
}

func (c *counting) papers() error {
	cur := c.bucket(bucketPapers).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		p, err := decodePaper(v)
		if err != nil {
			return err
		}
		if int(p.sale) >= len(c.b.sales) || !bytes.Equal(k, key8(p.Number)) || p.Number > c.b.meta.papers {
			return fmt.Errorf("paper number %d is not where it should be", p.Number)
		}
		c.want[bucketPapers]++
		if err := c.paper(p); err != nil {
			return fmt.Errorf("paper %s: %w", p.ID, err)
		}
	}
	return nil
}

func (c *counting) paper(p *paper) error {
	s, t := c.b.sales[p.sale], &c.sales[p.sale]
	t.sold += p.sold()
	t.held += p.held()
	errs := []error{c.has(bucketIDs, key8(uint64(p.ID)), key8(p.Number))}
	if p.State != StateForgotten {
		p.fill()
		errs = append(errs, c.has(bucketPeople, personKey(p), personValue(p)))
	}
	if s.LimitByAddress && p.live() {
		errs = append(errs, c.has(bucketAddresses, addressKey(p), value4(p.Quantity)))
	}
	if p.queued() {
		errs = append(errs, c.has(bucketQueue, saleKey(p.sale, p.place), key8(p.Number)))
		if p.Kind == KindInterest {
			t.interested++
		} else {
			t.waiting++
		}
	}
	if s.webhook && p.toSend() {
		errs = append(errs, c.has(bucketOutbox, outboxKey(QueueWebhook, millis(p.Ready), p.Number), []byte{byte(JobWebhook)}))
	}
	if p.mail != 0 {
		errs = append(errs, c.has(bucketOutbox, outboxKey(QueueMail, p.since, p.Number), []byte{byte(p.mail)}))
	}
	if p.State == StateInvited && c.bucket(bucketTimers).Get(timerKey(millis(p.Until), p.Number)) == nil {
		errs = append(errs, fmt.Errorf("its invitation has no end"))
	}
	return first(errs...)
}

func (c *counting) counters() error {
	for i, s := range c.b.sales {
		if err := s.check(); err != nil {
			return err
		}
		t := c.sales[i]
		if t.sold != s.Sold || t.held != s.Held || t.waiting != int64(s.Waiting) || t.interested != int64(s.Interested) {
			return fmt.Errorf("%s: papers have sold %d, held %d, waiting %d, interested %d; the sale says %d, %d, %d, %d",
				s.Product, t.sold, t.held, t.waiting, t.interested, s.Sold, s.Held, s.Waiting, s.Interested)
		}
	}
	return nil
}

// sizes finds keys that no paper accounts for.
func (c *counting) sizes() error {
	for _, name := range []string{bucketPapers, bucketIDs, bucketPeople, bucketAddresses, bucketQueue, bucketOutbox} {
		n := 0
		cur := c.bucket(name).Cursor()
		for k, _ := cur.First(); k != nil; k, _ = cur.Next() {
			n++
		}
		if n != c.want[name] {
			return fmt.Errorf("%s has %d keys, the papers account for %d", name, n, c.want[name])
		}
	}
	return nil
}

// limits adds up what each person and each address has: keys with the same beginning are
// next to each other.
func (c *counting) limits() error {
	err := c.runs(bucketPeople, 19, func(k, v []byte) (uint16, int) {
		return binary.BigEndian.Uint16(k[16:]), int(binary.BigEndian.Uint32(v[1:]))
	})
	if err != nil {
		return err
	}
	return c.runs(bucketAddresses, 18, func(k, v []byte) (uint16, int) {
		return binary.BigEndian.Uint16(k), int(binary.BigEndian.Uint32(v))
	})
}

func (c *counting) runs(name string, prefix int, of func(k, v []byte) (sale uint16, units int)) error {
	var last []byte
	sum := 0
	cur := c.bucket(name).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		sale, units := of(k, v)
		if int(sale) >= len(c.b.sales) {
			return fmt.Errorf("%s has a sale that is not there", name)
		}
		if !bytes.Equal(last, k[:prefix]) {
			last, sum = k[:prefix], 0
		}
		sum += units
		if sum > c.b.sales[sale].Limit {
			return fmt.Errorf("%s: somebody in %s has more than the limit", c.b.sales[sale].Product, name)
		}
	}
	return nil
}

// queues compares the blocks with the queue.
func (c *counting) queues() error {
	blocks := map[string]int{}
	cur := c.bucket(bucketQueue).Cursor()
	for k, _ := cur.First(); k != nil; k, _ = cur.Next() {
		place := binary.BigEndian.Uint64(k[2:])
		blocks[string(blockKey(binary.BigEndian.Uint16(k), uint32(place/blockSize)))]++
	}
	n := 0
	cur = c.bucket(bucketBlocks).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if blocks[string(k)] != int(binary.BigEndian.Uint32(v)) {
			return fmt.Errorf("a block of a queue is counted wrongly")
		}
		n++
	}
	if n != len(blocks) {
		return fmt.Errorf("the queues have %d blocks, %d are counted", len(blocks), n)
	}
	return nil
}

// pots compares the pots with the entries.
func (c *counting) pots() error {
	counts := make([]int, len(c.b.sales))
	cur := c.bucket(bucketPot).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		sale := binary.BigEndian.Uint16(k)
		data := c.bucket(bucketPapers).Get(key8(binary.BigEndian.Uint64(v)))
		if data == nil || int(sale) >= len(counts) {
			return fmt.Errorf("a pot has an entry that is not a paper")
		}
		p, err := decodePaper(data)
		if err != nil {
			return err
		}
		if p.Kind != KindEntry || p.sale != sale || uint64(p.ID) != binary.BigEndian.Uint64(k[2:]) ||
			p.Quantity != int(binary.BigEndian.Uint32(v[8:])) {
			return fmt.Errorf("paper %s: the pot does not agree with it", p.ID)
		}
		counts[sale]++
	}
	for i, s := range c.b.sales {
		if s.Entries != counts[i] {
			return fmt.Errorf("%s: the pot has %d entries, the sale says %d", s.Product, counts[i], s.Entries)
		}
	}
	return nil
}
