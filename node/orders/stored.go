package orders

import (
	"encoding/hex"
	"fmt"
	"time"

	"bramble/node/orders/draw"
)

// The first byte of a stored order or sale, and of the book's own record: the version of its encoding.
const (
	recordForm1 = 1
	recordForm2 = 2 // under rules 2
)

// storedOrder is an order as it is stored.
type storedOrder struct {
	Order
	sale        uint16  // the sale's number
	queueNumber uint64  // in the queue, see updateQueue; 0 if it was never in one
	mailJob     JobKind // the mail job that waits; 0 if none
	mailSince   int64   // of that job, Unix milliseconds
	// The webhook job that waits, 0 if none. In form 1 it is not stored: see deriveFields.
	webhookJob   JobKind
	webhookSince int64

	form         byte         // that the order was read from
	fingerprints fingerprints // not stored; see computeFingerprints
}

// fingerprints are those by which an order is found.
type fingerprints struct{ email, address, person fingerprint }

// computeFingerprints computes the fingerprints if they are missing. An erased order has none.
func (o *storedOrder) computeFingerprints(r *ruleSet) {
	if o.fingerprints == (fingerprints{}) && o.Person != (Person{}) {
		o.fingerprints = r.fingerprintsOf(&o.Person)
	}
}

// deriveFields sets what an order has from its sale, and what form 1 does not store: under rules 1 an
// order has a webhook job if its sale has one, and prices never change.
func (o *storedOrder) deriveFields(s *storedSale) {
	o.Product = s.Product
	if o.form != recordForm1 {
		return
	}
	if s.webhook1 && o.awaitsFulfilment() {
		o.webhookJob, o.webhookSince = JobWebhook, toMillis(o.Ready)
	}
	was := max(o.State, o.Was)
	if o.State == StateErased {
		was = o.Was
	}
	o.HandedOver = was == StateFulfilling || was == StateFulfilled
	country := o.Person.Country
	if country == "" && len(s.countries1) == 1 {
		country = s.countries1[0].Code
	}
	o.Split.Total = o.Total
	if split, ok := splitTotal(s.price1, s.countries1, country, o.Quantity); ok && split.Total == o.Total {
		o.Split = split
	}
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
	case StateLost, StateFulfilled, StateCancelled, StateLeft, StateExpired, StateReturned:
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

// awaitsFulfilment reports whether the order still has to be fulfilled.
func (o *storedOrder) awaitsFulfilment() bool {
	return o.unitsSold() > 0 && o.isLive() && o.State != StateFulfilled
}

func (o *storedOrder) encode(data []byte, form byte) []byte {
	w := encoder{data: data}
	w.byte(form)
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
	if form == recordForm1 {
		return w.data
	}
	w.byte(byte(o.webhookJob))
	w.int(o.webhookSince)
	w.int(o.Split.Price)
	w.int(o.Split.Shipping)
	w.int(o.Split.Tax)
	w.int(int64(o.Split.TaxRate))
	w.bool(o.HandedOver)
	w.bool(o.Restocked)
	return w.data
}

// emailOfRecord returns the e-mail address in a stored order, without decoding the rest.
func emailOfRecord(data []byte) []byte {
	r := decoder{data: data}
	r.byte() // form
	r.readID()
	r.byte()      // kind
	r.uint()      // sale
	r.uint()      // number
	r.count()     // quantity
	r.int()       // total
	for range 2 { // currency, name
		r.textBytes()
	}
	return r.textBytes()
}

// decodeOrder decodes the output of encode. deriveFields sets the rest.
func decodeOrder(data []byte) (*storedOrder, error) {
	r := decoder{data: data}
	var o storedOrder
	o.form = r.byte()
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
	if o.form == recordForm2 {
		o.webhookJob = JobKind(r.byte())
		o.webhookSince = r.int()
		o.Split = Split{Price: r.int(), Shipping: r.int(), Tax: r.int(), Total: o.Total, TaxRate: r.count()}
		o.HandedOver = r.bool()
		o.Restocked = r.bool()
	}
	if o.form < recordForm1 || o.form > recordForm2 || !r.done() || o.sale >= MaxSales {
		return nil, fmt.Errorf("%w: a stored order cannot be read", ErrBroken)
	}
	return &o, nil
}

// storedSale is a sale as it is stored.
type storedSale struct {
	Sale
	number          uint16
	secret          [32]byte
	lastQueueNumber uint64    // the last one assigned
	drawStage       drawStage // of the draw
	seed            string    // hex; from drawTickets on
	cursor          ID        // drawTickets, drawRanking: the last entry that has its ticket

	// Of orders in form 1: whether they have webhook jobs, and the terms that they were placed at.
	webhook1   bool
	price1     int64
	countries1 []Country
	// overLimit: people or addresses may have more than the limit, because rules or the limit changed.
	overLimit bool
	// A search in the queue or in the ranks that goes on at the next Tick. Everybody up to
	// scanned wants more than scanFree units; likewise ranked, a key of bucketTickets.
	scanned  uint64
	scanFree int64
	ranked   string
	rankFree int64
	// A sweep over all orders that Ticks make: the next order's number, 0 if there is none, and its aims.
	sweep    uint64
	sweepFor sweepAim

	dirty bool // not stored: it has changed since the last Apply
}

// sweepAim is what a sweep over a sale's orders does.
type sweepAim uint8

const (
	sweepRetention sweepAim = 1 << iota // sets the timers of finished orders
	sweepHandOver                       // gives orders the webhook jobs that they lack
)

// drawStage is the stage that a draw has reached. A draw needs Ticks in proportion to its entries.
type drawStage uint8

const (
	drawNotBegun drawStage = 0
	drawTickets  drawStage = 1 // each entry gets its ticket
	drawAwards   drawStage = 2 // the tickets are drawn in order
	drawFinished drawStage = 3
	drawRanking  drawStage = 4 // after that, if units are free again: each entry that lost gets its ticket
	drawRanked   drawStage = 5 // and the free units go to the next ranks
)

func (s *storedSale) encode(form byte) []byte {
	w := encoder{data: make([]byte, 0, 448+16*len(s.Countries)+16*len(s.countries1))}
	w.byte(form)
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
	w.bool(s.Webhook)
	w.bool(s.Mail)
	w.data = append(w.data, s.secret[:]...)
	w.uint(s.lastQueueNumber)
	w.byte(byte(s.drawStage))
	w.text(s.seed)
	w.uint(uint64(s.cursor))
	if form == recordForm1 {
		return w.data
	}
	w.duration(s.Invitations)
	w.bool(s.Retired)
	w.int(s.noFit)
	w.int(s.noRank)
	w.bool(s.webhook1)
	w.int(s.price1)
	w.writeCountries(s.countries1)
	w.bool(s.overLimit)
	w.uint(s.scanned)
	w.int(s.scanFree)
	w.text(s.ranked)
	w.int(s.rankFree)
	w.uint(s.sweep)
	w.byte(byte(s.sweepFor))
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
	s.Webhook = r.bool()
	s.Mail = r.bool()
	s.secret = r.bytes32()
	s.lastQueueNumber = r.uint()
	s.drawStage = drawStage(r.byte())
	s.seed = r.text()
	s.cursor = r.readID()
	if form == recordForm1 {
		s.webhook1, s.price1, s.countries1 = s.Webhook, s.Price, s.Countries
	} else {
		s.Invitations = r.duration()
		s.Retired = r.bool()
		s.noFit = r.int()
		s.noRank = r.int()
		s.webhook1 = r.bool()
		s.price1 = r.int()
		s.countries1 = r.readCountries()
		s.overLimit = r.bool()
		s.scanned = r.uint()
		s.scanFree = r.int()
		s.ranked = r.text()
		s.rankFree = r.int()
		s.sweep = r.uint()
		s.sweepFor = sweepAim(r.byte())
	}
	if form < recordForm1 || form > recordForm2 || !r.done() {
		return nil, fmt.Errorf("%w: a stored sale cannot be read", ErrBroken)
	}
	s.drawBegun = s.drawStage != drawNotBegun
	if s.Mode == Ballot {
		s.Draw.Commitment = draw.Commitment(s.secret)
	}
	return s, nil
}

func (s *storedSale) secretHex() string { return hex.EncodeToString(s.secret[:]) }

// StateAt returns the sale's state at a moment, as far as it is known now.
func (s *Sale) StateAt(at time.Time) SaleState {
	// A ballot stays over, also if the clock is set back, once its draw is prepared: an entry
	// that came then would know the randomness.
	over := !s.Closes.IsZero() && !at.Before(s.Closes) || s.drawBegun || s.Draw.Public != (draw.Public{})
	switch {
	case s.Retired:
		return SaleClosed
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
	case s.Free == 0 || s.Waiting > 0 && s.Free > s.noFit:
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
