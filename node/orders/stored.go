package orders

import (
	"encoding/hex"
	"fmt"
	"time"

	"bramble/node/orders/draw"
)

// recordForm is the first byte of a stored order or sale: the version of its encoding.
const recordForm = 1

// storedOrder is an order as it is stored.
type storedOrder struct {
	Order
	sale        uint16  // the sale's number
	queueNumber uint64  // in the queue, see updateQueue; 0 if it was never in one
	mailJob     JobKind // the mail job that waits; 0 if none
	mailSince   int64   // of that job, Unix milliseconds

	fingerprints fingerprints // not stored; see fillPrints
}

// fingerprints are those by which an order is found.
type fingerprints struct{ email, address, person fingerprint }

// computeFingerprints computes the fingerprints if they are missing. An erased order has none.
func (o *storedOrder) computeFingerprints() {
	if o.fingerprints == (fingerprints{}) && o.Person != (Person{}) {
		o.fingerprints = fingerprintsOf(&o.Person)
	}
}

func fingerprintsOf(person *Person) fingerprints {
	return fingerprints{email: emailFingerprint(person.Email), address: addressFingerprint(person), person: personFingerprint(person)}
}

// isLive reports whether the order counts towards the limits.
func (o *storedOrder) isLive() bool {
	switch o.State {
	case StateOpen, StateInvited, StateWon, StateFulfilling, StateFulfilled:
		return true
	}
	return false
}

// isFinished reports whether the order will not change any more except by being erased.
func (o *storedOrder) isFinished() bool {
	switch o.State {
	case StateLost, StateFulfilled, StateCancelled, StateLeft, StateExpired:
		return true
	}
	return false
}

// unitsSold returns the units of the order that the sale counts as sold.
func (o *storedOrder) unitsSold() int64 {
	state := o.State
	if state == StateErased {
		state = o.Was
	}
	switch state {
	case StateWon, StateFulfilling, StateFulfilled:
		return int64(o.Quantity)
	case StateOpen:
		if o.Kind == KindOrder {
			return int64(o.Quantity)
		}
	}
	return 0
}

// unitsHeld returns the units that are held for the invited person.
func (o *storedOrder) unitsHeld() int64 {
	if o.State == StateInvited {
		return int64(o.Quantity)
	}
	return 0
}

// isQueued reports whether the order is in its sale's queue.
func (o *storedOrder) isQueued() bool {
	return o.State == StateOpen && (o.Kind == KindWaiting || o.Kind == KindInterest)
}

// awaitsFulfilment reports whether the order has a webhook job, if the sale has a webhook.
func (o *storedOrder) awaitsFulfilment() bool {
	return o.unitsSold() > 0 && o.isLive() && o.State != StateFulfilled
}

func (o *storedOrder) encode(data []byte) []byte {
	w := encoder{data: data}
	w.byte(recordForm)
	w.uint(uint64(o.ID))
	w.byte(byte(o.Kind))
	w.uint(uint64(o.sale))
	w.uint(o.Number)
	w.int(int64(o.Quantity))
	w.int(o.Total)
	w.text(o.Currency)
	w.writePerson(&o.Person)
	w.time(o.Made)
	w.byte(byte(o.State))
	w.byte(byte(o.Was))
	w.time(o.Until)
	w.time(o.Changed)
	w.time(o.Ready)
	w.text(o.Note)
	w.uint(o.queueNumber)
	w.byte(byte(o.mailJob))
	w.int(o.mailSince)
	return w.data
}

// decodeOrder decodes the output of encode. It leaves Product empty: only the sale's number is
// stored.
func decodeOrder(data []byte) (*storedOrder, error) {
	r := decoder{data: data}
	form := r.byte()
	var o storedOrder
	o.ID = r.readID()
	o.Kind = Kind(r.byte())
	o.sale = uint16(r.uint())
	o.Number = r.uint()
	o.Quantity = r.count()
	o.Total = r.int()
	o.Currency = r.text()
	o.Person = r.readPerson()
	o.Made = r.time()
	o.State = OrderState(r.byte())
	o.Was = OrderState(r.byte())
	o.Until = r.time()
	o.Changed = r.time()
	o.Ready = r.time()
	o.Note = r.text()
	o.queueNumber = r.uint()
	o.mailJob = JobKind(r.byte())
	o.mailSince = r.int()
	if form != recordForm || !r.done() || o.sale >= MaxSales {
		return nil, fmt.Errorf("%w: a stored order cannot be read", ErrBroken)
	}
	return &o, nil
}

// storedSale is a sale as it is stored.
type storedSale struct {
	Sale
	number          uint16
	webhook         bool
	mail            bool
	secret          [32]byte
	lastQueueNumber uint64    // the last one assigned
	drawStage       drawStage // of the draw
	seed            string    // hex; from drawTickets on
	cursor          ID        // drawTickets: the last entry that has its ticket

	dirty bool // not stored: it has changed since the last Apply
}

// drawStage is the stage that a draw has reached. A draw needs Ticks in proportion to its entries.
type drawStage uint8

const (
	drawNotBegun drawStage = 0
	drawTickets  drawStage = 1 // each entry gets its ticket
	drawAwards   drawStage = 2 // the tickets are drawn in order
	drawFinished drawStage = 3
)

