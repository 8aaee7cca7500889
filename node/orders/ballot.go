package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"bramble/node/orders/draw"
)

// A draw is made in steps, because a ballot may have hundreds of thousands of entries and
// an Apply must not hold up the orders of other products for long: the seed in one step
// (a hash over the list), then the tickets, then the awards, each tickWork at a Tick.
// Between them nothing in the sale can change: entries, stock and times stand still from
// the close on.

// tickWork is the most papers that one Tick changes: some tenths of a second on an
// original board.
const tickWork = 256

// makeDraw takes the public randomness that a ballot waits for.
func (a *apply) makeDraw(s *sale, c MakeDraw) (Answer, string) {
	what := fmt.Sprintf("draw %s: %s", s.Product, c.Public.Text)
	state := s.StateAt(a.now)
	switch {
	case s.Mode != Ballot || s.Draw.Wanted == draw.None:
		return Answer{Outcome: WrongKind}, what
	case s.Draw.Public == c.Public:
		return Answer{Outcome: Same}, what
	case state == SaleUpcoming || state == SaleOpen:
		return Answer{Outcome: NotOpen, Opens: s.Closes}, what
	case s.Draw.Public != (draw.Public{}):
		return Answer{Outcome: TooLate}, what
	case c.Public.Fits(s.Draw.Wanted, s.Closes) != nil:
		return Answer{Outcome: Malformed}, what
	}
	s.Draw.Public = c.Public
	return Answer{Outcome: Done}, what
}

// drawable reports whether a Tick would go on with the sale's draw.
func (s *sale) drawable(now time.Time) bool {
	return s.Mode == Ballot && s.phase != phaseDone && s.StateAt(now) == SaleDrawing &&
		(s.Draw.Wanted == draw.None || s.Draw.Public != (draw.Public{}))
}

// drawOn does at most work papers' worth of a draw and tells how much it did.
func (a *apply) drawOn(s *sale, work int) int {
	s.dirty = true
	switch s.phase {
	case phaseNone:
		a.drawSeed(s)
		return 1
	case phaseTickets:
		return a.drawTickets(s, work)
	}
	return a.drawAwards(s, work)
}

// drawSeed fixes the list of entries and the stock.
func (a *apply) drawSeed(s *sale) {
	list := draw.NewList()
	prefix := key2(s.number)
	c := a.pot.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		list.Add(ID(binary.BigEndian.Uint64(k[2:])).String())
	}
	s.seed = draw.Seed(s.secretHex(), list, s.Draw.Public.Text)
	s.Draw.Stock = s.Free
	s.phase = phaseTickets
}

func (a *apply) drawTickets(s *sale, work int) int {
	done := 0
	prefix := key2(s.number)
	c := a.pot.Cursor()
	k, _ := c.Seek(saleKey(s.number, uint64(s.cursor)+1))
	for ; done < work && k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		s.cursor = ID(binary.BigEndian.Uint64(k[2:]))
		a.put(a.tickets, ticketKey(s.number, draw.Ticket(s.seed, s.cursor.String()), s.cursor), nil)
		done++
	}
	if done < work {
		s.phase = phaseAwards
		done++
	}
	return done
}

func (a *apply) drawAwards(s *sale, work int) int {
	prefix := key2(s.number)
	for done := range work {
		k, _ := a.tickets.Cursor().Seek(prefix)
		if k == nil || !bytes.HasPrefix(k, prefix) {
			s.phase = phaseDone
			s.Draw.At = a.now
			return done + 1
		}
		id := binary.BigEndian.Uint64(k[len(k)-8:])
		a.remove(a.tickets, append([]byte(nil), k...))
		p := a.paper(ID(id))
		if p == nil || p.State != StateOpen {
			a.fail(fmt.Errorf("%w: %s: a ticket has no open entry", ErrBroken, s.Product))
			return done + 1
		}
		a.award(s, p)
	}
	return work
}

// award gives an entry its units, if they are there.
func (a *apply) award(s *sale, p *paper) {
	if int64(p.Quantity) > s.Free {
		a.settle(p, a.become(p, StateLost))
		return
	}
	next := a.become(p, StateWon)
	next.Ready = a.now.Add(s.HandoverAfter)
	a.tell(next, JobMailWon)
	s.Draw.Winners++
	a.put(a.pot, saleKey(s.number, uint64(p.ID)), potValue(p.Number, p.Quantity, true))
	a.settle(p, next)
}
