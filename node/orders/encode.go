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
	opForget           = 14
	opTick             = 15
)

func beginCommand(op byte, size int) encoder {
	w := encoder{data: make([]byte, 0, size)}
	w.byte(op)
	return w
}

func (w *encoder) writeOperation(o Operation) {
	w.text(o.Operator)
	w.uint(o.OpID)
}

func (w *encoder) writePerson(p *Person) {
	w.text(p.Name)
	w.text(p.Email)
	w.text(p.Line1)
	w.text(p.Line2)
	w.text(p.City)
	w.text(p.Postcode)
	w.text(p.Country)
}

func (p *Person) encodedSize() int {
	return len(p.Name) + len(p.Email) + len(p.Line1) + len(p.Line2) + len(p.City) + len(p.Postcode) + len(p.Country) + 14
}

func (w *encoder) writeCountries(list []Country) {
	w.uint(uint64(len(list)))
	for _, c := range list {
		w.text(c.Code)
		w.int(c.Shipping)
		w.int(int64(c.Tax))
	}
}

// Encode returns the command's bytes.
func (c PlaceOrder) Encode() []byte {
	w := beginCommand(opPlaceOrder, 48+len(c.Product)+c.Person.encodedSize())
	w.uint(uint64(c.ID))
	w.text(c.Product)
	w.byte(byte(c.Kind))
	w.int(int64(c.Quantity))
	w.int(c.Total)
	w.text(c.Currency)
	w.writePerson(&c.Person)
	w.bool(c.More)
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
func (c Offer) Encode() []byte {
	w := beginCommand(opOffer, 256+16*len(c.Countries))
	w.writeOperation(c.Operation)
	w.text(c.Product)
	w.byte(byte(c.Mode))
	w.int(c.Stock)
	w.int(int64(c.Limit))
	w.bool(c.LimitByAddress)
	w.time(c.Opens)
	w.time(c.Closes)
	w.bool(c.WaitingList)
	w.int(c.Price)
	w.text(c.Currency)
	w.writeCountries(c.Countries)
	w.bool(c.Webhook)
	w.duration(c.FulfilmentDelay)
	w.bool(c.Mail)
	w.duration(c.Retain)
	w.data = append(w.data, c.Secret[:]...)
	w.text(string(c.PublicKind))
	return w.data
}

// Encode returns the command's bytes.
func (c Stock) Encode() []byte {
	w := beginCommand(opStock, 64+len(c.Operator)+len(c.Product))
	w.writeOperation(c.Operation)
	w.text(c.Product)
	w.int(c.Delta)
	return w.data
}

// Encode returns the command's bytes.
func (c OpenSale) Encode() []byte {
	w := beginCommand(opOpenSale, 64+len(c.Operator)+len(c.Product))
	w.writeOperation(c.Operation)
	w.text(c.Product)
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
func (c SetTimes) Encode() []byte {
	w := beginCommand(opSetTimes, 64+len(c.Operator)+len(c.Product))
	w.writeOperation(c.Operation)
	w.text(c.Product)
	w.time(c.Opens)
	w.time(c.Closes)
	return w.data
}

// Encode returns the command's bytes.
func (c Announce) Encode() []byte {
	w := beginCommand(opAnnounce, 64+len(c.Operator)+len(c.Text))
	w.writeOperation(c.Operation)
	w.text(c.Text)
	return w.data
}

// Encode returns the command's bytes.
func (c Invite) Encode() []byte {
	w := beginCommand(opInvite, 64+len(c.Operator)+len(c.Product))
	w.writeOperation(c.Operation)
	w.text(c.Product)
	w.int(int64(c.Count))
	w.time(c.Until)
	return w.data
}

// Encode returns the command's bytes.
func (c MakeDraw) Encode() []byte {
	w := beginCommand(opMakeDraw, 64+len(c.Operator)+len(c.Product)+len(c.Public.Text))
	w.writeOperation(c.Operation)
	w.text(c.Product)
	w.text(string(c.Public.Kind))
	w.text(c.Public.Text)
	return w.data
}

// Encode returns the command's bytes.
func (c BeginFulfilment) Encode() []byte {
	w := beginCommand(opBeginFulfilment, 12)
	w.uint(uint64(c.ID))
	return w.data
}

// Encode returns the command's bytes.
func (c FinishFulfilment) Encode() []byte {
	w := beginCommand(opFinishFulfilment, 16+len(c.How))
	w.uint(uint64(c.ID))
	w.text(c.How)
	return w.data
}

// Encode returns the command's bytes.
func (c FinishMail) Encode() []byte {
	w := beginCommand(opFinishMail, 12)
	w.uint(uint64(c.ID))
	w.byte(byte(c.Kind))
	return w.data
}

// Encode returns the command's bytes.
func (c Forget) Encode() []byte {
	w := beginCommand(opForget, 64+len(c.Operator)+len(c.Email))
	w.writeOperation(c.Operation)
	w.uint(uint64(c.ID))
	w.text(c.Email)
	return w.data
}

// Encode returns the command's bytes.
func (Tick) Encode() []byte { return []byte{opTick} }
