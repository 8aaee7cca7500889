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

// The reading methods show the book as last applied on this board. Those about sales and
// news do not touch the disk; the others read the working copy, mostly from the page
// cache.

// Sale is the sale of a product.
func (b *Book) Sale(product string) (Sale, bool) {
	for _, s := range b.view.Load().sales {
		if s.Product == product {
			return s, true
		}
	}
	return Sale{}, false
}

// Sales are all sales, in the order of their offers.
func (b *Book) Sales() []Sale { return slices.Clone(b.view.Load().sales) }

// News are the announcements, newest first, at most MaxNews.
func (b *Book) News() []News { return slices.Clone(b.view.Load().news) }

// Due is the next moment at which a Tick changes something; false if nothing waits for
// the clock. Where it has passed, a Tick is due now.
func (b *Book) Due() (at time.Time, ok bool) {
	v := b.view.Load()
	return v.due, v.isDue
}

// Paper is a paper by its reference. The error is ErrNoPaper, or the working copy's.
func (b *Book) Paper(id ID) (Paper, error) {
	var found Paper
	err := b.read(func(r *reading) error {
		p, err := r.paper(id)
		if err == nil {
			found = p.Paper
		}
		return err
	})
	return found, err
}

// Position is a paper's place in its queue, from 1, and how many the queue has. The error
// is ErrNoPaper, ErrNoPlace if the paper is not (any more) in a queue, or the working
// copy's.
func (b *Book) Position(id ID) (place, of int, err error) {
	err = b.read(func(r *reading) error {
		p, err := r.paper(id)
		if err != nil {
			return err
		}
		if !p.queued() {
			return ErrNoPlace
		}
		s, err := r.sale(p.sale)
		if err != nil {
			return err
		}
		place, of = position(r.tx, p), s.Waiting+s.Interested
		return nil
	})
	return place, of, err
}

// Papers lists papers in the order of their arrival, after the paper with the number
// after (0: from the first one). It looks at at most a few thousand papers at a time, so
// that no call is long: a list may be short or empty and yet not the last. next is what
// to give as after the next time, or 0 if there are no more.
func (b *Book) Papers(f Filter, after uint64, limit int) (papers []Paper, next uint64, err error) {
	const look = 4096
	limit = min(max(limit, 1), MaxPage)
	err = b.read(func(r *reading) error {
		c := r.bucket(bucketPapers).Cursor()
		looked := 0
		for k, v := c.Seek(key8(after + 1)); k != nil; k, v = c.Next() {
			if len(papers) == limit || looked == look {
				next = after
				return nil
			}
			p, err := r.decode(v)
			if err != nil {
				return err
			}
			if f.passes(&p.Paper) {
				papers = append(papers, p.Paper)
			}
			looked++
			after = p.Number
		}
		return nil
	})
	return papers, next, err
}

func (f *Filter) passes(p *Paper) bool {
	return (f.Product == "" || f.Product == p.Product) && (f.Kind == 0 || f.Kind == p.Kind) &&
		(f.State == 0 || f.State == p.State)
}

// Audit lists what operators changed, oldest first, after the change with the number
// after (0: from the first one kept), at most limit and MaxPage.
func (b *Book) Audit(after uint64, limit int) ([]Change, error) {
	limit = min(max(limit, 1), MaxPage)
	var list []Change
	err := b.read(func(r *reading) error {
		c := r.bucket(bucketAudit).Cursor()
		for k, v := c.Seek(key8(after + 1)); k != nil && len(list) < limit; k, v = c.Next() {
			d := reader{data: v}
			change := Change{Number: binary.BigEndian.Uint64(k), At: d.time(), Who: d.text(), What: d.text()}
			if !d.done() {
				return fmt.Errorf("%w: a line of the trail cannot be read", ErrBroken)
			}
			list = append(list, change)
		}
		return nil
	})
	return list, err
}

