package orders

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"time"

	"bramble/node/orders/draw"
)

// A draw takes several Ticks, because a ballot may have hundreds of thousands of entries and
// one Apply must not delay the orders of other products for long. First the list is fixed and hashed, in
// one Tick. Once the randomness is there, the seed comes in one Tick, then the tickets, then the awards, maxTickWork at a Tick.
// Between them nothing in the sale can change: entries, stock and times are fixed from the
// close on.

// maxTickWork limits the orders that one Tick changes: some tenths of a second on an original
// board.
const maxTickWork = 256

// promiseDraw sets what is fixed of a ballot's draw, unless somebody may know its randomness already.
func (a *applyTx) promiseDraw(s *storedSale) {
	if a.rules.drawVersion == 1 || s.Mode != Ballot || s.drawBegun || s.Draw.Public != (draw.Public{}) {
		return
	}
	s.Draw.Version = a.rules.drawVersion
	if s.Draw.PublicKind == draw.Dice {
		s.Draw.Dice = cmp.Or(s.Draw.Dice, draw.DefaultDice)
	}
	a.touch(s)
}

// hasFixedEntries reports whether neither the entries of a ballot nor its times can change any more.
func (a *applyTx) hasFixedEntries(s *storedSale) bool {
	state := s.StateAt(a.now)
	return !a.now.Before(s.Closes) || a.rules.drawVersion > 1 && state != SaleUpcoming && state != SaleOpen
}

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
	case s.CheckPublic(c.Public) != nil:
		return Answer{Outcome: Malformed}, action
	case s.awaitsList() || s.Draw.Version > 1 && a.now.Before(s.Draw.Listed): // the clock was set back since
		return Answer{Outcome: NotOpen}, action
	case s.Draw.Version > 1 && s.Draw.PublicKind == draw.Drand && a.now.Before(draw.RoundTime(s.Promise().Round)):
		return Answer{Outcome: NotOpen, Opens: draw.RoundTime(s.Promise().Round)}, action
	}
	if s.Draw.Public = c.Public; s.Draw.Version > 1 {
		s.Draw.Taken = a.now
	}
	return Answer{Outcome: Done}, action
}

// canAdvanceDraw reports whether a Tick would continue the sale's draw.
func (s *storedSale) canAdvanceDraw(now time.Time) bool {
	return s.Mode == Ballot && s.drawStage < drawFinished && s.StateAt(now) == SaleDrawing &&
		(s.awaitsList() || s.Draw.PublicKind == draw.None || s.Draw.Public != (draw.Public{}))
}

// awaitsList reports whether the list of a ballot has to be fixed before its randomness.
func (s *storedSale) awaitsList() bool { return s.Draw.Version > 1 && s.Draw.List == "" }

// advanceDraw continues a draw by at most work orders, and returns the number it processed.
func (a *applyTx) advanceDraw(s *storedSale, work int) int {
	a.touch(s)
	switch s.drawStage {
	case drawNotBegun:
		a.computeSeed(s)
		return 1
	case drawTickets:
		return a.issueTickets(s, work, drawAwards)
	}
	return a.awardTickets(s, work)
}

// fixList fixes the list of entries and the stock, and publishes its hash. If it is late, because the boards were off or the ledger's
// clock was held back until the promised round of drand was made, the close becomes now, by the later of the ledger's clock and the boards':
// a round that is known before the list does not count.
func (a *applyTx) fixList(s *storedSale, boards time.Time) {
	s.Draw.Stock, s.Draw.Listed, s.Draw.Boards = s.Free, a.now, boards
	fixed := (&draw.File{Listed: a.now, Boards: s.Draw.Boards}).Fixed()
	if round := s.Promise().Round; round != 0 && !fixed.Before(draw.RoundTime(round)) {
		s.Closes = fixed
		a.appendAudit(ledgerOperator, fmt.Sprintf("times %s: closes %s, because the list was not fixed before round %d was made",
			s.Product, formatTime(s.Closes), round))
	}
	s.Draw.List = a.hashList(s)
	a.appendAudit(ledgerOperator, fmt.Sprintf("list %s: %d entries, %s", s.Product, s.Entries, s.Draw.List))
}

