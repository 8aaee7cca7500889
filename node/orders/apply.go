package orders

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"
)

// Apply carries out one batch of commands and gives one answer for each, in one
// transaction of the working copy. index must grow by every call; at is the ledger's
// clock, cut to milliseconds and never taken to go back.
//
// A command that is nonsense is answered Malformed; it is no error. An error means that
// the book contradicts itself (ErrBroken) or cannot use its working copy. Then nothing of
// the batch is kept, and every later call gives the same error; but with ErrDisk the same
// call may be made again.
func (b *Book) Apply(index uint64, at time.Time, commands [][]byte) ([][]byte, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if b.broken != nil {
		return nil, b.broken
	}
	replies, err := b.apply(index, at, commands)
	if errors.Is(err, ErrDisk) {
		// What is in memory is ahead of the working copy.
		if again := b.reload(); again != nil {
			err = fmt.Errorf("%w; what it has cannot be read either: %w", err, again)
			b.broken = err
		}
		return nil, err
	}
	if err != nil {
		b.broken = err
		return nil, err
	}
	return replies, nil
}

// reload has the book forget what its working copy has not. What readers see stays.
func (b *Book) reload() error {
	next := &Book{}
	if err := b.db.View(next.load); err != nil {
		return err
	}
	b.meta, b.sales, b.byName = next.meta, next.sales, next.byName
	return nil
}

func (b *Book) apply(index uint64, at time.Time, commands [][]byte) ([][]byte, error) {
	if index <= b.meta.index {
		return nil, fmt.Errorf("%w: entry %d came after entry %d", ErrBroken, index, b.meta.index)
	}
	if b.db == nil {
		return nil, ErrClosed
	}
	tx, err := b.db.Begin(true)
	if err != nil {
		return nil, fmt.Errorf("orders: beginning entry %d: %w", index, err)
	}
	b.meta.index = index
	b.meta.at = max(b.meta.at, at.UnixMilli())
	a := newApply(b, tx)
	replies := make([][]byte, len(commands))
	for i, data := range commands {
		if replies[i], err = a.command(data); err != nil {
			return nil, errors.Join(fmt.Errorf("orders: entry %d, command %d: %w", index, i+1, err), tx.Rollback())
		}
	}
	if err := a.finish(replies); err != nil {
		return nil, errors.Join(fmt.Errorf("orders: entry %d: %w", index, err), tx.Rollback())
	}
	v := a.view()
	if err := b.commit(tx); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", ErrDisk, index, err)
	}
	b.view.Store(v)
	return replies, nil
}

// apply is one Apply under way.
type apply struct {
	b   *Book
	tx  *bbolt.Tx
	at  int64 // Unix milliseconds
	now time.Time
	err error // the first that a bucket gave; asked for after every command

	papers, ids, people, addresses, queue, blocks, pot *bbolt.Bucket
	tickets, timers, outbox                            *bbolt.Bucket

	byPerson, byAddress *bbolt.Cursor
}

func newApply(b *Book, tx *bbolt.Tx) *apply {
	a := &apply{b: b, tx: tx, at: b.meta.at, now: moment(b.meta.at)}
	a.papers = a.bucket(bucketPapers)
	a.ids = a.bucket(bucketIDs)
	a.people = a.bucket(bucketPeople)
	a.addresses = a.bucket(bucketAddresses)
	a.queue = a.bucket(bucketQueue)
	a.blocks = a.bucket(bucketBlocks)
	a.pot = a.bucket(bucketPot)
	a.tickets = a.bucket(bucketTickets)
	a.timers = a.bucket(bucketTimers)
	a.outbox = a.bucket(bucketOutbox)
	// Papers, places and tickets come in the order of their keys: leave no room between.
	a.papers.FillPercent = 0.95
	a.queue.FillPercent = 0.95
	a.byPerson = a.people.Cursor()
	a.byAddress = a.addresses.Cursor()
	return a
}

func (a *apply) bucket(name string) *bbolt.Bucket { return a.tx.Bucket([]byte(name)) }

func (a *apply) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// put and remove write a key; what goes wrong is kept in a.err. The value must not change
// until the transaction ends.
func (a *apply) put(to *bbolt.Bucket, key, value []byte) {
	if err := to.Put(key, value); err != nil {
		a.fail(fmt.Errorf("writing the working copy: %w", err))
	}
}