// Outbox lists the jobs of a queue that are due at a moment, those due first before the
// others, after a job that was listed before (the zero Job: from the first one), at most
// limit and MaxPage. A job stays until HandedOver or Mailed removes it, or its paper is
// cancelled or forgotten.
func (b *Book) Outbox(q Queue, now time.Time, after Job, limit int) ([]Job, error) {
	limit = min(max(limit, 1), MaxPage)
	from := []byte{byte(q)}
	if after.Paper.Number != 0 {
		from = outboxKey(q, millis(after.Since), after.Paper.Number+1)
	}
	var jobs []Job
	err := b.read(func(r *reading) error {
		c := r.bucket(bucketOutbox).Cursor()
		for k, v := c.Seek(from); k != nil && k[0] == byte(q) && len(jobs) < limit; k, v = c.Next() {
			since := int64(binary.BigEndian.Uint64(k[1:]))
			if since > now.UnixMilli() {
				break
			}
			p, err := r.numbered(binary.BigEndian.Uint64(k[9:]))
			if err != nil {
				return err
			}
			jobs = append(jobs, Job{What: What(v[0]), Since: moment(since), Paper: p.Paper})
		}
		return nil
	})
	return jobs, err
}

// Draw is what is published about a product's draw. It holds all entries in memory: about
// 100 bytes each. The error is ErrNoSale, ErrNoDraw until the draw is done, or the
// working copy's.
func (b *Book) Draw(product string) (draw.File, error) {
	var f draw.File
	err := b.read(func(r *reading) error {
		s, err := r.named(product)
		switch {
		case err != nil:
			return err
		case s.Draw.At.IsZero():
			return ErrNoDraw
		}
		f = draw.File{
			Version: 1, Product: s.Product, Opens: s.Opens, Closes: s.Closes, Stock: s.Draw.Stock,
			Commitment: s.Draw.Commitment, Secret: hex.EncodeToString(s.secret[:]), Public: s.Draw.Public,
			Entries: make([]draw.Entry, 0, s.Entries),
		}
		won := 0
		prefix := key2(s.number)
		c := r.bucket(bucketPot).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			f.Entries = append(f.Entries, draw.Entry{
				Reference: ID(binary.BigEndian.Uint64(k[2:])).String(),
				Quantity:  int(binary.BigEndian.Uint32(v[8:])),
			})
			won += int(v[12])
		}
		f.Winners, f.Losers = draw.Run(s.seed, f.Entries, f.Stock)
		if won != len(f.Winners) || won != s.Draw.Winners {
			return fmt.Errorf("%w: %s: the draw gives %d winners, the book has %d", ErrBroken, product, len(f.Winners), won)
		}
		return nil
	})
	return f, err
}

// read runs fn in a read transaction.
func (b *Book) read(fn func(*reading) error) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.db == nil {
		return ErrClosed
	}
	return b.db.View(func(tx *bbolt.Tx) error { return fn(&reading{tx: tx}) })
}

// reading is a read transaction and what was looked up in it.
type reading struct {
	tx    *bbolt.Tx
	sales [MaxSales]*sale
}

func (r *reading) bucket(name string) *bbolt.Bucket { return r.tx.Bucket([]byte(name)) }

func (r *reading) paper(id ID) (*paper, error) {
	number := r.bucket(bucketIDs).Get(key8(uint64(id)))
	if number == nil {
		return nil, ErrNoPaper
	}
	return r.numbered(binary.BigEndian.Uint64(number))
}

func (r *reading) numbered(number uint64) (*paper, error) {
	data := r.bucket(bucketPapers).Get(key8(number))
	if data == nil {
		return nil, fmt.Errorf("%w: an index has paper number %d, which is not there", ErrBroken, number)
	}
	return r.decode(data)
}

func (r *reading) decode(data []byte) (*paper, error) {
	p, err := decodePaper(data)
	if err != nil {
		return nil, err
	}
	s, err := r.sale(p.sale)
	if err != nil {
		return nil, err
	}
	p.Product = s.Product
	return p, nil
}

func (r *reading) sale(number uint16) (*sale, error) {
	if s := r.sales[number]; s != nil {
		return s, nil
	}
	data := r.bucket(bucketSales).Get(key2(number))
	if data == nil {
		return nil, fmt.Errorf("%w: sale number %d is not there", ErrBroken, number)
	}
	s, err := decodeSale(number, data)
	if err == nil {
		r.sales[number] = s
	}
	return s, err
}

func (r *reading) named(product string) (*sale, error) {
	for n := range uint16(MaxSales) {
		if r.bucket(bucketSales).Get(key2(n)) == nil {
			break
		}
		s, err := r.sale(n)
		if err != nil || s.Product == product {
			return s, err
		}
	}
	return nil, ErrNoSale
}
