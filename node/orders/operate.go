package orders

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"bramble/node/orders/draw"
)

// runOperation carries out an operator's command once: the same command with the same OpID
// gets the first answer, another command with a used OpID gets IDInUse. do returns the
// answer and the action for the audit trail, in words without personal data.
func (a *applyTx) runOperation(by Operation, data []byte, do func() (Answer, string)) Answer {
	ops, log := a.bucket(bucketOperations), a.bucket(bucketOperationLog)
	hash := uint64Key(xxhash.Sum64(data))
	if v := ops.Get(uint64Key(by.OpID)); v != nil {
		answer, err := DecodeAnswer(v[8:])
		switch {
		case err != nil:
			a.fail(fmt.Errorf("%w: a stored answer cannot be read", ErrBroken))
		case string(v[:8]) != string(hash):
			return Answer{Outcome: IDInUse}
		}
		return answer
	}
	if by.Operator != CatalogueOperator && a.refusesOrders() {
		return Answer{Outcome: Restoring} // without a trace: the restore needs an untouched book
	}
	answer, action := do()
	if a.rules.countsRefusals && answer.Outcome != Done {
		if answer.Outcome != AlreadyDone {
			a.countRefusal(by.Operator, action+auditRefused+answer.Outcome.String()+")")
		}
		return answer
	}
	m := &a.b.meta
	m.ops++
	a.put(ops, uint64Key(by.OpID), append(hash, answer.Encode()...))
	a.put(log, uint64Key(m.ops), uint64Key(by.OpID))
	if m.ops > MaxOperations {
		oldest := uint64Key(m.ops - MaxOperations)
		if id := log.Get(oldest); id != nil {
			a.remove(ops, append([]byte(nil), id...))
			a.remove(log, oldest)
		}
	}
	if answer.Outcome != Done {
		action += auditRefused + answer.Outcome.String() + ")"
	}
	a.appendAudit(by.Operator, action)
	return answer
}

// runSaleOperation is runOperation for a command about a sale; it adds the sale's state.
func (a *applyTx) runSaleOperation(by Operation, data []byte, product string, do func(*storedSale) (Answer, string)) Answer {
	s := a.saleByProduct(product)
	if s == nil {
		return Answer{Outcome: NoSuchSale}
	}
	return a.runOperation(by, data, func() (Answer, string) {
		answer, action := do(s)
		if answer.Outcome == Done {
			a.touch(s)
		}
		answer.State = s.StateAt(a.now)
		return answer, action
	})
}

// appendAudit adds an entry to the audit trail and drops the oldest beyond the limit.
func (a *applyTx) appendAudit(operator, action string) {
	m := &a.b.meta
	m.audit++
	a.putAudit(AuditEntry{Number: m.audit, Operator: operator, Action: action, Times: 1})
	if m.audit > a.rules.maxAudit {
		a.remove(a.bucket(bucketAudit), uint64Key(m.audit-a.rules.maxAudit))
	}
}

// putAudit writes an entry of the audit trail, with the time now. Times is written if it is not 1.
func (a *applyTx) putAudit(e AuditEntry) {
	var w encoder
	w.int(a.at)
	w.text(e.Operator)
	w.text(e.Action)
	if e.Times > 1 {
		w.int(int64(e.Times))
	}
	a.put(a.bucket(bucketAudit), uint64Key(e.Number), w.data)
}

func decodeAudit(k, v []byte) (AuditEntry, bool) {
	d := decoder{data: v}
	e := AuditEntry{Number: binary.BigEndian.Uint64(k), At: d.time(), Operator: d.text(), Action: d.text(), Times: 1}
	if len(d.data) > 0 {
		e.Times = d.count()
	}
	return e, d.done()
}

// auditRefused follows the action of a refused command in the audit trail.
const auditRefused = " (refused: "

// refusalWindow is the number of last entries in which a refusal is looked for: repeated ones must
// not push the others out of the audit trail.
const refusalWindow = 128

// countRefusal adds a refused command to the audit trail, or counts it in the entry of the same one.
func (a *applyTx) countRefusal(operator, action string) {
	c := a.bucket(bucketAudit).Cursor()
	k, v := c.Last()
	for range refusalWindow {
		if k == nil {
			break
		}
		if e, ok := decodeAudit(k, v); ok && e.Operator == operator && e.Action == action {
			e.Times++
			a.putAudit(e)
			return
		}
		k, v = c.Prev()
	}
	a.appendAudit(operator, action)
}

