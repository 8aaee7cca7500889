package orders

// The first byte of a command is its type. A command whose encoding changes gets a new
// number, because a rack's ledger outlives a version of this program.
const (
	opPlaceOrder       = 1
	opCancel           = 2
	opOffer            = 3
	opStock            = 4
	opOpenSale         = 5
	opCloseSale        = 6
	opSetTimes         = 7
	opAnnounce         = 8
	opInvite           = 9
	opMakeDraw         = 10
	opBeginFulfilment  = 11
	opFinishFulfilment = 12
	opFinishMail       = 13
	opErase            = 14
	opTick             = 15
	opTickUntil        = 30 // Tick with Until
	opSetClock         = 31
	opBeginRestore     = 40
	opAddRestoreChunk  = 41
	opFinishRestore    = 42
	opCancelRestore    = 43
	opSetOneTime       = 16 // SetTimes that keeps a time
	opOfferInviting    = 17 // Offer with Invitations
	opReviseOffer      = 18
	opRetireSale       = 19
	opHandOver         = 20
	opMarkSent         = 21
	opReturnOrder      = 22
	opFinishWebhook    = 23
)

func beginCommand(op byte, size int) encoder {
	w := encoder{data: make([]byte, 0, size)}
	w.byte(op)
	return w
}

func (e *encoder) writeOperation(o Operation) {
	e.text(o.Operator)
	e.uint(o.OpID)
}

func (e *encoder) writePerson(p *Person) {
	e.text(p.Name)
	e.text(p.Email)
	e.text(p.Line1)
	e.text(p.Line2)
	e.text(p.City)
	e.text(p.Postcode)
	e.text(p.Country)
}

func (p *Person) encodedSize() int {
	return len(p.Name) + len(p.Email) + len(p.Line1) + len(p.Line2) + len(p.City) + len(p.Postcode) + len(p.Country) + 14
}

func (e *encoder) writeCountries(list []Country) {
	e.uint(uint64(len(list)))
	for _, c := range list {
		e.text(c.Code)
		e.int(c.Shipping)
		e.int(int64(c.Tax))
	}
}

// Encode returns the command's bytes.
func (p PlaceOrder) Encode() []byte {
	w := beginCommand(opPlaceOrder, 48+len(p.Product)+p.Person.encodedSize())
	w.uint(uint64(p.ID))
	w.text(p.Product)
	w.byte(byte(p.Kind))
	w.int(int64(p.Quantity))
	w.int(p.Total)
	w.text(p.Currency)
	w.writePerson(&p.Person)
	w.bool(p.InAddition)
	return w.data
}

// Encode returns the command's bytes.
func (c Cancel) Encode() []byte {
	w := beginCommand(opCancel, 48+len(c.By.Operator)+len(c.Reason))
	w.uint(uint64(c.ID))
	w.writeOperation(c.By)
	w.text(c.Reason)
	return w.data
}

// Encode returns the command's bytes.
func (o Offer) Encode() []byte {
	op := byte(opOffer)
	if o.Invitations != 0 {
		op = opOfferInviting
	}
	w := beginCommand(op, 256+16*len(o.Countries))
	w.writeOperation(o.Operation)
	w.text(o.Product)
	w.byte(byte(o.Mode))
	w.int(o.Stock)
	w.int(int64(o.Limit))
	w.bool(o.LimitByAddress)
	w.time(o.Opens)
	w.time(o.Closes)
	w.bool(o.WaitingList)
	w.int(o.Price)
	w.text(o.Currency)
	w.writeCountries(o.Countries)
	w.bool(o.Webhook)
	w.duration(o.FulfilmentDelay)
	w.bool(o.Mail)
	w.duration(o.Retain)
	w.data = append(w.data, o.Secret[:]...)
	w.text(string(o.PublicKind))
	if op == opOfferInviting {
		w.duration(o.Invitations)
	}
	return w.data
}

// Encode returns the command's bytes.
func (r ReviseOffer) Encode() []byte {
	w := beginCommand(opReviseOffer, 96+len(r.Operator)+len(r.Product)+16*len(r.Countries))
	w.writeOperation(r.Operation)
	w.text(r.Product)
	w.uint(uint64(r.Fields))
	w.int(r.Price)
	w.writeCountries(r.Countries)
	w.int(int64(r.Limit))
	w.bool(r.WaitingList)
	w.duration(r.Invitations)
	w.bool(r.Webhook)
	w.bool(r.Mail)
	w.duration(r.FulfilmentDelay)
	w.duration(r.Retain)
	return w.data
}

// Encode returns the command's bytes.
func (r RetireSale) Encode() []byte {
	w := beginCommand(opRetireSale, 64+len(r.Operator)+len(r.Product))
	w.writeOperation(r.Operation)
	w.text(r.Product)
	w.bool(r.Undo)
	return w.data
}

