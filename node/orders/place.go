package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// placeOrder carries out an Ask. The order of the questions is a rule of its own: what the
// person already has is told before what the sale has left, so that nobody who has an
// order is told "sold out" for pressing again.
func (a *applyTx) placeOrder(c *PlaceOrder) Answer {
	s := a.saleByProduct(c.Product)
	if s == nil {
		return Answer{Outcome: NoSuchSale}
	}
	answer := a.placeInSale(s, c)
	answer.State = s.StateAt(a.now)
	return answer
}

func (a *applyTx) placeInSale(s *storedSale, c *PlaceOrder) Answer {
	who := fingerprintsOf(&c.Person)
	if p := a.orderByID(c.ID); p != nil {
		return answerReplay(p, c, who)
	}
	if a.err != nil {
		return Answer{}
	}
	mine := a.findHoldings(s, who, c)
	if mine.invited != nil && !c.More {
		return a.acceptInvitation(s, mine.invited, c, who)
	}
	if mine.same != 0 && !c.More {
		return Answer{Outcome: Same, Order: a.idByNumber(mine.same)}
	}
	if !s.allowsKind(c.Kind) {
		return Answer{Outcome: WrongKind}
	}
	if mine.orders > 0 && !c.More {
		return Answer{Outcome: Differs}
	}
	if refused, ok := a.refuseByState(s, c); ok {
		return refused
	}
	if wrong, ok := checkTotal(s, c); !ok {
		return wrong
	}
	units := mine.units
	if s.LimitByAddress {
		units = max(units, a.unitsAtAddress(s, who.address))
	}
	if units+c.Quantity > s.Limit {
		return Answer{Outcome: OverLimit, Left: max(0, s.Limit-units)}
	}
	if c.Kind == KindOrder && s.Free < int64(c.Quantity) {
		return Answer{Outcome: SoldOut, Left: int(s.Free)}
	}
	return a.createOrder(s, c, who)
}

// answerReplay answers an Ask whose ID is there: the ledger carried it out already, or, once in
// 2^50, two boards made the same number.
func answerReplay(p *storedOrder, c *PlaceOrder, who fingerprints) Answer {
	p.fillPrints()
	// An invitation that was accepted has become an order.
	kind := p.Kind == c.Kind || p.queueNumber > 0 && (c.Kind == KindWaiting || c.Kind == KindInterest)
	if p.Product == c.Product && kind && p.prints.email == who.email && p.prints.person == who.person &&
		(p.Quantity == c.Quantity || p.queueNumber > 0) {
		return Answer{Outcome: Same, Order: p.ID}
	}
	return Answer{Outcome: IDInUse}
}

// holdings are a person's live papers in a sale.
type holdings struct {
	orders  int
	units   int
	same    uint64       // number of the oldest with what the Ask has in it; 0 if none
	invited *storedOrder // the oldest invitation that an order could accept
}

// findHoldings looks up what a person has. A paper takes at least one unit of the limit, so there
// are at most MaxLimit.
func (a *applyTx) findHoldings(s *storedSale, who fingerprints, c *PlaceOrder) holdings {
	var mine holdings
	var waiting []uint64
	prefix := personPrefix(who.email, s.number, false)
	for k, v := a.byPerson.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byPerson.Next() {
		number, kind, units := binary.BigEndian.Uint64(k[len(prefix):]), Kind(v[0]), int(binary.BigEndian.Uint32(v[1:]))
		mine.orders++
		mine.units += units
		if mine.same == 0 && kind == c.Kind && units == c.Quantity && bytes.Equal(v[5:], who.person[:]) {
			mine.same = number
		}
		if c.Kind == KindOrder && (kind == KindWaiting || kind == KindInterest) {
			waiting = append(waiting, number)
		}
	}
	for _, number := range waiting {
		p := a.orderByNumber(number)
		if p == nil || p.State != StateInvited {
			continue
		}
		if !a.now.Before(p.Until) { // its Tick is still to come
			a.expireInvitation(p)
			mine.orders--
			mine.units -= p.Quantity
			continue
		}
		if mine.invited == nil {
			mine.invited = p
		}
	}
	return mine
}

func (a *applyTx) idByNumber(number uint64) ID {
	if p := a.orderByNumber(number); p != nil {
		return p.ID
	}
	return 0
}

// unitsAtAddress is how many units live papers of an address have in a sale.
func (a *applyTx) unitsAtAddress(s *storedSale, address fingerprint) int {
	units := 0
	prefix := addressPrefix(address, s.number)
	for k, v := a.byAddress.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byAddress.Next() {
		units += int(binary.BigEndian.Uint32(v))
	}
	return units
}

