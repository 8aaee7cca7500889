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

// encodeCommand is the Encode of every command.
func encodeCommand(op byte, c interface{ codeFields(fieldCodec) }) []byte {
	w := &encoder{data: make([]byte, 0, 256)}
	w.byte(op)
	c.codeFields(fieldCodec{to: w})
	return w.data
}

// Encode returns the command's bytes.
func (p PlaceOrder) Encode() []byte { return encodeCommand(opPlaceOrder, &p) }

func (p *PlaceOrder) codeFields(c fieldCodec) {
	c.codeAll(&p.ID, &p.Product, &p.Kind, &p.Quantity, &p.Total, &p.Currency, &p.Person, &p.InAddition)
}

// Encode returns the command's bytes.
func (c Cancel) Encode() []byte { return encodeCommand(opCancel, &c) }

func (c *Cancel) codeFields(f fieldCodec) { f.codeAll(&c.ID, &c.By, &c.Reason) }

// Encode returns the command's bytes.
func (o Offer) Encode() []byte {
	if o.Invitations != 0 {
		return encodeCommand(opOfferInviting, (*invitingOffer)(&o))
	}
	return encodeCommand(opOffer, &o)
}

func (o *Offer) codeFields(c fieldCodec) {
	c.codeAll(&o.Operation, &o.Product, &o.Mode, &o.Stock, &o.Limit, &o.LimitByAddress, &o.Opens, &o.Closes, &o.WaitingList,
		&o.Price, &o.Currency, &o.Countries, &o.Webhook, &o.FulfilmentDelay, &o.Mail, &o.Retain, &o.Secret, &o.PublicKind)
}

// invitingOffer is an Offer with Invitations.
type invitingOffer Offer

func (i *invitingOffer) codeFields(c fieldCodec) {
	(*Offer)(i).codeFields(c)
	c.codeAll(&i.Invitations)
	c.require(i.Invitations != 0)
}

// Encode returns the command's bytes.
func (r ReviseOffer) Encode() []byte { return encodeCommand(opReviseOffer, &r) }

func (r *ReviseOffer) codeFields(c fieldCodec) {
	c.codeAll(&r.Operation, &r.Product, &r.Fields, &r.Price, &r.Countries, &r.Limit, &r.WaitingList,
		&r.Invitations, &r.Webhook, &r.Mail, &r.FulfilmentDelay, &r.Retain)
}

// Encode returns the command's bytes.
func (r RetireSale) Encode() []byte { return encodeCommand(opRetireSale, &r) }

func (r *RetireSale) codeFields(c fieldCodec) { c.codeAll(&r.Operation, &r.Product, &r.Undo) }

// Encode returns the command's bytes.
func (h HandOver) Encode() []byte { return encodeCommand(opHandOver, &h) }

func (h *HandOver) codeFields(c fieldCodec) { c.codeAll(&h.Operation, &h.Product) }

// Encode returns the command's bytes.
func (s Stock) Encode() []byte { return encodeCommand(opStock, &s) }

func (s *Stock) codeFields(c fieldCodec) { c.codeAll(&s.Operation, &s.Product, &s.Delta) }

// Encode returns the command's bytes.
func (o OpenSale) Encode() []byte { return encodeCommand(opOpenSale, &o) }

func (o *OpenSale) codeFields(c fieldCodec) { c.codeAll(&o.Operation, &o.Product) }

// Encode returns the command's bytes.
func (c CloseSale) Encode() []byte { return encodeCommand(opCloseSale, &c) }

func (c *CloseSale) codeFields(f fieldCodec) { f.codeAll(&c.Operation, &c.Product) }

// Encode returns the command's bytes.
func (s SetTimes) Encode() []byte {
	if s.KeepOpens || s.KeepCloses {
		return encodeCommand(opSetOneTime, (*setOneTime)(&s))
	}
	return encodeCommand(opSetTimes, &s)
}

func (s *SetTimes) codeFields(c fieldCodec) { c.codeAll(&s.Operation, &s.Product, &s.Opens, &s.Closes) }

// setOneTime is a SetTimes that keeps a time.
type setOneTime SetTimes

func (s *setOneTime) codeFields(c fieldCodec) {
	(*SetTimes)(s).codeFields(c)
	c.codeAll(&s.KeepOpens, &s.KeepCloses)
	c.require(s.KeepOpens || s.KeepCloses)
}