// Encode returns the command's bytes.
func (h HandOver) Encode() []byte {
	w := beginCommand(opHandOver, 64+len(h.Operator)+len(h.Product))
	w.writeOperation(h.Operation)
	w.text(h.Product)
	return w.data
}

// Encode returns the command's bytes.
func (s Stock) Encode() []byte {
	w := beginCommand(opStock, 64+len(s.Operator)+len(s.Product))
	w.writeOperation(s.Operation)
	w.text(s.Product)
	w.int(s.Delta)
	return w.data
}

// Encode returns the command's bytes.
func (o OpenSale) Encode() []byte {
	w := beginCommand(opOpenSale, 64+len(o.Operator)+len(o.Product))
	w.writeOperation(o.Operation)
	w.text(o.Product)
	return w.data
}

// Encode returns the command's bytes.
func (c CloseSale) Encode() []byte {
	w := beginCommand(opCloseSale, 64+len(c.Operator)+len(c.Product))
	w.writeOperation(c.Operation)
	w.text(c.Product)
	return w.data
}

// Encode returns the command's bytes.
func (s SetTimes) Encode() []byte {
	op := byte(opSetTimes)
	if s.KeepOpens || s.KeepCloses {
		op = opSetOneTime
	}
	w := beginCommand(op, 64+len(s.Operator)+len(s.Product))
	w.writeOperation(s.Operation)
	w.text(s.Product)
	w.time(s.Opens)
	w.time(s.Closes)
	if op == opSetOneTime {
		w.bool(s.KeepOpens)
		w.bool(s.KeepCloses)
	}
	return w.data
}

// Encode returns the command's bytes.
func (a Announce) Encode() []byte {
	w := beginCommand(opAnnounce, 64+len(a.Operator)+len(a.Text))
	w.writeOperation(a.Operation)
	w.text(a.Text)
	return w.data
}

// Encode returns the command's bytes.
func (i Invite) Encode() []byte {
	w := beginCommand(opInvite, 64+len(i.Operator)+len(i.Product))
	w.writeOperation(i.Operation)
	w.text(i.Product)
	w.int(int64(i.Count))
	w.time(i.Until)
	return w.data
}

// Encode returns the command's bytes.
func (m MakeDraw) Encode() []byte {
	w := beginCommand(opMakeDraw, 64+len(m.Operator)+len(m.Product)+len(m.Public.Text))
	w.writeOperation(m.Operation)
	w.text(m.Product)
	w.text(string(m.Public.Kind))
	w.text(m.Public.Text)
	return w.data
}

// Encode returns the command's bytes.
func (b BeginFulfilment) Encode() []byte {
	w := beginCommand(opBeginFulfilment, 12)
	w.uint(uint64(b.ID))
	return w.data
}

// Encode returns the command's bytes.
func (f FinishFulfilment) Encode() []byte {
	w := beginCommand(opFinishFulfilment, 16+len(f.How))
	w.uint(uint64(f.ID))
	w.text(f.How)
	return w.data
}

// Encode returns the command's bytes.
func (m MarkSent) Encode() []byte {
	w := beginCommand(opMarkSent, 64+len(m.Operator)+len(m.Note))
	w.writeOperation(m.Operation)
	w.uint(uint64(m.ID))
	w.text(m.Note)
	return w.data
}

// Encode returns the command's bytes.
func (r ReturnOrder) Encode() []byte {
	w := beginCommand(opReturnOrder, 64+len(r.Operator)+len(r.Reason))
	w.writeOperation(r.Operation)
	w.uint(uint64(r.ID))
	w.bool(r.Restock)
	w.text(r.Reason)
	return w.data
}

// Encode returns the command's bytes.
func (f FinishWebhook) Encode() []byte {
	w := beginCommand(opFinishWebhook, 12)
	w.uint(uint64(f.ID))
	w.byte(byte(f.Kind))
	return w.data
}

// Encode returns the command's bytes.
func (f FinishMail) Encode() []byte {
	w := beginCommand(opFinishMail, 12)
	w.uint(uint64(f.ID))
	w.byte(byte(f.Kind))
	return w.data
}

// Encode returns the command's bytes.
func (e Erase) Encode() []byte {
	w := beginCommand(opErase, 64+len(e.Operator)+len(e.Email))
	w.writeOperation(e.Operation)
	w.uint(uint64(e.ID))
	w.text(e.Email)
	return w.data
}

// Encode returns the command's bytes.
func (t Tick) Encode() []byte {
	if t.Until.IsZero() {
		return []byte{opTick}
	}
	w := beginCommand(opTickUntil, 16)
	w.time(t.Until)
	return w.data
}