// allowsKind reports whether a kind of paper goes with the sale at all.
func (s *storedSale) allowsKind(k Kind) bool {
	switch k {
	case KindOrder:
		return s.Mode == FirstCome
	case KindEntry:
		return s.Mode == Ballot
	case KindInterest:
		return s.Mode == Interest
	}
	return s.WaitingList && s.Mode != Interest
}

// refuseByState is what the sale's state has against a kind of paper that goes with it.
func (a *applyTx) refuseByState(s *storedSale, c *PlaceOrder) (Answer, bool) {
	switch state := s.StateAt(a.now); state {
	case SaleUpcoming:
		return Answer{Outcome: NotOpen, Opens: s.Opens}, true
	case SaleClosed, SaleDrawing:
		return Answer{Outcome: Closed}, true
	case SaleDrawn:
		if c.Kind != KindWaiting {
			return Answer{Outcome: Closed}, true
		}
	case SaleSoldOut:
		if c.Kind == KindOrder {
			return Answer{Outcome: SoldOut}, true
		}
	case SaleInStock:
		if c.Kind == KindWaiting && s.Free >= int64(c.Quantity) {
			return Answer{Outcome: WrongKind}, true
		}
	case SaleOpen:
		if c.Kind == KindWaiting { // a ballot that takes entries
			return Answer{Outcome: WrongKind}, true
		}
	}
	return Answer{}, false
}

// checkTotal compares what the page showed with what it costs.
func checkTotal(s *storedSale, c *PlaceOrder) (Answer, bool) {
	split, ok := s.Total(c.Person.Country, c.Quantity)
	switch {
	case !ok:
		return Answer{Outcome: NoShipping}, false
	case split.Total != c.Total || c.Currency != s.Currency:
		return Answer{Outcome: PriceChanged, Total: split.Total}, false
	}
	return Answer{}, true
}

// createOrder makes the paper.
func (a *applyTx) createOrder(s *storedSale, c *PlaceOrder, who fingerprints) Answer {
	a.b.meta.orders++
	p := &storedOrder{
		Order: Order{
			ID: c.ID, Kind: c.Kind, Product: c.Product, Number: a.b.meta.orders,
			Quantity: c.Quantity, Total: c.Total, Currency: c.Currency, Person: c.Person,
			Made: a.now, State: StateOpen, Changed: a.now,
		},
		sale:   s.number,
		prints: who,
	}
	answer := Answer{Outcome: Placed, Order: c.ID}
	switch c.Kind {
	case KindOrder:
		p.Ready = a.now.Add(s.FulfilmentDelay)
	case KindEntry:
		a.put(a.entries, saleKey(s.number, uint64(p.ID)), entryValue(p.Number, p.Quantity, false))
		s.Entries++
	case KindInterest, KindWaiting:
		s.lastQueueNumber++
		p.queueNumber = s.lastQueueNumber
		answer.Position = s.Waiting + s.Interested + 1
	}
	a.queueMail(p, JobMailPlaced)
	a.storeOrder(nil, p)
	a.verifyLimit(s, who)
	return answer
}

// verifyLimit counts again what a person and an address have, from the indexes as they are
// after a paper was made.
func (a *applyTx) verifyLimit(s *storedSale, who fingerprints) {
	units := 0
	prefix := personPrefix(who.email, s.number, false)
	for k, v := a.byPerson.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byPerson.Next() {
		units += int(binary.BigEndian.Uint32(v[1:]))
	}
	if s.LimitByAddress {
		units = max(units, a.unitsAtAddress(s, who.address))
	}
	if units > s.Limit {
		a.fail(fmt.Errorf("%w: %s: a person or an address has %d units, and the limit is %d", ErrBroken, s.Product, units, s.Limit))
	}
}

// acceptInvitation turns an invitation into an order: for the same person with the same name and
// address, so that knowing somebody's e-mail address is not enough to have it sent
// elsewhere, and for at most the units held.
func (a *applyTx) acceptInvitation(s *storedSale, p *storedOrder, c *PlaceOrder, who fingerprints) Answer {
	p.fillPrints()
	if p.prints.person != who.person || c.Quantity > p.Quantity {
		return Answer{Outcome: Differs}
	}
	if wrong, ok := checkTotal(s, c); !ok {
		return wrong
	}
	next := a.withState(p, StateOpen)
	next.Kind = KindOrder
	next.Quantity = c.Quantity
	next.Total = c.Total
	next.Until = fromMillis(0)
	next.Ready = a.now.Add(s.FulfilmentDelay)
	a.queueMail(next, JobMailPlaced)
	a.storeOrder(p, next)
	return Answer{Outcome: Placed, Order: p.ID}
}
