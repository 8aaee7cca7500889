package orders

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bramble/node/orders/draw"
)

// model is the order book at its simplest: a list of orders, searched
// from the beginning every time. It has one sale, and no prices.
type model struct {
	offer   Offer
	stock   int64
	closed  bool
	drawn   bool
	orders  []*modelOrder
	now     time.Time
	entries []draw.Entry
	losers  []*modelOrder // in the order of their tickets
	// noFit and noRank: the units that nobody in the queue, and no loser, wants as few of.
	noFit, noRank int64
	turns         int
}

type modelOrder struct {
	id        ID
	person    int // person
	house     int // variant of the address
	kind      Kind
	quantity  int
	state     OrderState
	until     time.Time
	turn      int  // in the queue; 0 = it was never in one
	unheld    bool // unconfirmed, and holds no units
	confirmed bool
}

func (m *modelOrder) isLive() bool {
	return m.state == StateOpen || m.state == StateInvited || m.state == StateWon ||
		m.state == StateFulfilling || m.state == StateFulfilled
}

func (m *model) free() int64 {
	free := m.stock
	for _, p := range m.orders {
		switch {
		case p.state == StateReturned:
		case p.state == StateUnconfirmed && p.kind == KindOrder && !p.unheld, p.state == StateInvited, p.state == StateWon, p.state == StateFulfilling, p.state == StateFulfilled,
			p.state == StateOpen && p.kind == KindOrder:
			free -= int64(p.quantity)
		}
	}
	return free
}

func (m *model) waiting() (n int) {
	for _, p := range m.orders {
		if p.isQueued() {
			n++
		}
	}
	return n
}

func (m *modelOrder) isQueued() bool {
	return m.state == StateOpen && (m.kind == KindWaiting || m.kind == KindInterest)
}

func (m *model) over() bool { return !m.offer.Closes.IsZero() && !m.now.Before(m.offer.Closes) }