// hashList returns the hash of a ballot's list in one step: about a second on an original board for a million entries.
func (a *applyTx) hashList(s *storedSale) string {
	file := s.DrawFile()
	list := file.NewList()
	prefix := uint16Key(s.number)
	c := a.ballotEntries.Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		list.Add(ID(binary.BigEndian.Uint64(k[2:])).String(), int(binary.BigEndian.Uint32(v[8:])))
	}
	return list.Hash()
}

// computeSeed computes the seed, in version 1 from the list as it is now.
func (a *applyTx) computeSeed(s *storedSale) {
	s.Draw.Stock = s.Free
	list := s.Draw.List
	if s.Draw.Version == 1 {
		list = a.hashList(s)
	}
	s.seed = draw.Seed(s.Draw.Version, s.secretHex(), list, s.Draw.Public.Text)
	s.drawStage, s.drawBegun = drawTickets, true
}

// issueTickets gives tickets to the entries that have not won, and then goes to the next stage.
func (a *applyTx) issueTickets(s *storedSale, work int, then drawStage) int {
	done := 0
	prefix := uint16Key(s.number)
	c := a.ballotEntries.Cursor()
	k, v := c.Seek(saleKey(s.number, uint64(s.cursor)+1))
	for ; done < work && k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		s.cursor = ID(binary.BigEndian.Uint64(k[2:]))
		if won := v[12] != 0; !won {
			a.put(a.tickets, ticketKey(s.number, draw.Ticket(s.seed, s.cursor.String()), s.cursor), nil)
		}
		done++
	}
	if done < work {
		s.drawStage = then
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
	s.Draw.Winners++
	a.put(a.ballotEntries, saleKey(s.number, uint64(o.ID)), entryValue(o.Number, o.Quantity, true))
	a.storeOrder(o, a.wonEntry(s, o))
}

// wonEntry returns a copy of an entry that wins now.
func (a *applyTx) wonEntry(s *storedSale, o *storedOrder) *storedOrder {
	next := a.withState(o, StateWon)
	next.Ready = a.now.Add(s.FulfilmentDelay)
	a.queueMail(next, JobMailWon)
	return next
}

// canRank reports whether a Tick would look for the next rank of a drawn ballot: a unit has become
// free since the draw, because a winner cancelled or units were added, and an entry that lost may want it.
func (s *storedSale) canRank() bool {
	return s.Mode == Ballot && s.hasLosers() && s.Invitations > 0 && !s.closed && !s.Retired && s.Free > s.noRank
}

// advanceRanks gives the free units of a drawn ballot to the entries that lost, in the order of their tickets,
// as if the draw went on. An entry that wants more units than are free, or whose person or address has too many,
// is skipped. It processes at most work entries, and returns their number.
func (a *applyTx) advanceRanks(s *storedSale, work int) int {
	a.touch(s)
	switch s.drawStage {
	case drawFinished:
		s.drawStage, s.cursor = drawRanking, 0
		return 1
	case drawRanking:
		return a.issueTickets(s, work, drawRanked)
	}
	if s.ranked == "" || s.Free > s.rankFree {
		s.ranked = string(uint16Key(s.number))
	}
	prefix := uint16Key(s.number)
	for done := range work {
		s.rankFree = s.Free
		k, _ := a.tickets.Cursor().Seek([]byte(s.ranked))
		if k != nil && string(k) == s.ranked {
			c := a.tickets.Cursor()
			c.Seek(k)
			k, _ = c.Next()
		}
		if s.Free == 0 || k == nil || !bytes.HasPrefix(k, prefix) {
			s.ranked, s.noRank = "", s.Free
			return done + 1
		}
		s.ranked = string(k)
		o := a.orderByID(ID(binary.BigEndian.Uint64(k[len(k)-8:])))
		switch {
		case o == nil:
			return done + 1
		case o.State != StateLost: // it won a later unit, or is erased
			a.remove(a.tickets, []byte(s.ranked))
		case int64(o.Quantity) <= s.Free && a.isWithinLimit(s, o):
			a.remove(a.tickets, []byte(s.ranked))
			a.appendAudit(automaticOperator, "draw "+s.Product+": a free unit goes to the next rank, "+o.ID.String())
			a.storeOrder(o, a.wonEntry(s, o))
		}
	}
	return work
}

// isWithinLimit reports whether the person and the address of an order may have its units too.
func (a *applyTx) isWithinLimit(s *storedSale, o *storedOrder) bool {
	o.computeFingerprints(&a.rules)
	return a.countUnits(s, o.fingerprints)+o.Quantity <= s.Limit
}
