package orders

// The encoding of a command is its type and its fields; DecodeCommand reads them in the same
// order. The first byte is the type. A command whose encoding changes gets a new
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
	opTickBoards       = 48 // Tick with Boards
	opSetClock         = 31
	opBeginRestore     = 40
	opAddRestoreChunk  = 41
	opFinishRestore    = 42
	opCancelRestore    = 43
	opSetReceiptSecret = 44
	opConfirm          = 47
	opPlaceUnheld      = 49 // PlaceOrder that is Unheld or FromReceipt, or has a Network
	opSetOneTime       = 16 // SetTimes that keeps a time
	opOfferInviting    = 17 // Offer with Invitations
	opReviseOffer      = 18
	opRetireSale       = 19
	opHandOver         = 20
	opMarkSent         = 21
	opReturnOrder      = 22
	opFinishWebhook    = 23
	opOfferTrusted     = 45 // Offer with Dice or Confirm
)

// Encode returns a command's bytes for the ledger; DecodeCommand reads them.
func Encode(c Command) []byte { return c.encodeCommand() }

// encodeAs encodes a command, an answer or a stored record: its form, which is the first byte, and its fields.
func encodeAs(form byte, record interface{ codeFields(fieldCodec) }) []byte {
	w := &encoder{data: make([]byte, 0, 256)}
	w.byte(form)
	record.codeFields(fieldCodec{to: w, form: form})
	return w.data
}

func (p PlaceOrder) encodeCommand() []byte {
	if p.Unheld || p.FromReceipt || p.Network != 0 {
		return encodeAs(opPlaceUnheld, &p)
	}
	return encodeAs(opPlaceOrder, &p)
}

func (p *PlaceOrder) codeFields(c fieldCodec) {
	c.codeAll(&p.ID, &p.Product, &p.Kind, &p.Quantity, &p.Total, &p.Currency, &p.Person, &p.InAddition)
	if c.form == opPlaceUnheld {
		c.codeAll(&p.Unheld, &p.FromReceipt, &p.Network)
		c.require(p.Unheld || p.FromReceipt || p.Network != 0)
	}
}

func (c Cancel) encodeCommand() []byte    { return encodeAs(opCancel, &c) }
func (c *Cancel) codeFields(f fieldCodec) { f.codeAll(&c.ID, &c.By, &c.Reason) }

func (c Confirm) encodeCommand() []byte    { return encodeAs(opConfirm, &c) }
func (c *Confirm) codeFields(f fieldCodec) { f.codeAll(&c.ID) }

func (o Offer) encodeCommand() []byte {
	switch {
	case o.Dice != 0 || o.Confirm != 0:
		return encodeAs(opOfferTrusted, &o)
	case o.Invitations != 0:
		return encodeAs(opOfferInviting, &o)
	}
	return encodeAs(opOffer, &o)
}

func (o *Offer) codeFields(c fieldCodec) {
	c.codeAll(&o.Operation, &o.Product, &o.Mode, &o.Stock, &o.Limit, &o.LimitByAddress, &o.Opens, &o.Closes, &o.WaitingList,
		&o.Price, &o.Currency, &o.Countries, &o.Webhook, &o.FulfilmentDelay, &o.Mail, &o.Retain, &o.Secret, &o.PublicKind)
	switch c.form {
	case opOfferInviting:
		c.codeAll(&o.Invitations)
		c.require(o.Invitations != 0)
	case opOfferTrusted:
		c.codeAll(&o.Invitations, &o.Dice, &o.Confirm)
		c.require(o.Dice != 0 || o.Confirm != 0)
	}
}

func (r ReviseOffer) encodeCommand() []byte { return encodeAs(opReviseOffer, &r) }
func (r *ReviseOffer) codeFields(c fieldCodec) {
	c.codeAll(&r.Operation, &r.Product, &r.Fields, &r.Price, &r.Countries, &r.Limit, &r.WaitingList,
		&r.Invitations, &r.Webhook, &r.Mail, &r.FulfilmentDelay, &r.Retain)
}

func (r RetireSale) encodeCommand() []byte    { return encodeAs(opRetireSale, &r) }
func (r *RetireSale) codeFields(c fieldCodec) { c.codeAll(&r.Operation, &r.Product, &r.Undo) }

func (h HandOver) encodeCommand() []byte    { return encodeAs(opHandOver, &h) }
func (h *HandOver) codeFields(c fieldCodec) { c.codeAll(&h.Operation, &h.Product) }

func (s Stock) encodeCommand() []byte    { return encodeAs(opStock, &s) }
func (s *Stock) codeFields(c fieldCodec) { c.codeAll(&s.Operation, &s.Product, &s.Delta) }

func (o OpenSale) encodeCommand() []byte    { return encodeAs(opOpenSale, &o) }
func (o *OpenSale) codeFields(c fieldCodec) { c.codeAll(&o.Operation, &o.Product) }

