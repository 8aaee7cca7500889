package orders

import (
	"encoding/hex"
	"fmt"
	"time"

	"bramble/node/orders/draw"
)

// recordForm is the first byte of a stored paper or sale: the version of its form.
const recordForm = 1

// paper is a paper as it is stored.
type paper struct {
	Paper
	sale  uint16 // the sale's number
	place uint64 // in the queue; 0 if it never had one
	mail  What   // the mail job that waits; 0 if none
	since int64  // of that job, Unix milliseconds

	prints prints // not stored; see fill
}

// prints are the fingerprints by which a paper is found.
type prints struct{ email, address, person fingerprint }

// fill works the fingerprints out if that was not done yet. A forgotten paper has none.
func (p *paper) fill() {
	if p.prints == (prints{}) && p.Person != (Person{}) {
		p.prints = printsOf(&p.Person)
	}
}

func printsOf(who *Person) prints {
	return prints{email: emailPrint(who.Email), address: addressPrint(who), person: personPrint(who)}
}

// live reports whether the paper counts for the limits.
func (p *paper) live() bool {
	switch p.State {
	case StateOpen, StateInvited, StateWon, StateHandingOver, StateHandedOver:
		return true
	}
	return false
}

// finished reports whether nothing more happens to the paper but being forgotten.
func (p *paper) finished() bool {
	switch p.State {
	case StateLost, StateHandedOver, StateCancelled, StateLeft, StateExpired:
		return true
	}
	return false
}

// sold is how many units the paper has of those that the sale counts as sold.
func (p *paper) sold() int64 {
	state := p.State
	if state == StateForgotten {
		state = p.Was
	}
	switch state {
	case StateWon, StateHandingOver, StateHandedOver:
		return int64(p.Quantity)
	case StateOpen:
		if p.Kind == KindOrder {
			return int64(p.Quantity)
		}
	}
	return 0
}

// held is how many units are kept for the invited person.
func (p *paper) held() int64 {
	if p.State == StateInvited {
		return int64(p.Quantity)
	}
	return 0
}

// queued reports whether the paper stands in its sale's queue.
func (p *paper) queued() bool {
	return p.State == StateOpen && (p.Kind == KindWaiting || p.Kind == KindInterest)
}

// toSend reports whether the paper waits to be handed over.
func (p *paper) toSend() bool { return p.sold() > 0 && p.live() && p.State != StateHandedOver }

func (p *paper) encode(data []byte) []byte {
	w := writer{data: data}
	w.byte(recordForm)
	w.uint(uint64(p.ID))
	w.byte(byte(p.Kind))
	w.uint(uint64(p.sale))
	w.uint(p.Number)
	w.int(int64(p.Quantity))
	w.int(p.Total)
	w.text(p.Currency)
	w.person(&p.Person)
	w.time(p.Made)
	w.byte(byte(p.State))
	w.byte(byte(p.Was))
	w.time(p.Until)
	w.time(p.Changed)
	w.time(p.Ready)
	w.text(p.Note)
	w.uint(p.place)
	w.byte(byte(p.mail))
	w.int(p.since)
	return w.data
}

// decodePaper reads what encode wrote. The product's name is not in it: see naming.
func decodePaper(data []byte) (*paper, error) {
	r := reader{data: data}
	form := r.byte()
	var p paper
	p.ID = r.id()
	p.Kind = Kind(r.byte())
	p.sale = uint16(r.uint())
	p.Number = r.uint()
	p.Quantity = r.count()
	p.Total = r.int()
	p.Currency = r.text()
	p.Person = r.person()
	p.Made = r.time()
	p.State = PaperState(r.byte())
	p.Was = PaperState(r.byte())
	p.Until = r.time()
	p.Changed = r.time()
	p.Ready = r.time()
	p.Note = r.text()
	p.place = r.uint()
	p.mail = What(r.byte())
	p.since = r.int()
	if form != recordForm || !r.done() || p.sale >= MaxSales {
		return nil, fmt.Errorf("%w: a stored paper cannot be read", ErrBroken)
	}
	return &p, nil
}

// sale is a sale as it is stored.
type sale struct {
	Sale
	number  uint16
	webhook bool
	mail    bool
	secret  [32]byte
	places  uint64 // places given in the queue so far
	phase   phase  // of the draw
	seed    string // hex; from phaseTickets on
	cursor  ID     // phaseTickets: the last entry that has its ticket

	dirty bool // not stored: changed since the last Apply ended
}

// phase is how far a draw is. A draw takes as many Ticks as its entries need.
type phase uint8

const (
	phaseNone    phase = 0
	phaseTickets phase = 1 // giving each entry its ticket
	phaseAwards  phase = 2 // going through the tickets
	phaseDone    phase = 3
)

func (s *sale) encode() []byte {
	w := writer{data: make([]byte, 0, 384+16*len(s.Countries))}
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
	w.countries(s.Countries)
	w.duration(s.HandoverAfter)
	w.duration(s.Retain)
	w.text(string(s.Draw.Wanted))
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
	w.uint(s.places)
	w.byte(byte(s.phase))
	w.text(s.seed)
	w.uint(uint64(s.cursor))
	return w.data
}

func decodeSale(number uint16, data []byte) (*sale, error) {
	r := reader{data: data}
	form := r.byte()
	s := &sale{number: number}
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
	s.Countries = r.countries()
	s.HandoverAfter = r.duration()
	s.Retain = r.duration()
	s.Draw.Wanted = draw.Kind(r.text())
	s.Draw.Public = r.public()
	s.Draw.At = r.time()
	s.Draw.Stock = r.int()
	s.Draw.Winners = r.count()
	s.Version = r.uint()
	s.closed = r.bool()
	s.webhook = r.bool()
	s.mail = r.bool()
	s.secret = r.bytes32()
	s.places = r.uint()
	s.phase = phase(r.byte())
	s.seed = r.text()
	s.cursor = r.id()
	if form != recordForm || !r.done() {
		return nil, fmt.Errorf("%w: a stored sale cannot be read", ErrBroken)
	}
	if s.Mode == Ballot {
		s.Draw.Commitment = draw.Commitment(s.secret)
	}
	return s, nil
}

func (s *sale) secretHex() string { return hex.EncodeToString(s.secret[:]) }

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

// turns is the next moment at which StateAt changes by the clock alone.
func (s *Sale) turns(at time.Time) (time.Time, bool) {
	switch state := s.StateAt(at); {
	case state == SaleUpcoming:
		return s.Opens, true
	case state == SaleClosed || state == SaleDrawing || state == SaleDrawn || s.Closes.IsZero():
		return time.Time{}, false
	}
	return s.Closes, true
}

// check finds what the sale's numbers contradict.
func (s *sale) check() error {
	ok := s.Sold+s.Held+s.Free == s.Stock &&
		s.Sold >= 0 && s.Held >= 0 && s.Free >= 0 && s.Stock >= 0 &&
		s.Waiting >= 0 && s.Interested >= 0 && s.Entries >= 0
	if ok {
		return nil
	}
	return fmt.Errorf("%w: %s: sold %d + held %d + free %d, stock %d; waiting %d, interested %d, entries %d",
		ErrBroken, s.Product, s.Sold, s.Held, s.Free, s.Stock, s.Waiting, s.Interested, s.Entries)
}