// Encode returns the command's bytes.
func (a Announce) Encode() []byte { return encodeCommand(opAnnounce, &a) }

func (a *Announce) codeFields(c fieldCodec) { c.codeAll(&a.Operation, &a.Text) }

// Encode returns the command's bytes.
func (i Invite) Encode() []byte { return encodeCommand(opInvite, &i) }

func (i *Invite) codeFields(c fieldCodec) { c.codeAll(&i.Operation, &i.Product, &i.Count, &i.Until) }

// Encode returns the command's bytes.
func (m MakeDraw) Encode() []byte { return encodeCommand(opMakeDraw, &m) }

func (m *MakeDraw) codeFields(c fieldCodec) { c.codeAll(&m.Operation, &m.Product, &m.Public) }

// Encode returns the command's bytes.
func (b BeginFulfilment) Encode() []byte { return encodeCommand(opBeginFulfilment, &b) }

func (b *BeginFulfilment) codeFields(c fieldCodec) { c.codeAll(&b.ID) }

// Encode returns the command's bytes.
func (f FinishFulfilment) Encode() []byte { return encodeCommand(opFinishFulfilment, &f) }

func (f *FinishFulfilment) codeFields(c fieldCodec) { c.codeAll(&f.ID, &f.How) }

// Encode returns the command's bytes.
func (m MarkSent) Encode() []byte { return encodeCommand(opMarkSent, &m) }

func (m *MarkSent) codeFields(c fieldCodec) { c.codeAll(&m.Operation, &m.ID, &m.Note) }

// Encode returns the command's bytes.
func (r ReturnOrder) Encode() []byte { return encodeCommand(opReturnOrder, &r) }

func (r *ReturnOrder) codeFields(c fieldCodec) { c.codeAll(&r.Operation, &r.ID, &r.Restock, &r.Reason) }

// Encode returns the command's bytes.
func (f FinishWebhook) Encode() []byte { return encodeCommand(opFinishWebhook, &f) }

func (f *FinishWebhook) codeFields(c fieldCodec) { c.codeAll(&f.ID, &f.Kind) }

// Encode returns the command's bytes.
func (f FinishMail) Encode() []byte { return encodeCommand(opFinishMail, &f) }

func (f *FinishMail) codeFields(c fieldCodec) { c.codeAll(&f.ID, &f.Kind) }

// Encode returns the command's bytes.
func (e Erase) Encode() []byte { return encodeCommand(opErase, &e) }

func (e *Erase) codeFields(c fieldCodec) { c.codeAll(&e.Operation, &e.ID, &e.Email) }

// Encode returns the command's bytes.
func (t Tick) Encode() []byte {
	if t.Until.IsZero() {
		return []byte{opTick}
	}
	return encodeCommand(opTickUntil, &t)
}

func (t *Tick) codeFields(c fieldCodec) {
	c.codeAll(&t.Until)
	c.require(!t.Until.IsZero())
}

// Encode returns the command's bytes.
func (s SetClock) Encode() []byte { return encodeCommand(opSetClock, &s) }

func (s *SetClock) codeFields(c fieldCodec) { c.codeAll(&s.Operation, &s.Before, &s.After) }

// Encode returns the command's bytes.
func (b BeginRestore) Encode() []byte { return encodeCommand(opBeginRestore, &b) }

func (b *BeginRestore) codeFields(c fieldCodec) {
	c.codeAll(&b.Operation, &b.Chunks, &b.Sum, &b.ReceiptKeys)
}

// Encode returns the command's bytes.
func (a AddRestoreChunk) Encode() []byte { return encodeCommand(opAddRestoreChunk, &a) }

func (a *AddRestoreChunk) codeFields(c fieldCodec) { c.codeAll(&a.OpID, &a.Number, &a.Data) }

// Encode returns the command's bytes.
func (f FinishRestore) Encode() []byte { return encodeCommand(opFinishRestore, &f) }

func (f *FinishRestore) codeFields(c fieldCodec) { c.codeAll(&f.Operation) }

// Encode returns the command's bytes.
func (c CancelRestore) Encode() []byte { return encodeCommand(opCancelRestore, &c) }

func (c *CancelRestore) codeFields(f fieldCodec) { f.codeAll(&c.Operation) }
