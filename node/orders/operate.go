package orders

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"bramble/node/orders/draw"
)

// operate carries out an operator's command once: the same OpID again gets the first
// answer, another command with a used OpID gets Retry. do gives the answer and what the
// trail says, in words without personal data.
func (a *apply) operate(by Operation, data []byte, do func() (Answer, string)) Answer {
	ops, order := a.bucket(bucketOps), a.bucket(bucketOpOrder)
	hash := key8(xxhash.Sum64(data))
	if v := ops.Get(key8(by.OpID)); v != nil {
		answer, err := DecodeAnswer(v[8:])
		switch {
		case err != nil:
			a.fail(fmt.Errorf("%w: a remembered answer cannot be read", ErrBroken))
		case string(v[:8]) != string(hash):
			return Answer{Outcome: Retry}
		}
		return answer
	}
	answer, what := do()
	m := &a.b.meta
	m.ops++
	a.put(ops, key8(by.OpID), append(hash, answer.Encode()...))
	a.put(order, key8(m.ops), key8(by.OpID))
	if m.ops > MaxOps {
		oldest := key8(m.ops - MaxOps)
		if id := order.Get(oldest); id != nil {
			a.remove(ops, append([]byte(nil), id...))
			a.remove(order, oldest)
		}
	}
	if answer.Outcome != Done {
		what += " (refused: " + answer.Outcome.String() + ")"
	}
	a.trail(by.Who, what)
	return answer
}

// operateSale is operate for a command about a sale, whose state it adds to the answer.
func (a *apply) operateSale(by Operation, data []byte, product string, do func(*sale) (Answer, string)) Answer {
	s := a.sale(product)
	if s == nil {
		return Answer{Outcome: NoSuchSale}
	}
	return a.operate(by, data, func() (Answer, string) {
		answer, what := do(s)
		s.dirty = s.dirty || answer.Outcome == Done
		answer.State = s.StateAt(a.now)
		return answer, what
	})
}

// trail adds a line to the operators' trail and drops one that is too old.
func (a *apply) trail(who, what string) {
	m := &a.b.meta
	m.audit++
	var w writer
	w.int(a.at)
	w.text(who)
	w.text(what)
	audit := a.bucket(bucketAudit)
	a.put(audit, key8(m.audit), w.data)
	if m.audit > MaxAudit {
		a.remove(audit, key8(m.audit-MaxAudit))
	}
}

// said writes a moment for the trail.
func said(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// offer makes a sale, if it is the first offer of its product. Boards send what their
// catalogues have at every start, so a later one leaves no trace.
func (a *apply) offer(c *Offer, data []byte) Answer {
	if s := a.sale(c.Product); s != nil {
		return Answer{Outcome: Same, State: s.StateAt(a.now)}
	}
	return a.operate(c.Operation, data, func() (Answer, string) {
		if len(a.b.sales) == MaxSales {
			return Answer{Outcome: Full}, "offer " + c.Product
		}
		s := newSale(c, uint16(len(a.b.sales)))
		a.b.sales = append(a.b.sales, s)
		a.b.byName[s.Product] = s
		what := fmt.Sprintf("offer %s: %d units, %s, opens %s, closes %s",
			s.Product, s.Stock, s.Mode, said(s.Opens), said(s.Closes))
		return Answer{Outcome: Done, State: s.StateAt(a.now)}, what
	})
}

func newSale(c *Offer, number uint16) *sale {
	s := &sale{
		Sale: Sale{
			Product: c.Product, Mode: c.Mode, Stock: c.Stock, Free: c.Stock,
			Limit: c.Limit, LimitByAddress: c.LimitByAddress, Opens: c.Opens, Closes: c.Closes,
			WaitingList: c.WaitingList, Price: c.Price, Currency: c.Currency, Countries: c.Countries,
			HandoverAfter: c.HandoverAfter, Retain: c.Retain,
		},
		number: number, webhook: c.Webhook, mail: c.Mail, secret: c.Secret, dirty: true,
	}
	if c.Mode == Ballot {
		s.Draw.Wanted = c.Wanted
		s.Draw.Commitment = draw.Commitment(c.Secret)
	}
	return s
}

func (a *apply) stock(s *sale, c Stock) (Answer, string) {
	what := fmt.Sprintf("stock %s: %+d", s.Product, c.Delta)
	switch {
	case s.StateAt(a.now) == SaleDrawing:
		return Answer{Outcome: TooLate}, what
	case s.Free+c.Delta < 0:
		return Answer{Outcome: NotEnough, Left: int(s.Free)}, what
	case s.Stock+c.Delta > MaxStock:
		return Answer{Outcome: Full}, what
	}
	s.Stock += c.Delta
	s.Free += c.Delta
	return Answer{Outcome: Done, Left: int(s.Free)}, what
}

func (a *apply) openSale(s *sale) (Answer, string) {
	what := "open " + s.Product
	if s.Mode == Ballot {
		switch s.StateAt(a.now) {
		case SaleDrawing:
			return Answer{Outcome: TooLate}, what
		case SaleDrawn, SaleClosed: // its waiting list
			s.closed = false
			return Answer{Outcome: Done}, what
		}
	}
	s.closed = false
	if a.now.Before(s.Opens) {
		s.Opens = a.now
	}
	if !s.Closes.IsZero() && !a.now.Before(s.Closes) {
		s.Closes = moment(0)
	}
	return Answer{Outcome: Done}, what
}

func (a *apply) closeSale(s *sale) (Answer, string) {
	what := "close " + s.Product
	switch state := s.StateAt(a.now); {
	case state == SaleDrawing:
		return Answer{Outcome: TooLate}, what
	case s.Mode == Ballot && state != SaleDrawn && state != SaleClosed:
		// The hour is what a drand round is measured by, so it is moved to now.
		s.Closes = a.now
		if s.Opens.After(a.now) {
			s.Opens = a.now
		}
	default:
		s.closed = true
	}
	return Answer{Outcome: Done}, what
}

func (a *apply) setTimes(s *sale, c SetTimes) (Answer, string) {
	what := fmt.Sprintf("times %s: opens %s, closes %s", s.Product, said(c.Opens), said(c.Closes))
	if s.Mode == Ballot {
		if !a.now.Before(s.Closes) {
			return Answer{Outcome: TooLate}, what
		}
		if c.Opens.IsZero() || c.Closes.IsZero() || !c.Closes.After(a.now) {
			return Answer{Outcome: Malformed}, what
		}
	}
	s.Opens, s.Closes = c.Opens, c.Closes
	return Answer{Outcome: Done}, what
}

// announce adds a sentence, or takes all of them off.
func (a *apply) announce(c Announce) (Answer, string) {
	m := &a.b.meta
	news := a.bucket(bucketNews)
	for k, _ := news.Cursor().First(); k != nil; k, _ = news.Cursor().First() {
		if c.Text != "" && binary.BigEndian.Uint64(k)+MaxNews > m.news+1 {
			break
		}
		a.remove(news, append([]byte(nil), k...))
		if a.err != nil {
			return Answer{}, ""
		}
	}
	if c.Text == "" {
		return Answer{Outcome: Done}, "announce nothing any more"
	}
	m.news++
	var w writer
	w.int(a.at)
	w.text(c.Text)
	a.put(news, key8(m.news), w.data)
	return Answer{Outcome: Done}, "announce: " + c.Text
}