func (c CloseSale) encodeCommand() []byte    { return encodeAs(opCloseSale, &c) }
func (c *CloseSale) codeFields(f fieldCodec) { f.codeAll(&c.Operation, &c.Product) }

func (s SetTimes) encodeCommand() []byte {
	if s.KeepOpens || s.KeepCloses {
		return encodeAs(opSetOneTime, &s)
	}
	return encodeAs(opSetTimes, &s)
}

func (s *SetTimes) codeFields(c fieldCodec) {
	c.codeAll(&s.Operation, &s.Product, &s.Opens, &s.Closes)
	if c.form == opSetOneTime {
		c.codeAll(&s.KeepOpens, &s.KeepCloses)
		c.require(s.KeepOpens || s.KeepCloses)
	}
}

func (a Announce) encodeCommand() []byte    { return encodeAs(opAnnounce, &a) }
func (a *Announce) codeFields(c fieldCodec) { c.codeAll(&a.Operation, &a.Text) }

func (i Invite) encodeCommand() []byte    { return encodeAs(opInvite, &i) }
func (i *Invite) codeFields(c fieldCodec) { c.codeAll(&i.Operation, &i.Product, &i.Count, &i.Until) }

func (m MakeDraw) encodeCommand() []byte    { return encodeAs(opMakeDraw, &m) }
func (m *MakeDraw) codeFields(c fieldCodec) { c.codeAll(&m.Operation, &m.Product, &m.Public) }

func (b BeginFulfilment) encodeCommand() []byte    { return encodeAs(opBeginFulfilment, &b) }
func (b *BeginFulfilment) codeFields(c fieldCodec) { c.codeAll(&b.ID) }

func (f FinishFulfilment) encodeCommand() []byte    { return encodeAs(opFinishFulfilment, &f) }
func (f *FinishFulfilment) codeFields(c fieldCodec) { c.codeAll(&f.ID, &f.How) }

func (m MarkSent) encodeCommand() []byte    { return encodeAs(opMarkSent, &m) }
func (m *MarkSent) codeFields(c fieldCodec) { c.codeAll(&m.Operation, &m.ID, &m.Note) }

func (r ReturnOrder) encodeCommand() []byte    { return encodeAs(opReturnOrder, &r) }
func (r *ReturnOrder) codeFields(c fieldCodec) { c.codeAll(&r.Operation, &r.ID, &r.Restock, &r.Reason) }

func (f FinishWebhook) encodeCommand() []byte    { return encodeAs(opFinishWebhook, &f) }
func (f *FinishWebhook) codeFields(c fieldCodec) { c.codeAll(&f.ID, &f.Kind) }

func (f FinishMail) encodeCommand() []byte    { return encodeAs(opFinishMail, &f) }
func (f *FinishMail) codeFields(c fieldCodec) { c.codeAll(&f.ID, &f.Kind) }

func (e Erase) encodeCommand() []byte    { return encodeAs(opErase, &e) }
func (e *Erase) codeFields(c fieldCodec) { c.codeAll(&e.Operation, &e.ID, &e.Email) }

func (t Tick) encodeCommand() []byte {
	switch {
	case t.Until.IsZero():
		return encodeAs(opTick, &t)
	case !t.Boards.IsZero():
		return encodeAs(opTickBoards, &t)
	}
	return encodeAs(opTickUntil, &t)
}

func (t *Tick) codeFields(c fieldCodec) {
	if c.form == opTick {
		return
	}
	c.codeAll(&t.Until)
	c.require(!t.Until.IsZero())
	if c.form == opTickBoards {
		c.codeAll(&t.Boards)
		c.require(!t.Boards.IsZero())
	}
}

func (s SetClock) encodeCommand() []byte    { return encodeAs(opSetClock, &s) }
func (s *SetClock) codeFields(c fieldCodec) { c.codeAll(&s.Operation, &s.Before, &s.After) }

func (b BeginRestore) encodeCommand() []byte { return encodeAs(opBeginRestore, &b) }
func (b *BeginRestore) codeFields(c fieldCodec) {
	c.codeAll(&b.Operation, &b.Chunks, &b.Sum, &b.ReceiptKeys)
}

func (a AddRestoreChunk) encodeCommand() []byte    { return encodeAs(opAddRestoreChunk, &a) }
func (a *AddRestoreChunk) codeFields(c fieldCodec) { c.codeAll(&a.OpID, &a.Number, &a.Data) }

func (f FinishRestore) encodeCommand() []byte    { return encodeAs(opFinishRestore, &f) }
func (f *FinishRestore) codeFields(c fieldCodec) { c.codeAll(&f.Operation) }

func (c CancelRestore) encodeCommand() []byte    { return encodeAs(opCancelRestore, &c) }
func (c *CancelRestore) codeFields(f fieldCodec) { f.codeAll(&c.Operation) }