// formatTime writes a moment for the audit trail.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// makeOffer creates a sale, if it is the first offer of its product. Boards submit their
// catalogues at every start, so a later offer leaves no trace.
func (a *applyTx) makeOffer(c *Offer, data []byte) Answer {
	if s := a.saleByProduct(c.Product); s != nil {
		return Answer{Outcome: AlreadyDone, State: s.StateAt(a.now)}
	}
	return a.runOperation(c.Operation, data, func() (Answer, string) {
		if len(a.b.sales) >= a.rules.maxSales {
			return Answer{Outcome: Full}, "offer " + c.Product
		}
		s := newSale(c, uint16(len(a.b.sales)))
		if a.rules.version > 1 {
			s.Invitations = invitationsOf(c.Invitations, c.WaitingList, c.Mode)
		}
		a.promiseDraw(s)
		a.touch(s)
		a.b.sales = append(a.b.sales, s)
		a.b.active = append(a.b.active, s)
		a.b.byName[s.Product] = s
		action := fmt.Sprintf("offer %s: %d units, %s, opens %s, closes %s",
			s.Product, s.Stock, s.Mode, formatTime(s.Opens), formatTime(s.Closes))
		return Answer{Outcome: Done, State: s.StateAt(a.now)}, action
	})
}

func newSale(c *Offer, number uint16) *storedSale {
	s := &storedSale{
		Sale: Sale{
			Product: c.Product, Mode: c.Mode, Stock: c.Stock, Free: c.Stock,
			Limit: c.Limit, LimitByAddress: c.LimitByAddress, Opens: c.Opens, Closes: c.Closes,
			WaitingList: c.WaitingList, Price: c.Price, Currency: c.Currency, Countries: c.Countries,
			FulfilmentDelay: c.FulfilmentDelay, Retain: c.Retain, Webhook: c.Webhook, Mail: c.Mail, Confirm: c.Confirm,
		},
		number: number, secret: c.Secret, webhook1: c.Webhook, price1: c.Price, countries1: c.Countries,
	}
	if c.Mode == Ballot {
		s.Draw.Version, s.Draw.PublicKind, s.Draw.Dice = 1, c.PublicKind, c.Dice
		s.Draw.Commitment = draw.Commitment(c.Secret)
	}
	return s
}

func (a *applyTx) changeStock(s *storedSale, c Stock) (Answer, string) {
	action := fmt.Sprintf("stock %s: %+d", s.Product, c.Delta)
	switch {
	case s.StateAt(a.now) == SaleDrawing:
		return Answer{Outcome: TooLate}, action
	case s.Free+c.Delta < 0:
		return Answer{Outcome: NotEnough, Remaining: int(s.Free)}, action
	case s.Stock+c.Delta > MaxStock:
		return Answer{Outcome: Full}, action
	}
	s.Stock += c.Delta
	s.Free += c.Delta
	return Answer{Outcome: Done, Remaining: int(s.Free)}, action
}

func (a *applyTx) openSale(s *storedSale) (Answer, string) {
	action := "open " + s.Product
	if s.Retired {
		return Answer{Outcome: TooLate}, action
	}
	if s.Mode == Ballot {
		switch s.StateAt(a.now) {
		case SaleDrawing:
			return Answer{Outcome: TooLate}, action
		case SaleDrawn, SaleClosed: // reopens its waiting list
			s.closed = false
			return Answer{Outcome: Done}, action
		}
	}
	s.closed = false
	if a.now.Before(s.Opens) {
		s.Opens = a.now
	}
	if !s.Closes.IsZero() && !a.now.Before(s.Closes) {
		s.Closes = fromMillis(0)
	}
	return Answer{Outcome: Done}, action
}

func (a *applyTx) closeSale(s *storedSale) (Answer, string) {
	action := "close " + s.Product
	switch state := s.StateAt(a.now); {
	case state == SaleDrawing:
		return Answer{Outcome: TooLate}, action
	case s.Mode == Ballot && state != SaleDrawn && state != SaleClosed:
		// A drand round must lie after the closing time, so that becomes now.
		s.Closes = a.now
		if s.Opens.After(a.now) {
			s.Opens = a.now
		}
	default:
		s.closed = true
	}
	return Answer{Outcome: Done}, action
}

func (a *applyTx) setTimes(s *storedSale, c SetTimes) (Answer, string) {
	if c.KeepOpens {
		c.Opens = s.Opens
	}
	if c.KeepCloses {
		c.Closes = s.Closes
	}
	action := fmt.Sprintf("times %s: opens %s, closes %s", s.Product, formatTime(c.Opens), formatTime(c.Closes))
	if (c.KeepOpens || c.KeepCloses) && checkTimes(c.Opens, c.Closes, false) != nil {
		return Answer{Outcome: Malformed}, action
	}
	if s.Mode == Ballot {
		if a.hasFixedEntries(s) {
			return Answer{Outcome: TooLate}, action
		}
		if c.Opens.IsZero() || c.Closes.IsZero() || !c.Closes.After(a.now) {
			return Answer{Outcome: Malformed}, action
		}
	}
	s.Opens, s.Closes = c.Opens, c.Closes
	return Answer{Outcome: Done}, action
}

// announceText adds an announcement, or removes all of them.
func (a *applyTx) announceText(c Announce) (Answer, string) {
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
		return Answer{Outcome: Done}, "remove all announcements"
	}
	m.news++
	var w encoder
	w.int(a.at)
	w.text(c.Text)
	a.put(news, uint64Key(m.news), w.data)
	return Answer{Outcome: Done}, "announce: " + c.Text
}
