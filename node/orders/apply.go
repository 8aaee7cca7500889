package orders

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"
)

// Apply carries out one batch of commands and returns one answer for each, in one
// transaction of the working copy. A batch is one log entry; the ledger calls Apply in its
// own goroutine, on every board. index must grow with every call. at is the ledger's
// clock, cut to milliseconds; it goes back if an operator set it back. rules is the version
// of the rules to carry out the commands by, from 1 to MaxRules; it never falls.
//
// The answer to a command that does not pass its Check is Malformed, which is not an error. An error means
// that the book contradicts itself (ErrBroken) or cannot use its working copy. Then no part
// of the batch is stored, and every later call returns the same error; but after ErrDisk
// the same call can be made again.
func (b *Book) Apply(index uint64, at time.Time, rules uint32, commands [][]byte) ([][]byte, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if b.broken != nil {
		return nil, b.broken
	}
	replies, err := b.applyBatch(index, at, rules, commands)
	if errors.Is(err, ErrDisk) {
		// Memory is ahead of the working copy.
		if unread := b.reloadMemory(); unread != nil {
			err = fmt.Errorf("%w; and it cannot be read either: %w", err, unread)
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

// reloadMemory makes memory equal to the working copy. The readers' model stays.
func (b *Book) reloadMemory() error {
	next := &Book{}
	if err := b.db.View(next.loadMemory); err != nil {
		return err
	}
	b.adoptMemory(next)
	return nil
}

// adoptMemory takes over the memory that another book has loaded from the working copy.
func (b *Book) adoptMemory(next *Book) {
	b.meta, b.sales, b.active, b.byName, b.published = next.meta, next.sales, next.active, next.byName, next.published
}

func (b *Book) applyBatch(index uint64, at time.Time, rules uint32, commands [][]byte) ([][]byte, error) {
	if index <= b.meta.index {
		return nil, fmt.Errorf("%w: log entry %d came after log entry %d", ErrBroken, index, b.meta.index)
	}
	if b.db == nil {
		return nil, ErrClosed
	}
	tx, err := b.db.Begin(true)
	if err != nil {
		return nil, fmt.Errorf("orders: beginning log entry %d: %w", index, err)
	}
	b.meta.index = index
	b.meta.at = at.UnixMilli()
	a := newApplyTx(b, tx)
	a.raiseRules(min(rules, MaxRules))
	replies := make([][]byte, len(commands))
	for i, data := range commands {
		if replies[i], err = a.applyCommand(data); err != nil {
			return nil, errors.Join(fmt.Errorf("orders: log entry %d, command %d: %w", index, i+1, err), a.abandonBatch())
		}
	}
	if err := a.finishBatch(replies); err != nil {
		return nil, errors.Join(fmt.Errorf("orders: log entry %d: %w", index, err), a.abandonBatch())
	}
	v := a.buildReadModel()
	if err := b.commit(a.tx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: log entry %d: %w", ErrDisk, index, err), discardWorkingCopy(a.replaced))
	}
	if a.replaced == nil {
		b.readModel.Store(v)
	} else {
		_ = b.replaceWorkingCopy(a.replaced, v) // the next start removes an old file that is left
	}
	return replies, nil
}

// applyTx is one Apply in progress.
type applyTx struct {
	b   *Book
	tx  *bbolt.Tx
	at  int64 // Unix milliseconds
	now time.Time
	err error // the first one that occurred; checked after every command

	rules   ruleSet
	dirtied []*storedSale // the sales that are dirty

	orders, ids, people, addresses, queue, queueBlocks, ballotEntries *bbolt.Bucket
	tickets, timers, outbox, restore                                  *bbolt.Bucket

	byPerson, byAddress *bbolt.Cursor

	replaced *bbolt.DB // the working copy that replaces the book's; nil: none does
}

func newApplyTx(b *Book, tx *bbolt.Tx) *applyTx {
	bucket := func(name string) *bbolt.Bucket { return tx.Bucket([]byte(name)) }
	a := &applyTx{
		b: b, tx: tx, at: b.meta.at, now: fromMillis(b.meta.at), rules: rulesOf(b.meta.rules),
		orders: bucket(bucketOrders), ids: bucket(bucketIDs), people: bucket(bucketPeople), addresses: bucket(bucketAddresses),
		queue: bucket(bucketQueue), queueBlocks: bucket(bucketQueueBlocks), ballotEntries: bucket(bucketBallotEntries),
		tickets: bucket(bucketTickets), timers: bucket(bucketTimers), outbox: bucket(bucketOutbox), restore: bucket(bucketRestore),
	}
	// Orders and queue numbers arrive in the order of their keys: leave no room between them.
	a.orders.FillPercent = 0.95
	a.queue.FillPercent = 0.95
	a.byPerson = a.people.Cursor()
	a.byAddress = a.addresses.Cursor()
	return a
}

func (a *applyTx) bucket(name string) *bbolt.Bucket { return a.tx.Bucket([]byte(name)) }

// touch notes that a sale has changed.
func (a *applyTx) touch(s *storedSale) {
	if !s.dirty {
		s.dirty = true
		a.dirtied = append(a.dirtied, s)
	}
}

func (a *applyTx) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// put and remove write a key; an error goes to a.err. The value must not change until the
// transaction ends.
func (a *applyTx) put(to *bbolt.Bucket, key, value []byte) {
	if err := to.Put(key, value); err != nil {
		a.fail(fmt.Errorf("writing the working copy: %w", err))
	}
}

func (a *applyTx) remove(from *bbolt.Bucket, key []byte) {
	if err := from.Delete(key); err != nil {
		a.fail(fmt.Errorf("writing the working copy: %w", err))
	}
}

// removePrefix removes all keys with a prefix.
func (a *applyTx) removePrefix(from *bbolt.Bucket, prefix []byte) {
	for k, _ := from.Cursor().Seek(prefix); bytes.HasPrefix(k, prefix) && a.err == nil; k, _ = from.Cursor().Seek(prefix) {
		a.remove(from, bytes.Clone(k))
	}
}

// readNumber returns a number of the restore bucket; 0 if it is not there.
func (a *applyTx) readNumber(key string) uint64 {
	if v := a.restore.Get([]byte(key)); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// applyCommand carries out one command and returns its encoded answer. It checks the
// counters of the changed sales after each command (finishBatch checks all): the first command that
// breaks an invariant stops the book.
func (a *applyTx) applyCommand(data []byte) ([]byte, error) {
	c, err := DecodeCommand(data)
	if err != nil || !a.rules.knows(data[0], c) || c.checkFields() != nil {
		return Answer{Outcome: Malformed}.Encode(), nil
	}
	answer := a.executeCommand(c, data)
	if a.err != nil {
		return nil, a.err
	}
	for _, s := range a.dirtied {
		if err := s.checkCounters(); err != nil {
			return nil, err
		}
	}
	return answer.Encode(), nil
}

func (a *applyTx) executeCommand(c Command, data []byte) Answer {
	switch c := c.(type) {
	case PlaceOrder:
		return a.placeOrder(&c)
	case Cancel:
		if c.By == (Operation{}) {
			return a.cancelOrder(c)
		}
		return a.runOperation(c.By, data, func() (Answer, string) {
			return a.cancelOrder(c), "cancel " + c.ID.String()
		})
	case Confirm:
		return a.confirmOrder(c)
	case Offer:
		return a.makeOffer(&c, data)
	case Stock:
		return a.runSaleOperation(c.Operation, data, c.Product, func(s *storedSale) (Answer, string) { return a.changeStock(s, c) })
	case OpenSale:
		return a.runSaleOperation(c.Operation, data, c.Product, a.openSale)
	case CloseSale:
		return a.runSaleOperation(c.Operation, data, c.Product, a.closeSale)
	case SetTimes:
		return a.runSaleOperation(c.Operation, data, c.Product, func(s *storedSale) (Answer, string) { return a.setTimes(s, c) })
	case Announce:
		return a.runOperation(c.Operation, data, func() (Answer, string) { return a.announceText(c) })
	case Invite:
		return a.runSaleOperation(c.Operation, data, c.Product, func(s *storedSale) (Answer, string) { return a.inviteNext(s, c) })
	case MakeDraw:
		return a.runSaleOperation(c.Operation, data, c.Product, func(s *storedSale) (Answer, string) { return a.makeDraw(s, c) })
	case BeginFulfilment:
		return a.handOver(c.ID, StateFulfilling, "")
	case FinishFulfilment:
		return a.handOver(c.ID, StateFulfilled, c.How)
	case FinishMail:
		return a.finishJob(c.ID, c.Kind)
	case Erase:
		return a.runOperation(c.Operation, data, func() (Answer, string) { return a.erasePerson(c) })
	case Tick:
		return a.runTick(c)
	case SetClock:
		return a.runOperation(c.Operation, data, func() (Answer, string) { return a.noteClock(c) })
	case ReviseOffer:
		return a.runSaleOperation(c.Operation, data, c.Product, func(s *storedSale) (Answer, string) { return a.reviseOffer(s, &c) })
	case RetireSale:
		return a.runSaleOperation(c.Operation, data, c.Product, func(s *storedSale) (Answer, string) { return a.retireSale(s, c) })
	case HandOver:
		return a.runSaleOperation(c.Operation, data, c.Product, a.beginHandOver)
	case MarkSent:
		return a.runOperation(c.Operation, data, func() (Answer, string) { return a.markSent(c), "mark as sent " + c.ID.String() })
	case ReturnOrder:
		return a.runOperation(c.Operation, data, func() (Answer, string) { return a.returnOrder(c) })
	case FinishWebhook:
		return a.finishJob(c.ID, c.Kind)
	case BeginRestore:
		return a.beginRestore(c)
	case AddRestoreChunk:
		return a.addRestoreChunk(c)
	case FinishRestore:
		return a.finishRestore(c)
	case CancelRestore:
		return a.cancelRestore()
	case SetReceiptSecret:
		if c.First { // no operator's command: without a trace
			answer, _ := a.setReceiptSecret(c)
			return answer
		}
		return a.runOperation(c.Operation, data, func() (Answer, string) { return a.setReceiptSecret(c) })
	}
	return Answer{Outcome: Malformed}
}

// finishBatch writes the sales that the batch changed, and the book's own record with the
// running digest.
func (a *applyTx) finishBatch(replies [][]byte) error {
	a.takeTurns()
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
	for _, s := range a.b.active {
		if err := s.checkCounters(); err != nil {
			return err
		}
		if s.StateAt(a.now) != s.State {
			a.touch(s)
		}
	}
	slices.SortFunc(a.dirtied, func(x, y *storedSale) int { return int(x.number) - int(y.number) })
	for _, s := range a.dirtied {
		s.State = s.StateAt(a.now)
		s.Version++
		s.dirty = false
		data := encodeAs(a.rules.form, s)
		a.put(a.bucket(bucketSales), uint16Key(s.number), data)
		h.Write(data)
	}
	m.digest = h.Sum64()
	a.put(a.bucket(bucketMeta), []byte(stateKey), encodeAs(a.rules.form, m))
	return a.err
}

func (a *applyTx) saleByProduct(product string) *storedSale { return a.b.byName[product] }

// orderByID reads an order; nil if there is none or an error occurred.
func (a *applyTx) orderByID(id ID) *storedOrder {
	number := a.ids.Get(uint64Key(uint64(id)))
	if number == nil {
		return nil
	}
	return a.orderByNumber(binary.BigEndian.Uint64(number))
}

// orderByNumber reads an order that an index names; nil and an error in a.err if it is
// missing.
func (a *applyTx) orderByNumber(number uint64) *storedOrder {
	data := a.orders.Get(uint64Key(number))
	if data == nil {
		a.fail(fmt.Errorf("%w: an index has order number %d, which is missing", ErrBroken, number))
		return nil
	}
	o, err := decodeOrder(data)
	if err != nil || int(o.sale) >= len(a.b.sales) {
		a.fail(fmt.Errorf("%w: order number %d cannot be read", ErrBroken, number))
		return nil
	}
	o.deriveFields(a.b.sales[o.sale])
	return o
}

// storeOrder stores an order; before is its old state, nil for a new one. All counters and
// indexes that depend on an order are updated here, from the difference of the two, and
// nowhere else.
func (a *applyTx) storeOrder(before, o *storedOrder) {
	s := a.b.sales[o.sale]
	a.touch(s)
	none := storedOrder{}
	if before == nil {
		before = &none
		if a.ids.Get(uint64Key(uint64(o.ID))) != nil {
			a.fail(fmt.Errorf("%w: order %s would exist twice", ErrBroken, o.ID))
			return
		}
		a.put(a.ids, uint64Key(uint64(o.ID)), uint64Key(o.Number))
	}
	sold, held := o.unitsSold()-before.unitsSold(), o.unitsHeld()-before.unitsHeld()
	s.Sold += sold
	s.Held += held
	s.Free -= sold + held
	a.updateIndexes(s, before, o)
	a.updateQueue(s, before, o)
	a.updateJobs(s, before, o)
	o.form = a.rules.form
	sameTimer := before.hasTimer() && o.hasTimer() && before.Until.Equal(o.Until)
	if before.hasTimer() && !sameTimer {
		a.remove(a.timers, timerKey(toMillis(before.Until), o.Number))
	}
	if o.hasTimer() && !sameTimer {
		a.put(a.timers, timerKey(toMillis(o.Until), o.Number), nil)
	}
	if s.Retain > 0 && o.isFinished() && !before.isFinished() {
		a.setRetentionTimer(s, o)
	}
	a.put(a.orders, uint64Key(o.Number), encodeAs(a.rules.form, o))
}

func (a *applyTx) updateIndexes(s *storedSale, before, o *storedOrder) {
	wasIndexed, isIndexed := before.Number != 0, o.State != StateErased
	if wasIndexed && isIndexed && before.isLive() == o.isLive() && (before.State == StateUnconfirmed) == (o.State == StateUnconfirmed) && before.Kind == o.Kind && before.Quantity == o.Quantity {
		return // the indexes do not change
	}
	before.computeFingerprints(&a.rules)
	o.computeFingerprints(&a.rules)
	if wasIndexed {
		a.remove(a.people, personKey(before))
	}
	if isIndexed {
		a.put(a.people, personKey(o), personValue(o))
	}
	if !s.LimitByAddress {
		return
	}
	if wasIndexed && before.isLive() {
		a.remove(a.addresses, addressKey(before))
	}
	if o.isLive() {
		a.put(a.addresses, addressKey(o), uint32Value(o.Quantity))
	}
}

func (a *applyTx) updateJobs(s *storedSale, before, o *storedOrder) {
	if before.State != o.State {
		a.chooseWebhookJob(s, before, o)
	}
	a.updateOutbox(QueueWebhook, o.Number, before.webhookJob, o.webhookJob, before.webhookSince, o.webhookSince)
	a.updateOutbox(QueueMail, o.Number, before.mailJob, o.mailJob, before.mailSince, o.mailSince)
}

// updateOutbox replaces an order's job in a queue; 0 is none.
func (a *applyTx) updateOutbox(q Queue, number uint64, was, is JobKind, wasSince, since int64) {
	if was == is && wasSince == since {
		return
	}
	if was != 0 {
		a.remove(a.outbox, outboxKey(q, wasSince, number))
	}
	if is != 0 {
		a.put(a.outbox, outboxKey(q, since, number), []byte{byte(is)})
	}
}

// chooseWebhookJob gives an order whose state changes the webhook job of its new state.
func (a *applyTx) chooseWebhookJob(s *storedSale, before, o *storedOrder) {
	waited, waits := before.Number != 0 && before.awaitsFulfilment(), o.awaitsFulfilment()
	ended := before.unitsSold() > 0 && (o.State == StateCancelled || o.State == StateReturned)
	switch {
	case waits && waited:
	case waits && s.Webhook:
		o.webhookJob, o.webhookSince = JobWebhook, toMillis(o.Ready)
	case ended && s.Webhook && a.rules.notifiesCancel:
		o.webhookJob, o.webhookSince = JobCancelled, a.at
		if o.State == StateReturned {
			o.webhookJob = JobReturned
		}
	case o.webhookJob == JobWebhook:
		o.webhookJob, o.webhookSince = 0, 0
	}
}

// withState returns a copy of the order in another state from now on.
func (a *applyTx) withState(o *storedOrder, state OrderState) *storedOrder {
	next := *o
	next.State = state
	next.Changed = a.now
	return &next
}
