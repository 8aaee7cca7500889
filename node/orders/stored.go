package orders

import (
	"encoding/hex"
	"fmt"
	"time"

	"bramble/node/orders/draw"
)

// recordForm is the first byte of a stored paper or sale: the version of its form.
const recordForm = 1

// storedOrder is a paper as it is stored.
type storedOrder struct {
	Order
	sale        uint16  // the sale's number
	queueNumber uint64  // in the queue; 0 if it never had one
	mailJob     JobKind // the mail job that waits; 0 if none
	mailSince   int64   // of that job, Unix milliseconds

	prints fingerprints // not stored; see fill
}

// fingerprints are the fingerprints by which a paper is found.
type fingerprints struct{ email, address, person fingerprint }

// fillPrints works the fingerprints out if that was not done yet. A forgotten paper has none.
func (p *storedOrder) fillPrints() {
	if p.prints == (fingerprints{}) && p.Person != (Person{}) {
		p.prints = fingerprintsOf(&p.Person)
	}
}

func fingerprintsOf(who *Person) fingerprints {
	return fingerprints{email: emailPrint(who.Email), address: addressPrint(who), person: personPrint(who)}
}

// isLive reports whether the paper counts for the limits.
func (p *storedOrder) isLive() bool {
	switch p.State {
	case StateOpen, StateInvited, StateWon, StateFulfilling, StateFulfilled:
		return true
	}
	return false
}

// isFinished reports whether nothing more happens to the paper but being forgotten.
func (p *storedOrder) isFinished() bool {
	switch p.State {
	case StateLost, StateFulfilled, StateCancelled, StateLeft, StateExpired:
		return true
	}
	return false
}

// unitsSold is how many units the paper has of those that the sale counts as sold.
func (p *storedOrder) unitsSold() int64 {
	state := p.State
	if state == StateForgotten {
		state = p.Was
	}
	switch state {
	case StateWon, StateFulfilling, StateFulfilled:
		return int64(p.Quantity)
	case StateOpen:
		if p.Kind == KindOrder {
			return int64(p.Quantity)
		}
	}
	return 0
}

// unitsHeld is how many units are kept for the invited person.
func (p *storedOrder) unitsHeld() int64 {
	if p.State == StateInvited {
		return int64(p.Quantity)
	}
	return 0
}

// isQueued reports whether the paper stands in its sale's queue.
func (p *storedOrder) isQueued() bool {
	return p.State == StateOpen && (p.Kind == KindWaiting || p.Kind == KindInterest)
}

// awaitsFulfilment reports whether the paper waits to be handed over.
func (p *storedOrder) awaitsFulfilment() bool {
	return p.unitsSold() > 0 && p.isLive() && p.State != StateFulfilled
}

func (p *storedOrder) encode(data []byte) []byte {
	w := encoder{data: data}
	w.byte(recordForm)
	w.uint(uint64(p.ID))
	w.byte(byte(p.Kind))
	w.uint(uint64(p.sale))
	w.uint(p.Number)
	w.int(int64(p.Quantity))
	w.int(p.Total)
	w.text(p.Currency)
	w.writePerson(&p.Person)
	w.time(p.Made)
	w.byte(byte(p.State))
	w.byte(byte(p.Was))
	w.time(p.Until)
	w.time(p.Changed)
	w.time(p.Ready)
	w.text(p.Note)
	w.uint(p.queueNumber)
	w.byte(byte(p.mailJob))
	w.int(p.mailSince)
	return w.data
}

// decodeOrder reads what encode wrote. The product's name is not in it: see naming.
func decodeOrder(data []byte) (*storedOrder, error) {
	r := decoder{data: data}
	form := r.byte()
	var p storedOrder
	p.ID = r.readID()
	p.Kind = Kind(r.byte())
	p.sale = uint16(r.uint())
	p.Number = r.uint()
	p.Quantity = r.count()
	p.Total = r.int()
	p.Currency = r.text()
	p.Person = r.readPerson()
	p.Made = r.time()
	p.State = OrderState(r.byte())
	p.Was = OrderState(r.byte())
	p.Until = r.time()
	p.Changed = r.time()
	p.Ready = r.time()
	p.Note = r.text()
	p.queueNumber = r.uint()
	p.mailJob = JobKind(r.byte())
	p.mailSince = r.int()
	if form != recordForm || !r.done() || p.sale >= MaxSales {
		return nil, fmt.Errorf("%w: a stored paper cannot be read", ErrBroken)
	}
	return &p, nil
}

// storedSale is a sale as it is stored.
type storedSale struct {
	Sale
	number          uint16
	webhook         bool
	mail            bool
	secret          [32]byte
	lastQueueNumber uint64    // places given in the queue so far
	drawStage       drawStage // of the draw
	seed            string    // hex; from phaseTickets on
	cursor          ID        // phaseTickets: the last entry that has its ticket

	dirty bool // not stored: changed since the last Apply ended
}

// drawStage is how far a draw is. A draw takes as many Ticks as its entries need.
type drawStage uint8

const (
	drawNotBegun drawStage = 0
	drawTickets  drawStage = 1 // giving each entry its ticket
	drawAwards   drawStage = 2 // going through the tickets
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

// StateAt is the sale's state at a moment, as far as is known now.
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

// nextChange is the next moment at which StateAt changes by the clock alone.
func (s *Sale) nextChange(at time.Time) (time.Time, bool) {
	switch state := s.StateAt(at); {
	case state == SaleUpcoming:
		return s.Opens, true
	case state == SaleClosed || state == SaleDrawing || state == SaleDrawn || s.Closes.IsZero():
		return time.Time{}, false
	}
	return s.Closes, true
}

// checkCounters finds what the sale's numbers contradict.
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