func (s *storedSale) encode() []byte {
	w := encoder{data: make([]byte, 0, 384+16*len(s.Countries))}
	w.byte(recordForm)
	w.text(s.Product)
	w.byte(byte(s.Mode))
	w.byte(byte(s.State))
	w.int(s.Stock)
	w.int(s.Sold)
	w.int(s.Held)
	w.int(s.Free)
	w.int(int64(s.Limit))
	w.bool(s.LimitByAddress)
	w.time(s.Opens)
	w.time(s.Closes)
	w.bool(s.WaitingList)
	w.int(int64(s.Waiting))
	w.int(int64(s.Interested))
	w.int(int64(s.Entries))
	w.int(s.Price)
	w.text(s.Currency)
	w.writeCountries(s.Countries)
	w.duration(s.FulfilmentDelay)
	w.duration(s.Retain)
	w.text(string(s.Draw.PublicKind))
	w.text(string(s.Draw.Public.Kind))
	w.text(s.Draw.Public.Text)
	w.time(s.Draw.At)
	w.int(s.Draw.Stock)
	w.int(int64(s.Draw.Winners))
	w.uint(s.Version)
	w.bool(s.closed)
	w.bool(s.webhook)
	w.bool(s.mail)
	w.data = append(w.data, s.secret[:]...)
	w.uint(s.lastQueueNumber)
	w.byte(byte(s.drawStage))
	w.text(s.seed)
	w.uint(uint64(s.cursor))
	return w.data
}

func decodeSale(number uint16, data []byte) (*storedSale, error) {
	r := decoder{data: data}
	form := r.byte()
	s := &storedSale{number: number}
	s.Product = r.text()
	s.Mode = Mode(r.byte())
	s.State = SaleState(r.byte())
	s.Stock = r.int()
	s.Sold = r.int()
	s.Held = r.int()
	s.Free = r.int()
	s.Limit = r.count()
	s.LimitByAddress = r.bool()
	s.Opens = r.time()
	s.Closes = r.time()
	s.WaitingList = r.bool()
	s.Waiting = r.count()
	s.Interested = r.count()
	s.Entries = r.count()
	s.Price = r.int()
	s.Currency = r.text()
	s.Countries = r.readCountries()
	s.FulfilmentDelay = r.duration()
	s.Retain = r.duration()
	s.Draw.PublicKind = draw.Kind(r.text())
	s.Draw.Public = r.readPublic()
	s.Draw.At = r.time()
	s.Draw.Stock = r.int()
	s.Draw.Winners = r.count()
	s.Version = r.uint()
	s.closed = r.bool()
	s.webhook = r.bool()
	s.mail = r.bool()
	s.secret = r.bytes32()
	s.lastQueueNumber = r.uint()
	s.drawStage = drawStage(r.byte())
	s.seed = r.text()
	s.cursor = r.readID()
	if form != recordForm || !r.done() {
		return nil, fmt.Errorf("%w: a stored sale cannot be read", ErrBroken)
	}
	if s.Mode == Ballot {
		s.Draw.Commitment = draw.Commitment(s.secret)
	}
	return s, nil
}

func (s *storedSale) secretHex() string { return hex.EncodeToString(s.secret[:]) }

// StateAt returns the sale's state at a moment, as far as it is known now.
func (s *Sale) StateAt(at time.Time) SaleState {
	over := !s.Closes.IsZero() && !at.Before(s.Closes)
	switch {
	case s.Mode == Ballot && !s.Draw.At.IsZero():
		if s.closed {
			return SaleClosed
		}
		return SaleDrawn
	case s.Mode == Ballot && over:
		return SaleDrawing
	case s.closed || over:
		return SaleClosed
	case at.Before(s.Opens):
		return SaleUpcoming
	case s.Mode != FirstCome:
		return SaleOpen
	case s.Free == 0 || s.Waiting > 0:
		return SaleSoldOut
	}
	return SaleInStock
}

// nextChange returns the next moment at which StateAt changes by the clock alone.
func (s *Sale) nextChange(at time.Time) (time.Time, bool) {
	switch state := s.StateAt(at); {
	case state == SaleUpcoming:
		return s.Opens, true
	case state == SaleClosed || state == SaleDrawing || state == SaleDrawn || s.Closes.IsZero():
		return time.Time{}, false
	}
	return s.Closes, true
}

// checkCounters checks the invariants of a sale's numbers: sold, held and free units add up
// to the stock, and no number is negative.
func (s *storedSale) checkCounters() error {
	ok := s.Sold+s.Held+s.Free == s.Stock &&
		s.Sold >= 0 && s.Held >= 0 && s.Free >= 0 && s.Stock >= 0 &&
		s.Waiting >= 0 && s.Interested >= 0 && s.Entries >= 0
	if ok {
		return nil
	}
	return fmt.Errorf("%w: %s: sold %d + held %d + free %d, stock %d; waiting %d, interested %d, entries %d",
		ErrBroken, s.Product, s.Sold, s.Held, s.Free, s.Stock, s.Waiting, s.Interested, s.Entries)
}