func (a *apply) remove(from *bbolt.Bucket, key []byte) {
	if err := from.Delete(key); err != nil {
		a.fail(fmt.Errorf("writing the working copy: %w", err))
	}
}

// command carries out one command and gives its encoded answer.
func (a *apply) command(data []byte) ([]byte, error) {
	c, err := DecodeCommand(data)
	if err != nil || c.Check() != nil {
		return Answer{Outcome: Malformed}.Encode(), nil
	}
	answer := a.carryOut(c, data)
	if a.err != nil {
		return nil, a.err
	}
	for _, s := range a.b.sales {
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	return answer.Encode(), nil
}

func (a *apply) carryOut(c Command, data []byte) Answer {
	switch c := c.(type) {
	case Ask:
		return a.place(&c)
	case Cancel:
		if c.By == (Operation{}) {
			return a.cancel(c)
		}
		return a.operate(c.By, data, func() (Answer, string) {
			return a.cancel(c), "cancel " + c.ID.String()
		})
	case Offer:
		return a.offer(&c, data)
	case Stock:
		return a.operateSale(c.Operation, data, c.Product, func(s *sale) (Answer, string) { return a.stock(s, c) })
	case OpenSale:
		return a.operateSale(c.Operation, data, c.Product, a.openSale)
	case CloseSale:
		return a.operateSale(c.Operation, data, c.Product, a.closeSale)
	case SetTimes:
		return a.operateSale(c.Operation, data, c.Product, func(s *sale) (Answer, string) { return a.setTimes(s, c) })
	case Announce:
		return a.operate(c.Operation, data, func() (Answer, string) { return a.announce(c) })
	case Invite:
		return a.operateSale(c.Operation, data, c.Product, func(s *sale) (Answer, string) { return a.invite(s, c) })
	case MakeDraw:
		return a.operateSale(c.Operation, data, c.Product, func(s *sale) (Answer, string) { return a.makeDraw(s, c) })
	case Handing:
		return a.handing(c)
	case HandedOver:
		return a.handedOver(c)
	case Mailed:
		return a.mailed(c)
	case Forget:
		return a.operate(c.Operation, data, func() (Answer, string) { return a.forget(c) })
	case Tick:
		return a.tick()
	}
	return Answer{Outcome: Malformed}
}

// finish writes what the whole batch changed: sales, and the book's own record with the
// running digest.
func (a *apply) finish(replies [][]byte) error {
	h := xxhash.New()
	var n [8]byte
	number := func(v uint64) {
		binary.BigEndian.PutUint64(n[:], v)
		h.Write(n[:])
	}
	m := &a.b.meta
	number(m.digest)
	number(m.index)
	number(uint64(m.at))
	for _, r := range replies {
		number(uint64(len(r)))
		h.Write(r)
	}
	for _, s := range a.b.sales {
		if state := s.StateAt(a.now); state != s.State {
			s.State = state
			s.dirty = true
		}
		if !s.dirty {
			continue
		}
		s.Version++
		s.dirty = false
		data := s.encode()
		a.put(a.bucket(bucketSales), key2(s.number), data)
		h.Write(data)
	}
	m.digest = h.Sum64()
	a.put(a.bucket(bucketMeta), []byte(stateKey), m.encode())
	return a.err
}

// view makes what readers see, while the transaction is still open.
func (a *apply) view() *view {
	v := &view{digest: a.b.meta.digest, erased: a.b.meta.erased, sales: make([]Sale, len(a.b.sales))}
	for i, s := range a.b.sales {
		v.sales[i] = s.Sale
	}
	v.news = a.news()
	v.due, v.isDue = a.due()
	return v
}

// due is the next moment at which a Tick changes something.
func (a *apply) due() (at time.Time, ok bool) {
	soonest := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	for _, s := range a.b.sales {
		if t, turns := s.turns(a.now); turns {
			soonest(t)
		}
		if s.drawable(a.now) {
			soonest(a.now)
		}
	}
	if k, _ := a.timers.Cursor().First(); k != nil {
		soonest(moment(int64(binary.BigEndian.Uint64(k))))
	}
	return at, ok
}

func (a *apply) sale(product string) *sale { return a.b.byName[product] }

// paper reads a paper by its ID; nil if there is none or something went wrong.
func (a *apply) paper(id ID) *paper {
	number := a.ids.Get(key8(uint64(id)))
	if number == nil {
		return nil
	}
	return a.numbered(binary.BigEndian.Uint64(number))
}

// numbered reads a paper by its number; nil, and an error kept, if it is not there.
func (a *apply) numbered(number uint64) *paper {
	data := a.papers.Get(key8(number))
	if data == nil {
		a.fail(fmt.Errorf("%w: an index has paper number %d, which is not there", ErrBroken, number))
		return nil
	}
	p, err := decodePaper(data)
	if err != nil || int(p.sale) >= len(a.b.sales) {
		a.fail(fmt.Errorf("%w: paper number %d cannot be read", ErrBroken, number))
		return nil
	}
	p.Product = a.b.sales[p.sale].Product
	return p
}

// settle stores a paper that became what it is now; before is what it was, nil for a new
// one. All counters and indexes that depend on a paper follow from the two here, and
// nowhere else.
func (a *apply) settle(before, p *paper) {
	s := a.b.sales[p.sale]
	s.dirty = true
	none := paper{}
	if before == nil {
		before = &none
		if a.ids.Get(key8(uint64(p.ID))) != nil {
			a.fail(fmt.Errorf("%w: paper %s would be there twice", ErrBroken, p.ID))
			return
		}
		a.put(a.ids, key8(uint64(p.ID)), key8(p.Number))
	}
	sold, held := p.sold()-before.sold(), p.held()-before.held()
	s.Sold += sold
	s.Held += held
	s.Free -= sold + held
	a.settleIndexes(s, before, p)
	a.settleQueue(s, before, p)
	a.settleJobs(s, before, p)
	if before.State == StateInvited && p.State != StateInvited {
		a.remove(a.timers, timerKey(millis(before.Until), p.Number))
	}
	if p.State == StateInvited && before.State != StateInvited {
		a.put(a.timers, timerKey(millis(p.Until), p.Number), nil)
	}
	if s.Retain > 0 && p.finished() && !before.finished() {
		a.put(a.timers, timerKey(millis(p.Changed.Add(s.Retain)), p.Number), nil)
	}
	a.put(a.papers, key8(p.Number), p.encode(make([]byte, 0, 96+p.Person.size())))
}

func (a *apply) settleIndexes(s *sale, before, p *paper) {
	was, is := before.Number != 0, p.State != StateForgotten
	if was && is && before.live() == p.live() && before.Kind == p.Kind && before.Quantity == p.Quantity {
		return // the indexes say nothing else
	}
	before.fill()
	p.fill()
	if was {
		a.remove(a.people, personKey(before))
	}
	if is {
		a.put(a.people, personKey(p), personValue(p))
	}
	if !s.LimitByAddress {
		return
	}
	if was && before.live() {
		a.remove(a.addresses, addressKey(before))
	}
	if p.live() {
		a.put(a.addresses, addressKey(p), value4(p.Quantity))
	}
}

func (a *apply) settleJobs(s *sale, before, p *paper) {
	if s.webhook {
		was, is := before.Number != 0 && before.toSend(), p.toSend()
		if was && !is {
			a.remove(a.outbox, outboxKey(QueueWebhook, millis(before.Ready), p.Number))
		}
		if is && !was {
			a.put(a.outbox, outboxKey(QueueWebhook, millis(p.Ready), p.Number), []byte{byte(JobWebhook)})
		}
	}
	if before.mail == p.mail && before.since == p.since {
		return
	}
	if before.mail != 0 {
		a.remove(a.outbox, outboxKey(QueueMail, before.since, p.Number))
	}
	if p.mail != 0 {
		a.put(a.outbox, outboxKey(QueueMail, p.since, p.Number), []byte{byte(p.mail)})
	}
}

// become is a copy of the paper in another state from now on.
func (a *apply) become(p *paper, state PaperState) *paper {
	next := *p
	next.State = state
	next.Changed = a.now
	return &next
}

// tell gives a paper a mail job, if the sale has mail. It takes the place of an older one.
func (a *apply) tell(p *paper, what What) {
	if a.b.sales[p.sale].mail {
		p.mail, p.since = what, a.at
	}
}

// news reads the announcements, newest first.
func (a *apply) news() []News {
	var list []News
	c := a.bucket(bucketNews).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		r := reader{data: v}
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
