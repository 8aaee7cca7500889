package orders

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"bramble/node/orders/draw"
)

// The reading methods return the book's state after the last Apply on this board. Those about sales
// and news do not touch the disk; the others read the working copy, mostly from the page cache.

// Sale returns the sale of a product.
func (b *Book) Sale(product string) (Sale, bool) {
	v := b.readModel.Load()
	if n, ok := v.numbers[product]; ok {
		return *v.sales[n], true
	}
	return Sale{}, false
}

// Sales returns all sales that are not retired, in the order of their offers.
func (b *Book) Sales() []Sale { return b.listSales(false) }

// RetiredSales returns the retired sales, in the order of their offers.
func (b *Book) RetiredSales() []Sale { return b.listSales(true) }

func (b *Book) listSales(retired bool) []Sale {
	var list []Sale
	for _, s := range b.readModel.Load().sales {
		if s.Retired == retired {
			list = append(list, *s)
		}
	}
	return list
}

// HasRoom reports whether the book can take the offer of another product, if the ledger is at a version of
// the rules.
func (b *Book) HasRoom(rules uint32) bool {
	v := b.readModel.Load()
	return len(v.sales) < rulesOf(min(max(rules, v.rules), MaxRules)).maxSales
}

// News returns the announcements, newest first, at most MaxNews.
func (b *Book) News() []News { return slices.Clone(b.readModel.Load().news) }

// Due returns the next moment at which a Tick changes something; false if nothing waits for
// the clock. If it has passed, a Tick is due now.
func (b *Book) Due() (at time.Time, ok bool) {
	v := b.readModel.Load()
	return v.nextDue, v.hasDue
}

// Order returns an order by its reference. The error is ErrNoOrder, or the working copy's.
func (b *Book) Order(id ID) (Order, error) {
	var found Order
	err := b.withReadTx(func(r *readTx) error {
		o, err := r.orderByID(id)
		if err == nil {
			found = o.Order
		}
		return err
	})
	return found, err
}

// Position returns an order's position in its queue, from 1, and the length of the queue. The
// error is ErrNoOrder, ErrNotQueued if the order is in no queue, or the working copy's.
func (b *Book) Position(id ID) (position, length int, err error) {
	err = b.withReadTx(func(r *readTx) error {
		o, err := r.orderByID(id)
		if err != nil {
			return err
		}
		if !o.isQueued() {
			return ErrNotQueued
		}
		s, err := r.saleByNumber(o.sale)
		if err != nil {
			return err
		}
		position, length = queuePosition(r.tx, o), s.Waiting+s.Interested
		return nil
	})
	return position, length, err
}

// Orders lists orders in the order of their arrival, after the order with the number after
// (0: from the first one). It reads at most a few thousand orders per call, so that no call
// takes long: a list may be short or even empty although more follow. next is the after of the
// next call, or 0 if there are no more.
func (b *Book) Orders(f Filter, after uint64, limit int) (found []Order, next uint64, err error) {
	const maxRead = 4096
	limit = min(max(limit, 1), MaxPage)
	err = b.withReadTx(func(r *readTx) error {
		c := r.bucket(bucketOrders).Cursor()
		read := 0
		for k, v := c.Seek(uint64Key(after + 1)); k != nil; k, v = c.Next() {
			if len(found) == limit || read == maxRead {
				next = after
				return nil
			}
			o, err := r.decodeOrder(v)
			if err != nil {
				return err
			}
			if f.matches(&o.Order) {
				found = append(found, o.Order)
			}
			read++
			after = o.Number
		}
		return nil
	})
	return found, next, err
}

func (f *Filter) matches(o *Order) bool {
	return (f.Product == "" || f.Product == o.Product) && (f.Kind == 0 || f.Kind == o.Kind) &&
		(f.State == 0 || f.State == o.State)
}

// Audit lists the audit trail, oldest first, after the entry with the number after (0: from
// the oldest stored one), at most limit and MaxPage.
func (b *Book) Audit(after uint64, limit int) ([]AuditEntry, error) {
	limit = min(max(limit, 1), MaxPage)
	var list []AuditEntry
	err := b.withReadTx(func(r *readTx) error {
		c := r.bucket(bucketAudit).Cursor()
		for k, v := c.Seek(uint64Key(after + 1)); k != nil && len(list) < limit; k, v = c.Next() {
			change, ok := decodeAudit(k, v)
			if !ok {
				return fmt.Errorf("%w: an entry of the audit trail cannot be read", ErrBroken)
			}
			list = append(list, change)
		}
		return nil
	})
	return list, err
}

// maxDelay is longer than any delay of fulfilment in a catalogue. A job that is due even later
// was queued before an operator set the ledger's clock back: it does not wait for that time.
const maxDelay = 100 * 24 * time.Hour