func (m *model) find(id ID) *modelOrder {
	for _, p := range m.orders {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (m *model) placeOrder(c PlaceOrder, who, house int) Outcome {
	if own := m.find(c.ID); own != nil {
		return m.placeAgain(own, c, who, house)
	}
	if !m.suits(c.Kind) {
		return WrongKind
	}
	if refused := m.refusal(c); refused != 0 {
		return refused
	}
	if c.Quantity > m.offer.Limit {
		return OverLimit
	}
	if c.Kind == KindOrder && m.free() < int64(c.Quantity) {
		return SoldOut
	}
	o := &modelOrder{id: c.ID, person: who, house: house, kind: c.Kind, quantity: c.Quantity, state: StateOpen}
	if m.offer.Confirm > 0 {
		o.unheld = c.Kind == KindOrder && (c.Unheld || 2*int64(c.Quantity)+m.held() > m.free())
		o.state, o.until = StateUnconfirmed, m.now.Add(m.offer.Confirm)
		m.orders = append(m.orders, o)
		return Placed
	}
	hasSome, units := false, m.unitsOf(&modelOrder{person: who, house: house})
	for _, p := range m.orders {
		hasSome = hasSome || p.isLive() && p.person == who
	}
	if hasSome && !c.InAddition || units+c.Quantity > m.offer.Limit {
		return Differs
	}
	m.admit(o)
	m.orders = append(m.orders, o)
	return Placed
}

// admit makes an order count.
func (m *model) admit(o *modelOrder) {
	o.state = StateOpen
	if o.kind == KindWaiting || o.kind == KindInterest {
		m.noFit = min(m.noFit, int64(o.quantity)-1)
		m.turns++
		o.turn = m.turns
	}
}

// held returns the units of invitations and unconfirmed orders.
func (m *model) held() (units int64) {
	for _, p := range m.orders {
		if p.state == StateInvited || p.state == StateUnconfirmed && p.kind == KindOrder && !p.unheld {
			units += int64(p.quantity)
		}
	}
	return units
}

// queue returns the orders in the queue.
func (m *model) queue() (list []*modelOrder) {
	for _, p := range m.orders {
		if p.isQueued() {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *modelOrder) int { return a.turn - b.turn })
	return list
}

func (m *model) confirm(id ID) Outcome {
	p := m.find(id)
	switch {
	case p == nil:
		return NoOrder
	case p.isLive():
		return AlreadyDone
	case p.state != StateUnconfirmed, p.kind == KindEntry && m.over(), p.kind != KindEntry && !m.now.Before(p.until):
		return TooLate
	case m.unitsOf(p)+p.quantity > m.offer.Limit:
		return OverLimit
	case p.unheld && (m.refusal(PlaceOrder{Kind: KindOrder, Quantity: p.quantity}) != 0 || m.free() < int64(p.quantity)):
		return SoldOut
	}
	p.unheld, p.confirmed = false, true
	m.admit(p)
	return Done
}

// placeAgain is a form that has the ID of an order.
func (m *model) placeAgain(own *modelOrder, c PlaceOrder, who, house int) Outcome {
	isSame := own.person == who && own.house == house
	accepts := own.state == StateInvited && c.Kind == KindOrder && (c.FromReceipt || !own.confirmed)
	switch {
	case accepts && !m.now.Before(own.until):
		return TooLate
	case accepts && (!isSame || c.Quantity > own.quantity):
		return Differs
	case accepts:
		own.kind, own.quantity, own.state = KindOrder, c.Quantity, StateOpen
		return Placed
	case isSame && (own.kind == c.Kind || own.turn > 0 && (c.Kind == KindWaiting || c.Kind == KindInterest)) && (own.quantity == c.Quantity || own.turn > 0):
		return AlreadyDone
	case own.person == who:
		return Differs
	}
	return IDInUse
}

func (m *model) suits(k Kind) bool {
	switch m.offer.Mode {
	case FirstCome:
		return k == KindOrder || k == KindWaiting
	case Ballot:
		return k == KindEntry || k == KindWaiting
	}
	return k == KindInterest
}

func (m *model) refusal(c PlaceOrder) Outcome {
	gone := m.isSoldOut()
	switch {
	case m.offer.Mode == Ballot && m.drawn:
		if m.closed || c.Kind != KindWaiting {
			return Closed
		}
	case m.closed || m.over():
		return Closed
	case m.now.Before(m.offer.Opens):
		return NotOpen
	case m.offer.Mode == Ballot && c.Kind == KindWaiting:
		return WrongKind
	case m.offer.Mode == FirstCome && c.Kind == KindOrder && gone:
		return SoldOut
	case c.Kind == KindWaiting && !gone && m.free() >= int64(c.Quantity):
		return WrongKind
	}
	return 0
}

// isSoldOut: free units are for the people who wait, unless all of them want more.
func (m *model) isSoldOut() bool {
	return m.free() == 0 || m.waiting() > 0 && m.free() > m.noFit
}

func (m *model) cancel(id ID) Outcome {
	p := m.find(id)
	switch {
	case p == nil:
		return NoOrder
	case p.state == StateCancelled || p.state == StateLeft:
		return AlreadyDone
	case p.state != StateOpen && p.state != StateInvited && p.state != StateWon && p.state != StateUnconfirmed,
		p.kind == KindEntry && p.state == StateOpen && m.over():
		return TooLate
	case p.kind == KindWaiting || p.kind == KindInterest:
		p.state = StateLeft
	default:
		p.state = StateCancelled
	}
	return Done
}

func (m *model) invite(count int, until time.Time) int {
	invited := 0
	for _, p := range m.queue() {
		if invited == count {
			break
		}
		if int64(p.quantity) > m.free() {
			continue
		}
		p.state, p.until = StateInvited, until
		invited++
	}
	return invited
}

// unitsOf returns the larger of the units of a person and of an address.
func (m *model) unitsOf(p *modelOrder) int {
	byPerson, byHouse := 0, 0
	for _, o := range m.orders {
		if o.isLive() && o.person == p.person {
			byPerson += o.quantity
		}
		if o.isLive() && o.house == p.house && m.offer.LimitByAddress && m.offer.Confirm == 0 {
			byHouse += o.quantity
		}
	}
	return max(byPerson, byHouse)
}

// giveFreeUnits gives free units to the next ranks of a drawn ballot, and then to the queue.
func (m *model) giveFreeUnits() {
	if m.offer.Invitations <= 0 || m.closed {
		return
	}
	if m.drawn && len(m.losers) > 0 && m.free() > m.noRank {
		for _, p := range m.losers {
			if p.state == StateLost && int64(p.quantity) <= m.free() && m.unitsOf(p)+p.quantity <= m.offer.Limit {
				p.state = StateWon
			}
		}
		m.noRank = m.free()
	}
	if m.free() <= m.noFit || m.waiting() == 0 {
		return
	}
	for _, p := range m.queue() {
		if m.free() == 0 {
			return
		}
		if int64(p.quantity) <= m.free() {
			p.state, p.until = StateInvited, m.now.Add(m.offer.Invitations)
		}
	}
	m.noFit = m.free()
}

// tick is all Ticks that are due.
func (m *model) tick() {
	defer m.giveFreeUnits()
	for _, p := range m.orders {
		ends := p.until
		if p.state == StateUnconfirmed && p.kind == KindEntry {
			ends = m.offer.Closes
		}
		if (p.state == StateInvited || p.state == StateUnconfirmed) && !m.now.Before(ends) {
			p.state = StateExpired
		}
	}
	if m.offer.Mode != Ballot || !m.over() || m.drawn {
		return
	}
	m.drawn = true
	f := draw.File{
		Version: 3, Product: m.offer.Product, Opens: m.offer.Opens, Closes: m.offer.Closes, Stock: m.free(), Commitment: draw.Commitment(m.offer.Secret), Listed: m.now, Boards: m.now.Add(time.Minute),
	}
	list := f.NewList()
	byID := map[string]*modelOrder{}
	for _, p := range m.orders {
		if p.kind == KindEntry && p.state == StateOpen {
			byID[p.id.String()] = p
			m.entries = append(m.entries, draw.Entry{Reference: p.id.String(), Quantity: p.quantity})
		}
	}
	for _, e := range m.entries { // orders are made in the order of their IDs here
		list.Add(e.Reference, e.Quantity)
	}
	secret := storedSale{secret: m.offer.Secret}
	winners, losers := draw.Run(draw.Seed(3, secret.secretHex(), list.Hash(), ""), m.entries, m.free())
	for _, ref := range winners {
		byID[ref].state = StateWon
	}
	for _, ref := range losers {
		byID[ref].state = StateLost
		m.losers = append(m.losers, byID[ref])
	}
}

// TestModel passes random commands to a book and the model, with stock near zero and few
// people, and compares every outcome and every counter. A second book gets the same; now
// and then it is replaced by one restored from its snapshot. Both must end alike.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := &testBook{t: t, book: openBook(t), now: start.Add(-time.Minute)}
		second := openBook(t)
		m := newModel(rt, d)
		if _, err := second.Apply(d.index, d.now, MaxRules, [][]byte{Encode(m.offer)}); err != nil {
			rt.Fatal(err)
		}
		steps := rapid.IntRange(5, 60).Draw(rt, "steps")
		for range steps {
			if rapid.IntRange(0, 3).Draw(rt, "advance") == 0 {
				d.now = d.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(rt, "minutes")) * time.Minute)
			}
			m.now = d.now
			c, want := m.step(rt, d)
			if got := d.do(c); got.Outcome != want {
				rt.Fatalf("%T %+v: %v, the model says %v", c, c, got.Outcome, want)
			}
			if _, err := second.Apply(d.index, d.now, MaxRules, [][]byte{Encode(c)}); err != nil {
				rt.Fatal(err)
			}
			m.compare(rt, d)
			if rapid.IntRange(0, 15).Draw(rt, "restore") == 0 {
				next := openBook(t)
				if err := next.Restore(bytes.NewReader(dump(t, second))); err != nil {
					rt.Fatal(err)
				}
				if err := second.Close(); err != nil {
					rt.Fatal(err)
				}
				second = next
			}
		}
		d.recount()
		if d.book.Digest() != second.Digest() {
			rt.Fatal("two books fed the same have different digests")
		}
		if !bytes.Equal(dump(t, d.book), dump(t, second)) {
			rt.Fatal("two books fed the same have different content")
		}
		if err := d.book.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := second.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

