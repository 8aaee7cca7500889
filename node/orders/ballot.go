package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"bramble/node/orders/draw"
)

// A draw takes several Ticks, because a ballot may have hundreds of thousands of entries and
// one Apply must not delay the orders of other products for long. First comes the seed (a
// hash over the list) in one Tick, then the tickets, then the awards, maxTickWork at a Tick.
// Between them nothing in the sale can change: entries, stock and times are fixed from the
// close on.

// maxTickWork limits the orders that one Tick changes: some tenths of a second on an original
// board.
const maxTickWork = 256

// makeDraw sets the public randomness that a ballot waits for.
func (a *applyTx) makeDraw(s *storedSale, c MakeDraw) (Answer, string) {
	action := fmt.Sprintf("draw %s: %s", s.Product, c.Public.Text)
	state := s.StateAt(a.now)
	switch {
	case s.Mode != Ballot || s.Draw.PublicKind == draw.None:
		return Answer{Outcome: WrongKind}, action
	case s.Draw.Public == c.Public:
		return Answer{Outcome: AlreadyDone}, action
	case state == SaleUpcoming || state == SaleOpen:
		return Answer{Outcome: NotOpen, Opens: s.Closes}, action
	case s.Draw.Public != (draw.Public{}):
		return Answer{Outcome: TooLate}, action
	case c.Public.Fits(s.Draw.PublicKind, s.Closes) != nil:
		return Answer{Outcome: Malformed}, action
	}
	s.Draw.Public = c.Public
	return Answer{Outcome: Done}, action
}

// canAdvanceDraw reports whether a Tick would continue the sale's draw.
func (s *storedSale) canAdvanceDraw(now time.Time) bool {
	return s.Mode == Ballot && s.drawStage != drawFinished && s.StateAt(now) == SaleDrawing &&
		(s.Draw.PublicKind == draw.None || s.Draw.Public != (draw.Public{}))
}

// advanceDraw continues a draw by at most work orders, and returns the number it processed.
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

// computeSeed fixes the list of entries and the stock, and computes the seed from them.
func (a *applyTx) computeSeed(s *storedSale) {
	list := draw.NewList()
	prefix := uint16Key(s.number)
	c := a.ballotEntries.Cursor()
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
	c := a.ballotEntries.Cursor()
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
		o := a.orderByID(ID(id))
		if o == nil || o.State != StateOpen {
			a.fail(fmt.Errorf("%w: %s: a ticket belongs to no open entry", ErrBroken, s.Product))
			return done + 1
		}
		a.awardEntry(s, o)
	}
	return work
}

// awardEntry sells an entry its units if that many are free; otherwise it has lost.
func (a *applyTx) awardEntry(s *storedSale, o *storedOrder) {
	if int64(o.Quantity) > s.Free {
		a.storeOrder(o, a.withState(o, StateLost))
		return
	}
	next := a.withState(o, StateWon)
	next.Ready = a.now.Add(s.FulfilmentDelay)
	a.queueMail(next, JobMailWon)
	s.Draw.Winners++
	a.put(a.ballotEntries, saleKey(s.number, uint64(o.ID)), entryValue(o.Number, o.Quantity, true))
	a.storeOrder(o, next)
}