// Outbox lists the jobs of a queue that are due at a moment, oldest first, after a job that
// was listed before (the zero Job: from the first one), at most limit and MaxPage. A job
// stays until FinishFulfilment or FinishMail removes it, or its order is cancelled or
// erased.
func (b *Book) Outbox(q Queue, now time.Time, after Job, limit int) ([]Job, error) {
	limit = min(max(limit, 1), MaxPage)
	from := []byte{byte(q)}
	if after.Order.Number != 0 {
		from = outboxKey(q, toMillis(after.Since), after.Order.Number+1)
	}
	var jobs []Job
	err := b.withReadTx(func(r *readTx) error {
		c := r.bucket(bucketOutbox).Cursor()
		for k, v := c.Seek(from); k != nil && k[0] == byte(q) && len(jobs) < limit; k, v = c.Next() {
			since := int64(binary.BigEndian.Uint64(k[1:]))
			if since > now.UnixMilli() {
				if due := now.Add(maxDelay).UnixMilli(); since <= due {
					if k, v = c.Seek(outboxKey(q, due+1, 0)); k == nil || k[0] != byte(q) {
						break
					}
					since = int64(binary.BigEndian.Uint64(k[1:]))
				}
			}
			o, err := r.orderByNumber(binary.BigEndian.Uint64(k[9:]))
			if err != nil {
				return err
			}
			jobs = append(jobs, Job{Kind: JobKind(v[0]), Since: fromMillis(since), Order: o.Order})
		}
		return nil
	})
	return jobs, err
}

// Draw returns the published record of a product's draw, as far as it is public. It builds the list of all entries in
// memory, about 100 bytes each. The error is ErrNoSale, ErrNoDraw if the product is no ballot, or one of version 1 whose draw is not
// done, or the working copy's.
func (b *Book) Draw(product string) (draw.File, error) {
	var f draw.File
	err := b.withSaleTx(product, func(r *readTx, s *storedSale) error {
		isDrawn := !s.Draw.At.IsZero()
		if s.Mode != Ballot || s.Draw.Version < 2 && !isDrawn {
			return ErrNoDraw
		}
		f = s.DrawFile()
		if !isDrawn && f.List == "" {
			return nil
		}
		f.Entries = make([]draw.Entry, 0, s.Entries)
		won := 0
		prefix := uint16Key(s.number)
		c := r.bucket(bucketBallotEntries).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			f.Entries = append(f.Entries, draw.Entry{
				Reference: ID(binary.BigEndian.Uint64(k[2:])).String(),
				Quantity:  int(binary.BigEndian.Uint32(v[8:])),
			})
			won += int(v[12])
		}
		if !isDrawn {
			return nil
		}
		f.Secret = hex.EncodeToString(s.secret[:])
		f.Winners, f.Losers = draw.Run(s.seed, f.Entries, f.Stock)
		if won != len(f.Winners) || won != s.Draw.Winners {
			return fmt.Errorf("%w: %s: the draw has %d winners, the book has %d", ErrBroken, product, len(f.Winners), won)
		}
		return nil
	})
	return f, err
}

func (b *Book) withReadTx(fn func(*readTx) error) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.db == nil {
		return ErrClosed
	}
	numbers := b.readModel.Load().numbers // before the transaction, so that it has these sales
	return b.db.View(func(tx *bbolt.Tx) error {
		return fn(&readTx{tx: tx, numbers: numbers, sales: map[uint16]*storedSale{}})
	})
}

// withSaleTx is withReadTx for what is about one sale.
func (b *Book) withSaleTx(product string, fn func(*readTx, *storedSale) error) error {
	return b.withReadTx(func(r *readTx) error {
		n, ok := r.numbers[product]
		if !ok {
			return ErrNoSale
		}
		s, err := r.saleByNumber(n)
		if err != nil {
			return err
		}
		return fn(r, s)
	})
}

// readTx is a read transaction, with the sales that it has read.
type readTx struct {
	tx      *bbolt.Tx
	numbers map[string]uint16
	sales   map[uint16]*storedSale
}

func (r *readTx) bucket(name string) *bbolt.Bucket { return r.tx.Bucket([]byte(name)) }

func (r *readTx) orderByID(id ID) (*storedOrder, error) {
	number := r.bucket(bucketIDs).Get(uint64Key(uint64(id)))
	if number == nil {
		return nil, ErrNoOrder
	}
	return r.orderByNumber(binary.BigEndian.Uint64(number))
}

func (r *readTx) orderByNumber(number uint64) (*storedOrder, error) {
	data := r.bucket(bucketOrders).Get(uint64Key(number))
	if data == nil {
		return nil, fmt.Errorf("%w: an index has order number %d, which is missing", ErrBroken, number)
	}
	return r.decodeOrder(data)
}

func (r *readTx) decodeOrder(data []byte) (*storedOrder, error) {
	o, err := decodeOrder(data)
	if err != nil {
		return nil, err
	}
	s, err := r.saleByNumber(o.sale)
	if err != nil {
		return nil, err
	}
	o.deriveFields(s)
	return o, nil
}

func (r *readTx) saleByNumber(number uint16) (*storedSale, error) {
	if s := r.sales[number]; s != nil {
		return s, nil
	}
	data := r.bucket(bucketSales).Get(uint16Key(number))
	if data == nil {
		return nil, fmt.Errorf("%w: sale number %d is missing", ErrBroken, number)
	}
	s, err := decodeSale(number, data)
	if err == nil {
		r.sales[number] = s
	}
	return s, err
}
