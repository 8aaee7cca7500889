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

// maxTickWork is the most papers that one Tick changes: some tenths of a second on an
// original board.
const maxTickWork = 256

// makeDraw takes the public randomness that a ballot waits for.
func (a *applyTx) makeDraw(s *storedSale, c MakeDraw) (Answer, string) {
	what := fmt.Sprintf("draw %s: %s", s.Product, c.Public.Text)
	state := s.StateAt(a.now)
	switch {
	case s.Mode != Ballot || s.Draw.PublicKind == draw.None:
		return Answer{Outcome: WrongKind}, what
	case s.Draw.Public == c.Public:
		return Answer{Outcome: Same}, what
	case state == SaleUpcoming || state == SaleOpen:
		return Answer{Outcome: NotOpen, Opens: s.Closes}, what
	case s.Draw.Public != (draw.Public{}):
		return Answer{Outcome: TooLate}, what
	case c.Public.Fits(s.Draw.PublicKind, s.Closes) != nil:
		return Answer{Outcome: Malformed}, what
	}
	s.Draw.Public = c.Public
	return Answer{Outcome: Done}, what
}

// canAdvanceDraw reports whether a Tick would go on with the sale's draw.
func (s *storedSale) canAdvanceDraw(now time.Time) bool {
	return s.Mode == Ballot && s.drawStage != drawFinished && s.StateAt(now) == SaleDrawing &&
		(s.Draw.PublicKind == draw.None || s.Draw.Public != (draw.Public{}))
}

// advanceDraw does at most work papers' worth of a draw and tells how much it did.
func (a *applyTx) advanceDraw(s *storedSale, work int) int {
	s.dirty = true
	switch s.drawStage {
	case drawNotBegun:
		a.computeSeed(s)
		return 1
	case drawTickets:
		return a.issueTickets(s, work)
	}
	return a.awardTickets(s, work)
}

// computeSeed fixes the list of entries and the stock.
func (a *applyTx) computeSeed(s *storedSale) {
	list := draw.NewList()
	prefix := uint16Key(s.number)
	c := a.entries.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		list.Add(ID(binary.BigEndian.Uint64(k[2:])).String())
	}
	s.seed = draw.Seed(s.secretHex(), list, s.Draw.Public.Text)
	s.Draw.Stock = s.Free
	s.drawStage = drawTickets
}

func (a *applyTx) issueTickets(s *storedSale, work int) int {
	done := 0
	prefix := uint16Key(s.number)
	c := a.entries.Cursor()
	k, _ := c.Seek(saleKey(s.number, uint64(s.cursor)+1))
	for ; done < work && k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		s.cursor = ID(binary.BigEndian.Uint64(k[2:]))
		a.put(a.tickets, ticketKey(s.number, draw.Ticket(s.seed, s.cursor.String()), s.cursor), nil)
		done++
	}
	if done < work {
		s.drawStage = drawAwards
		done++
	}
	return done
}

func (a *applyTx) awardTickets(s *storedSale, work int) int {
	prefix := uint16Key(s.number)
	for done := range work {
		k, _ := a.tickets.Cursor().Seek(prefix)
		if k == nil || !bytes.HasPrefix(k, prefix) {
			s.drawStage = drawFinished
			s.Draw.At = a.now
			return done + 1
		}
		id := binary.BigEndian.Uint64(k[len(k)-8:])
		a.remove(a.tickets, append([]byte(nil), k...))
		p := a.orderByID(ID(id))
		if p == nil || p.State != StateOpen {
			a.fail(fmt.Errorf("%w: %s: a ticket has no open entry", ErrBroken, s.Product))
			return done + 1
		}
		a.awardEntry(s, p)
	}
	return work
}

// awardEntry gives an entry its units, if they are there.
func (a *applyTx) awardEntry(s *storedSale, p *storedOrder) {
	if int64(p.Quantity) > s.Free {
		a.storeOrder(p, a.withState(p, StateLost))
		return
	}
	next := a.withState(p, StateWon)
	next.Ready = a.now.Add(s.FulfilmentDelay)
	a.queueMail(next, JobMailWon)
	s.Draw.Winners++
	a.put(a.entries, saleKey(s.number, uint64(p.ID)), entryValue(p.Number, p.Quantity, true))
	a.storeOrder(p, next)
}