func newModel(rt *rapid.T, d *testBook) *model {
	o := d.someOffer()
	o.Mode = rapid.SampledFrom([]Mode{FirstCome, FirstCome, Ballot, Interest}).Draw(rt, "mode")
	o.Stock = int64(rapid.IntRange(0, 4).Draw(rt, "stock"))
	o.LimitByAddress = rapid.Bool().Draw(rt, "by address")
	o.Invitations = rapid.SampledFrom([]time.Duration{InviteByHand, 25 * time.Minute}).Draw(rt, "invitations")
	// An order's time begins when its mail is due, which is up to some seconds later. The clock moves by
	// whole minutes, and so never stands between.
	o.Confirm = rapid.SampledFrom([]time.Duration{0, 20*time.Minute - 30*time.Second}).Draw(rt, "confirm")
	if o.Mode == Ballot {
		o.Secret = [32]byte{9}
	}
	if o.Mode == Ballot || rapid.Bool().Draw(rt, "closes") {
		o.Closes = start.Add(2 * time.Hour)
	}
	d.want(Done, o)
	return &model{offer: o, stock: o.Stock, now: d.now}
}

// step chooses a command and returns the outcome that the model expects.
func (m *model) step(rt *rapid.T, d *testBook) (Command, Outcome) {
	switch rapid.SampledFrom([]string{"place", "place", "place", "place", "confirm", "confirm", "cancel", "stock", "invite", "tick", "fulfil", "sent", "return", "close"}).Draw(rt, "command") {
	case "place":
		kind := rapid.SampledFrom([]Kind{KindOrder, KindOrder, KindWaiting, KindEntry, KindInterest}).Draw(rt, "kind")
		who, house := rapid.IntRange(1, 4).Draw(rt, "who"), rapid.IntRange(1, 2).Draw(rt, "house")
		c := d.newOrder(who, kind).of(rapid.IntRange(1, 2).Draw(rt, "quantity"))
		c.Person.Line1 = []string{"", "1 High Street", "2 Low Street"}[house]
		c.InAddition = rapid.IntRange(0, 3).Draw(rt, "more") == 0
		c.Unheld = rapid.IntRange(0, 3).Draw(rt, "unheld") == 0
		c.Network = uint16(rapid.IntRange(0, 2).Draw(rt, "network"))
		if rapid.IntRange(0, 2).Draw(rt, "again") == 0 { // the same form again, or the receipt's button
			c.ID = m.some(rt)
			c.FromReceipt = rapid.Bool().Draw(rt, "from receipt")
		}
		return c, m.placeOrder(c, who, house)
	case "confirm":
		id := m.some(rt)
		return Confirm{id}, m.confirm(id)
	case "cancel":
		id := m.some(rt)
		return Cancel{ID: id}, m.cancel(id)
	case "stock":
		delta := int64(rapid.SampledFrom([]int{-2, -1, 1, 2}).Draw(rt, "delta"))
		c := Stock{d.by(), "pi", delta}
		switch {
		case m.offer.Mode == Ballot && m.over() && !m.drawn:
			return c, TooLate
		case m.free()+delta < 0:
			return c, NotEnough
		}
		m.stock += delta
		return c, Done
	case "invite":
		c := Invite{d.by(), "pi", rapid.IntRange(1, 3).Draw(rt, "count"), d.now.Add(30 * time.Minute)}
		m.invite(c.Count, c.Until)
		return c, Done
	case "fulfil":
		id := m.some(rt)
		p := m.find(id)
		switch {
		case p == nil:
			return BeginFulfilment{id}, NoOrder
		case p.state == StateFulfilling || p.state == StateFulfilled:
			return BeginFulfilment{id}, AlreadyDone
		case p.state == StateOpen && p.kind == KindOrder || p.state == StateWon:
			p.state = StateFulfilling
			return BeginFulfilment{id}, Done
		}
		return BeginFulfilment{id}, TooLate
	case "sent":
		id := m.some(rt)
		p := m.find(id)
		c := MarkSent{Operation: d.by(), ID: id}
		switch {
		case p == nil:
			return c, NoOrder
		case p.state == StateFulfilled:
			return c, AlreadyDone
		case p.state == StateOpen && p.kind == KindOrder || p.state == StateWon || p.state == StateFulfilling:
			p.state = StateFulfilled
			return c, Done
		}
		return c, TooLate
	case "return":
		id := m.some(rt)
		p := m.find(id)
		c := ReturnOrder{Operation: d.by(), ID: id, Restock: rapid.Bool().Draw(rt, "restock")}
		switch {
		case p == nil:
			return c, NoOrder
		case p.state == StateReturned:
			return c, AlreadyDone
		case p.state != StateFulfilled:
			return c, TooLate
		}
		p.state = StateReturned
		if !c.Restock {
			m.stock -= int64(p.quantity)
		}
		return c, Done
	case "close":
		if m.offer.Mode != Ballot {
			m.closed = !m.closed
			if m.closed {
				return CloseSale{d.by(), "pi"}, Done
			}
			if m.over() {
				m.offer.Closes = time.Time{}
			}
			if m.now.Before(m.offer.Opens) {
				m.offer.Opens = m.now
			}
			return OpenSale{d.by(), "pi"}, Done
		}
	}
	m.tick() // everything here is less than one Tick's work
	return Tick{Until: m.now, Boards: m.now.Add(time.Minute)}, Done
}

