package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// place carries out an Ask. The order of the questions is a rule of its own: what the
// person already has is told before what the sale has left, so that nobody who has an
// order is told "sold out" for pressing again.
func (a *apply) place(c *Ask) Answer {
	s := a.sale(c.Product)
	if s == nil {
		return Answer{Outcome: NoSuchSale}
	}
	answer := a.placeIn(s, c)
	answer.State = s.StateAt(a.now)
	return answer
}

func (a *apply) placeIn(s *sale, c *Ask) Answer {
	who := printsOf(&c.Person)
	if p := a.paper(c.ID); p != nil {
		return again(p, c, who)
	}
	if a.err != nil {
		return Answer{}
	}
	mine := a.mine(s, who, c)
	if mine.invited != nil && !c.More {
		return a.accept(s, mine.invited, c, who)
	}
	if mine.same != 0 && !c.More {
		return Answer{Outcome: Same, Paper: a.numberedID(mine.same)}
	}
	if !s.takes(c.Kind) {
		return Answer{Outcome: WrongKind}
	}
	if mine.papers > 0 && !c.More {
		return Answer{Outcome: Differs}
	}
	if refused, ok := a.refusal(s, c); ok {
		return refused
	}
	if wrong, ok := priceOf(s, c); !ok {
		return wrong
	}
	units := mine.units
	if s.LimitByAddress {
		units = max(units, a.unitsAt(s, who.address))
	}
	if units+c.Quantity > s.Limit {
		return Answer{Outcome: OverLimit, Left: max(0, s.Limit-units)}
	}
	if c.Kind == KindOrder && s.Free < int64(c.Quantity) {
		return Answer{Outcome: SoldOut, Left: int(s.Free)}
	}
	return a.take(s, c, who)
}

// again answers an Ask whose ID is there: the ledger carried it out already, or, once in
// 2^50, two boards made the same number.
func again(p *paper, c *Ask, who prints) Answer {
	p.fill()
	// An invitation that was accepted has become an order.
	kind := p.Kind == c.Kind || p.place > 0 && (c.Kind == KindWaiting || c.Kind == KindInterest)
	if p.Product == c.Product && kind && p.prints.email == who.email && p.prints.person == who.person &&
		(p.Quantity == c.Quantity || p.place > 0) {
		return Answer{Outcome: Same, Paper: p.ID}
	}
	return Answer{Outcome: Retry}
}

// belongings are a person's live papers in a sale.
type belongings struct {
	papers  int
	units   int
	same    uint64 // number of the oldest with what the Ask has in it; 0 if none
	invited *paper // the oldest invitation that an order could accept
}

// mine looks up what a person has. A paper takes at least one unit of the limit, so there
// are at most MaxLimit.
func (a *apply) mine(s *sale, who prints, c *Ask) belongings {
	var mine belongings
	var waiting []uint64
	prefix := personPrefix(who.email, s.number, false)
	for k, v := a.byPerson.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byPerson.Next() {
		number, kind, units := binary.BigEndian.Uint64(k[len(prefix):]), Kind(v[0]), int(binary.BigEndian.Uint32(v[1:]))
		mine.papers++
		mine.units += units
		if mine.same == 0 && kind == c.Kind && units == c.Quantity && bytes.Equal(v[5:], who.person[:]) {
			mine.same = number
		}
		if c.Kind == KindOrder && (kind == KindWaiting || kind == KindInterest) {
			waiting = append(waiting, number)
		}
	}
	for _, number := range waiting {
		p := a.numbered(number)
		if p == nil || p.State != StateInvited {
			continue
		}
		if !a.now.Before(p.Until) { // its Tick is still to come
			a.expire(p)
			mine.papers--
			mine.units -= p.Quantity
			continue
		}
		if mine.invited == nil {
			mine.invited = p
		}
	}
	return mine
}

func (a *apply) numberedID(number uint64) ID {
	if p := a.numbered(number); p != nil {
		return p.ID
	}
	return 0
}

// unitsAt is how many units live papers of an address have in a sale.
func (a *apply) unitsAt(s *sale, address fingerprint) int {
	units := 0
	prefix := addressPrefix(address, s.number)
	for k, v := a.byAddress.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byAddress.Next() {
		units += int(binary.BigEndian.Uint32(v))
	}
	return units
}

// takes reports whether a kind of paper goes with the sale at all.
func (s *sale) takes(k Kind) bool {
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

// refusal is what the sale's state has against a kind of paper that goes with it.
func (a *apply) refusal(s *sale, c *Ask) (Answer, bool) {
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

// priceOf compares what the page showed with what it costs.
func priceOf(s *sale, c *Ask) (Answer, bool) {
	split, ok := s.Total(c.Person.Country, c.Quantity)
	switch {
	case !ok:
		return Answer{Outcome: NoShipping}, false
	case split.Total != c.Total || c.Currency != s.Currency:
		return Answer{Outcome: PriceChanged, Total: split.Total}, false
	}
	return Answer{}, true
}

// take makes the paper.
func (a *apply) take(s *sale, c *Ask, who prints) Answer {
	a.b.meta.papers++
	p := &paper{
		Paper: Paper{
			ID: c.ID, Kind: c.Kind, Product: c.Product, Number: a.b.meta.papers,
			Quantity: c.Quantity, Total: c.Total, Currency: c.Currency, Person: c.Person,
			Made: a.now, State: StateOpen, Changed: a.now,
		},
		sale:   s.number,
		prints: who,
	}
	answer := Answer{Outcome: Taken, Paper: c.ID}
	switch c.Kind {
	case KindOrder:
		p.Ready = a.now.Add(s.HandoverAfter)
	case KindEntry:
		a.put(a.pot, saleKey(s.number, uint64(p.ID)), potValue(p.Number, p.Quantity, false))
		s.Entries++
	case KindInterest, KindWaiting:
		s.places++
		p.place = s.places
		answer.Position = s.Waiting + s.Interested + 1
	}
	a.tell(p, JobMailTaken)
	a.settle(nil, p)
	a.checkLimit(s, who)
	return answer
}

// checkLimit counts again what a person and an address have, from the indexes as they are
// after a paper was made.
func (a *apply) checkLimit(s *sale, who prints) {
	units := 0
	prefix := personPrefix(who.email, s.number, false)
	for k, v := a.byPerson.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byPerson.Next() {
		units += int(binary.BigEndian.Uint32(v[1:]))
	}
	if s.LimitByAddress {
		units = max(units, a.unitsAt(s, who.address))
	}
	if units > s.Limit {
		a.fail(fmt.Errorf("%w: %s: a person or an address has %d units, and the limit is %d", ErrBroken, s.Product, units, s.Limit))
	}
}

// accept turns an invitation into an order: for the same person with the same name and
// address, so that knowing somebody's e-mail address is not enough to have it sent
// elsewhere, and for at most the units held.
func (a *apply) accept(s *sale, p *paper, c *Ask, who prints) Answer {
	p.fill()
	if p.prints.person != who.person || c.Quantity > p.Quantity {
		return Answer{Outcome: Differs}
	}
	if wrong, ok := priceOf(s, c); !ok {
		return wrong
	}
	next := a.become(p, StateOpen)
	next.Kind = KindOrder
	next.Quantity = c.Quantity
	next.Total = c.Total
	next.Until = moment(0)
	next.Ready = a.now.Add(s.HandoverAfter)
	a.tell(next, JobMailTaken)
	a.settle(p, next)
	return Answer{Outcome: Taken, Paper: p.ID}
}
