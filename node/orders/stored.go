package orders

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"bramble/node/orders/draw"
)

// The first byte of a stored order or sale, and of the book's own record: the version of its encoding.
const (
	recordForm1 = 1
	recordForm2 = 2 // under rules 2
	recordForm3 = 3 // under rules 3
)

type storedOrder struct {
	Order
	sale        uint16  // the sale's number
	queueNumber uint64  // in the queue, see updateQueue; 0 if it was never in one
	mailJob     JobKind // the mail job that waits; 0 if none
	mailSince   int64   // of that job, Unix milliseconds
	// The webhook job that waits, 0 if none. In form 1 it is not stored: see deriveFields.
	webhookJob   JobKind
	webhookSince int64
	existsMailed int64 // when the last JobMailExists was queued, Unix milliseconds
	equalCounts  bool  // unconfirmed: its mailbox has confirmed an equal one, so it holds nothing

	form         byte         // that the order was read from
	fingerprints fingerprints // not stored; see computeFingerprints
}

// fingerprints are those by which an order is found.
type fingerprints struct{ email, mailbox, address, person fingerprint }

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
	return slices.Contains([]OrderState{StateOpen, StateInvited, StateWon, StateFulfilling, StateFulfilled}, o.State)
}

// isFinished reports whether the order will not change any more except by being erased.
func (o *storedOrder) isFinished() bool {
	return slices.Contains([]OrderState{StateLost, StateFulfilled, StateCancelled, StateLeft, StateExpired, StateReturned}, o.State)
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

// hasTimer reports whether the order ends at Until unless its person does something.
func (o *storedOrder) hasTimer() bool { return o.State == StateInvited || o.State == StateUnconfirmed }

// unitsHeld returns the units that are held for the invited person, or until an order is confirmed.
func (o *storedOrder) unitsHeld() int64 {
	if o.State == StateInvited || o.State == StateUnconfirmed && o.Kind == KindOrder && !o.Unheld && !o.equalCounts {
		return int64(o.Quantity)
	}
	return 0
}

func (o *storedOrder) isQueued() bool {
	return o.State == StateOpen && (o.Kind == KindWaiting || o.Kind == KindInterest)
}

func (o *storedOrder) awaitsFulfilment() bool {
	return o.unitsSold() > 0 && o.isLive() && o.State != StateFulfilled
}

func (o *storedOrder) codeFields(c fieldCodec) {
	c.codeAll(&o.ID, &o.Kind, &o.sale, &o.Number, &o.Quantity, &o.Total, &o.Currency, &o.Person, &o.Made, &o.State, &o.Was,
		&o.Until, &o.Changed, &o.Ready, &o.Note, &o.queueNumber, &o.mailJob, &o.mailSince)
	if c.form != recordForm1 {
		c.codeAll(&o.webhookJob, &o.webhookSince, &o.Split.Price, &o.Split.Shipping, &o.Split.Tax, &o.Split.TaxRate,
			&o.HandedOver, &o.Restocked)
	}
	if c.form > recordForm2 {
		c.codeAll(&o.existsMailed, &o.Unheld, &o.SameAddress, &o.Confirmed, &o.equalCounts)
	}
}

// decodeOrder decodes what encodeAs has encoded. deriveFields sets the rest.
func decodeOrder(data []byte) (*storedOrder, error) {
	o := &storedOrder{}
	return o, o.decode(&decoder{data: data})
}

// decode is decodeOrder into a zero order.
func (o *storedOrder) decode(r *decoder) error {
	o.form = r.byte()
	o.codeFields(fieldCodec{from: r, form: o.form})
	if o.form != recordForm1 {
		o.Split.Total = o.Total
	}
	if o.form < recordForm1 || o.form > recordForm3 || !r.done() || o.sale >= MaxSales {
		return fmt.Errorf("%w: a stored order cannot be read", ErrBroken)
	}
	return nil
}

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

func (s *storedSale) codeFields(c fieldCodec) {
	c.codeAll(&s.Product, &s.Mode, &s.State, &s.Stock, &s.Sold, &s.Held, &s.Free, &s.Limit, &s.LimitByAddress, &s.Opens, &s.Closes,
		&s.WaitingList, &s.Waiting, &s.Interested, &s.Entries, &s.Price, &s.Currency, &s.Countries, &s.FulfilmentDelay, &s.Retain,
		&s.Draw.PublicKind, &s.Draw.Public, &s.Draw.At, &s.Draw.Stock, &s.Draw.Winners, &s.Version, &s.closed, &s.Webhook, &s.Mail,
		&s.secret, &s.lastQueueNumber, &s.drawStage, &s.seed, &s.cursor)
	if c.form != recordForm1 {
		c.codeAll(&s.Invitations, &s.Retired, &s.noFit, &s.noRank, &s.webhook1, &s.price1, &s.countries1, &s.overLimit,
			&s.scanned, &s.scanFree, &s.ranked, &s.rankFree, &s.sweep, &s.sweepFor)
	}
	if c.form > recordForm2 {
		c.codeAll(&s.Draw.Version, &s.Draw.Dice, &s.Draw.List, &s.Draw.Listed, &s.Draw.Boards, &s.Draw.Taken, &s.Confirm)
	}
}

func decodeSale(number uint16, data []byte) (*storedSale, error) {
	r := &decoder{data: data}
	form := r.byte()
	s := &storedSale{number: number}
	s.codeFields(fieldCodec{from: r, form: form})
	if form == recordForm1 {
		s.webhook1, s.price1, s.countries1 = s.Webhook, s.Price, s.Countries
	}
	if form < recordForm1 || form > recordForm3 || !r.done() {
		return nil, fmt.Errorf("%w: a stored sale cannot be read", ErrBroken)
	}
	s.drawBegun = s.drawStage != drawNotBegun
	if s.Mode == Ballot {
		s.Draw.Commitment, s.Draw.Version = draw.Commitment(s.secret), max(1, s.Draw.Version)
	}
	return s, nil
}

func (s *storedSale) secretHex() string { return hex.EncodeToString(s.secret[:]) }

// StateAt returns the sale's state at a moment, as far as it is known now.
func (s *Sale) StateAt(at time.Time) SaleState {
	// A ballot stays over, also if the clock is set back, once its list is fixed or its draw is prepared:
	// an entry that came then would know the randomness.
	over := !s.Closes.IsZero() && !at.Before(s.Closes) || s.drawBegun || s.Draw.Public != (draw.Public{}) || s.Draw.List != ""
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

// ClosedByOperator reports whether an operator has closed the sale: no time opens it then.
func (s *Sale) ClosedByOperator() bool { return s.closed }

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