func (m *model) some(rt *rapid.T) ID {
	if len(m.orders) == 0 {
		return 1
	}
	return rapid.SampledFrom(m.orders).Draw(rt, "order").id
}

func (m *model) compare(rt *rapid.T, d *testBook) {
	s := d.sale()
	if s.Stock != m.stock || s.Free != m.free() || s.Waiting+s.Interested != m.waiting() {
		rt.Fatalf("stock %d, free %d, waiting %d; the model says %d, %d, %d",
			s.Stock, s.Free, s.Waiting+s.Interested, m.stock, m.free(), m.waiting())
	}
	queue := m.queue()
	for _, p := range m.orders {
		got := d.order(p.id)
		if got.State != p.state || got.Kind != p.kind || got.Quantity != p.quantity {
			rt.Fatalf("order %v: %v %v of %d; the model says %v %v of %d", p.id, got.State, got.Kind, got.Quantity, p.state, p.kind, p.quantity)
		}
		if !p.isQueued() {
			continue
		}
		place := slices.Index(queue, p) + 1
		if at, of, err := d.book.Position(p.id); at != place || of != m.waiting() || err != nil {
			rt.Fatalf("order %v: place %d of %d (%v); the model says %d of %d", p.id, at, of, err, place, m.waiting())
		}
	}
}
