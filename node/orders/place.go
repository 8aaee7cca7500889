package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// placeOrder carries out a PlaceOrder. The order of its checks matters: see placeInSale and
// placeNeutrally.
func (a *applyTx) placeOrder(c *PlaceOrder) Answer {
	s := a.saleByProduct(c.Product)
	if s == nil {
		return Answer{Outcome: NoSuchSale}
	}
	if a.refusesOrders() {
		return Answer{Outcome: Restoring, State: s.StateAt(a.now)}
	}
	answer := a.placeInSale(s, c)
	answer.State = s.StateAt(a.now)
	return answer
}

// placeInSale compares a PlaceOrder with the order of its ID and then, under rules 1 and 2, with the
// person's other orders before the free units.
func (a *applyTx) placeInSale(s *storedSale, c *PlaceOrder) Answer {
	prints := a.rules.fingerprintsOf(&c.Person)
	if o := a.orderByID(c.ID); o != nil {
		o.computeFingerprints(&a.rules)
		if a.rules.isNeutral && o.sale == s.number && o.State == StateInvited && c.Kind == KindOrder && (c.FromReceipt || !o.Confirmed) {
			return a.acceptInvitation(s, o, c, prints)
		}
		return a.answerReplay(o, c, prints)
	}
	if a.err != nil {
		return Answer{}
	}
	if a.rules.isNeutral {
		return a.placeNeutrally(s, c, prints)
	}
	owned := a.findHoldings(s, prints, c)
	if owned.invited != nil && !c.InAddition {
		return a.acceptInvitation(s, owned.invited, c, prints)
	}
	if owned.matching != 0 && !c.InAddition {
		return Answer{Outcome: AlreadyDone, Order: a.idByNumber(owned.matching)}
	}
	if !s.allowsKind(c.Kind) {
		return Answer{Outcome: WrongKind}
	}
	if owned.orders > 0 && !c.InAddition {
		return Answer{Outcome: Differs}
	}
	if refused, ok := a.refuseByState(s, c); ok {
		return refused
	}
	split, wrong, ok := checkTotal(s, c)
	if !ok {
		return wrong
	}
	units := owned.units
	if s.LimitByAddress {
		units = max(units, a.unitsAtAddress(s, prints.address))
	}
	if units+c.Quantity > s.Limit {
		return Answer{Outcome: OverLimit, Remaining: max(0, s.Limit-units)}
	}
	if c.Kind == KindOrder && s.Free < int64(c.Quantity) {
		return Answer{Outcome: SoldOut, Remaining: int(s.Free)}
	}
	return a.createOrder(s, c, split, prints)
}

// placeNeutrally judges a PlaceOrder by the sale, and by the person and the address last: only where a form
// of anybody else would place an order does theirs show that they have one. Then the answer says
// nothing more, and the person gets a mail.
func (a *applyTx) placeNeutrally(s *storedSale, c *PlaceOrder, prints fingerprints) Answer {
	if !s.allowsKind(c.Kind) {
		return Answer{Outcome: WrongKind}
	}
	if refused, ok := a.refuseByState(s, c); ok {
		return refused
	}
	split, wrong, ok := checkTotal(s, c)
	switch {
	case !ok:
		return wrong
	case c.Quantity > s.Limit:
		return Answer{Outcome: OverLimit, Remaining: s.Limit}
	case c.Kind == KindOrder && s.Free < int64(c.Quantity):
		return Answer{Outcome: SoldOut, Remaining: int(s.Free)}
	}
	if s.Confirms() { // then not even this shows
		if forms, _ := a.countForms(c.Network); !mayWait(forms, a.readConfirmQueue().Waiting) {
			return Answer{Outcome: Full}
		}
		return a.createOrder(s, c, split, prints)
	}
	owned := a.findHoldings(s, prints, c)
	if owned.orders > 0 && !c.InAddition || a.countUnits(s, prints)+c.Quantity > s.Limit {
		a.mailReceipts(s, owned.first, prints.mailbox)
		return Answer{Outcome: Differs}
	}
	return a.createOrder(s, c, split, prints)
}

const (
	// existsMailInterval separates the mails about one order that forms for its person cause.
	existsMailInterval = time.Hour
	// maxExistsMails limits the orders of a person that get one.
	maxExistsMails = 5
)

// mailReceipts mails the links of those of a person's orders that have the mailbox of a form. A mail that waits has the link already.
func (a *applyTx) mailReceipts(s *storedSale, numbers []uint64, mailbox fingerprint) {
	for _, number := range numbers {
		o := a.orderByNumber(number)
		if o == nil || !s.Mail {
			return
		}
		o.computeFingerprints(&a.rules)
		if age := a.at - o.existsMailed; o.fingerprints.mailbox != mailbox || o.mailJob != 0 || age >= 0 && age < existsMailInterval.Milliseconds() {
			continue
		}
		next := *o
		next.existsMailed = a.at
		a.queueMail(&next, JobMailExists)
		a.storeOrder(o, &next)
	}
}

// answerReplay answers a PlaceOrder whose ID exists: it was already carried out; or its form, which has
// changed since, is the order's; or it is another person's.
func (a *applyTx) answerReplay(o *storedOrder, c *PlaceOrder, prints fingerprints) Answer {
	// An accepted invitation has become an order.
	kind := o.Kind == c.Kind || o.queueNumber > 0 && (c.Kind == KindWaiting || c.Kind == KindInterest)
	if o.Product == c.Product && kind && o.fingerprints.email == prints.email && o.fingerprints.person == prints.person &&
		(o.Quantity == c.Quantity || o.queueNumber > 0) {
		return Answer{Outcome: AlreadyDone, Order: o.ID}
	}
	if a.rules.isNeutral && o.Product == c.Product && o.fingerprints.email == prints.email {
		return Answer{Outcome: Differs, Order: o.ID}
	}
	return Answer{Outcome: IDInUse}
}

// holdings are a person's live orders in a sale.
type holdings struct {
	orders   int
	units    int
	matching uint64       // number of the oldest order that equals the PlaceOrder; 0 if none
	invited  *storedOrder // the oldest invitation that an order could accept
	first    []uint64     // numbers of the oldest orders, at most maxExistsMails
}

// findHoldings looks up a person's live orders. Each uses at least one unit of the limit, so
// there are at most MaxLimit.
func (a *applyTx) findHoldings(s *storedSale, prints fingerprints, c *PlaceOrder) holdings {
	var owned holdings
	var waiting []uint64
	prefix := personPrefix(prints.email, s.number, livePart)
	for k, v := a.byPerson.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byPerson.Next() {
		number, kind, units := binary.BigEndian.Uint64(k[len(prefix):]), Kind(v[0]), int(binary.BigEndian.Uint32(v[1:]))
		owned.orders++
		owned.units += units
		if len(owned.first) < maxExistsMails {
			owned.first = append(owned.first, number)
		}
		if owned.matching == 0 && kind == c.Kind && units == c.Quantity && bytes.Equal(v[5:], prints.person[:]) {
			owned.matching = number
		}
		if c.Kind == KindOrder && !a.rules.isNeutral && (kind == KindWaiting || kind == KindInterest) {
			waiting = append(waiting, number)
		}
	}
	for _, number := range waiting {
		o := a.orderByNumber(number)
		if o == nil || o.State != StateInvited {
			continue
		}
		if !a.now.Before(o.Until) { // the Tick that expires it is still to come
			a.expireOrder(o)
			owned.orders--
			owned.units -= o.Quantity
			continue
		}
		if owned.invited == nil {
			owned.invited = o
		}
	}
	return owned
}

func (a *applyTx) idByNumber(number uint64) ID {
	if o := a.orderByNumber(number); o != nil {
		return o.ID
	}
	return 0
}

// countUnits returns the units of the live orders of a person in a sale, or of the address if the
// limit holds for addresses too and that has more. Where mailboxes are proven, an address refuses nobody: see markNeighbours.
func (a *applyTx) countUnits(s *storedSale, prints fingerprints) int {
	units := 0
	prefix := personPrefix(prints.email, s.number, livePart)
	for k, v := a.byPerson.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byPerson.Next() {
		units += int(binary.BigEndian.Uint32(v[1:]))
	}
	if s.LimitByAddress && !s.Confirms() {
		units = max(units, a.unitsAtAddress(s, prints.address))
	}
	return units
}

// unitsAtAddress returns the units of the live orders of an address in a sale.
func (a *applyTx) unitsAtAddress(s *storedSale, address fingerprint) int {
	units := 0
	prefix := addressPrefix(address, s.number)
	for k, v := a.byAddress.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = a.byAddress.Next() {
		units += int(binary.BigEndian.Uint32(v))
	}
	return units
}

// allowsKind reports whether the sale has orders of a kind at all.
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

// refuseByState returns the answer if the sale's state does not allow the order now.
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

// checkTotal compares the total that the page showed with the current one.
func checkTotal(s *storedSale, c *PlaceOrder) (split Split, wrong Answer, ok bool) {
	split, ok = s.Total(c.Person.Country, c.Quantity)
	switch {
	case !ok:
		return split, Answer{Outcome: NoShipping}, false
	case split.Total != c.Total || c.Currency != s.Currency:
		return split, Answer{Outcome: PriceChanged, Total: split.Total}, false
	}
	return split, Answer{}, true
}

func (a *applyTx) createOrder(s *storedSale, c *PlaceOrder, split Split, prints fingerprints) Answer {
	a.b.meta.orders++
	o := &storedOrder{
		Order: Order{
			ID: c.ID, Kind: c.Kind, Product: c.Product, Number: a.b.meta.orders,
			Quantity: c.Quantity, Total: c.Total, Currency: c.Currency, Person: c.Person,
			Made: a.now, State: StateOpen, Changed: a.now, Split: split,
		},
		sale:         s.number,
		fingerprints: prints,
	}
	if s.Confirms() {
		a.addUnconfirmed(s, o, c)
		return Answer{Outcome: Placed, Order: c.ID}
	}
	position := a.admitOrder(s, o)
	a.storeOrder(nil, o)
	a.verifyLimit(s, prints)
	return Answer{Outcome: Placed, Order: c.ID, Position: position}
}

// admitOrder makes an order that is about to be stored count, and returns its position in a queue.
func (a *applyTx) admitOrder(s *storedSale, o *storedOrder) (position int) {
	switch o.Kind {
	case KindOrder:
		o.Ready = a.now.Add(s.FulfilmentDelay)
	case KindEntry:
		a.put(a.ballotEntries, saleKey(s.number, uint64(o.ID)), entryValue(o.Number, o.Quantity, false))
		s.Entries++
	case KindInterest, KindWaiting:
		s.lastQueueNumber++
		o.queueNumber = s.lastQueueNumber
		position = s.Waiting + s.Interested + 1
		s.noFit = min(s.noFit, int64(o.Quantity)-1)
	}
	a.queueMail(o, JobMailPlaced)
	return position
}

// verifyLimit checks an invariant after an order is stored: the indexes give no person more
// units than the limit, and no address if the limit holds for addresses too.
func (a *applyTx) verifyLimit(s *storedSale, prints fingerprints) {
	if units := a.countUnits(s, prints); units > s.Limit {
		a.fail(fmt.Errorf("%w: %s: a person or an address has %d units, but the limit is %d", ErrBroken, s.Product, units, s.Limit))
	}
}

// acceptInvitation turns an invitation into an order, for at most the units held. Name and
// address must be the same, so that a person's e-mail address alone is not enough to have the
// order sent elsewhere.
func (a *applyTx) acceptInvitation(s *storedSale, o *storedOrder, c *PlaceOrder, prints fingerprints) Answer {
	o.computeFingerprints(&a.rules)
	if a.rules.isNeutral && !a.now.Before(o.Until) { // the Tick that expires it is still to come
		return Answer{Outcome: TooLate}
	}
	if o.fingerprints.person != prints.person || c.Quantity > o.Quantity {
		return Answer{Outcome: Differs}
	}
	split, wrong, ok := checkTotal(s, c)
	if !ok {
		return wrong
	}
	next := a.withState(o, StateOpen)
	next.Kind, next.Quantity, next.Total, next.Split = KindOrder, c.Quantity, c.Total, split
	next.Until, next.Ready = fromMillis(0), a.now.Add(s.FulfilmentDelay)
	a.queueMail(next, JobMailPlaced)
	a.storeOrder(o, next)
	return Answer{Outcome: Placed, Order: o.ID}
}
