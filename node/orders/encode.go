package orders

// The first byte of a command tells which it is. A command whose form changes gets a new
// number, because the ledger of a rack outlives a version of this program.
const (
	opAsk        = 1
	opCancel     = 2
	opOffer      = 3
	opStock      = 4
	opOpenSale   = 5
	opCloseSale  = 6
	opSetTimes   = 7
	opAnnounce   = 8
	opInvite     = 9
	opMakeDraw   = 10
	opHanding    = 11
	opHandedOver = 12
	opMailed     = 13
	opForget     = 14
	opTick       = 15
)

func begin(op byte, size int) writer {
	w := writer{data: make([]byte, 0, size)}
	w.byte(op)
	return w
}

func (w *writer) operation(o Operation) {
	w.text(o.Who)
	w.uint(o.OpID)
}

func (w *writer) person(p *Person) {
	w.text(p.Name)
	w.text(p.Email)
	w.text(p.Line1)
	w.text(p.Line2)
	w.text(p.City)
	w.text(p.Postcode)
	w.text(p.Country)
}

func (p *Person) size() int {
	return len(p.Name) + len(p.Email) + len(p.Line1) + len(p.Line2) + len(p.City) + len(p.Postcode) + len(p.Country) + 14
}

func (w *writer) countries(list []Country) {
	w.uint(uint64(len(list)))
	for _, c := range list {
		w.text(c.Code)
		w.int(c.Shipping)
		w.int(int64(c.Tax))
	}
}

// Encode gives the command's bytes.
func (c Ask) Encode() []byte {
	w := begin(opAsk, 48+len(c.Product)+c.Person.size())
	w.uint(uint64(c.ID))
	w.text(c.Product)
	w.byte(byte(c.Kind))
	w.int(int64(c.Quantity))
	w.int(c.Total)
	w.text(c.Currency)
	w.person(&c.Person)
	w.bool(c.More)
	return w.data
}

// Encode gives the command's bytes.
func (c Cancel) Encode() []byte {
	w := begin(opCancel, 48+len(c.By.Who)+len(c.Reason))
	w.uint(uint64(c.ID))
	w.operation(c.By)
	w.text(c.Reason)
	return w.data
}

// Encode gives the command's bytes.
func (c Offer) Encode() []byte {
	w := begin(opOffer, 256+16*len(c.Countries))
	w.operation(c.Operation)
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
	w.countries(c.Countries)
	w.bool(c.Webhook)
	w.duration(c.HandoverAfter)
	w.bool(c.Mail)
	w.duration(c.Retain)
	w.data = append(w.data, c.Secret[:]...)
	w.text(string(c.Wanted))
	return w.data
}

// Encode gives the command's bytes.
func (c Stock) Encode() []byte {
	w := begin(opStock, 64+len(c.Who)+len(c.Product))
	w.operation(c.Operation)
	w.text(c.Product)
	w.int(c.Delta)
	return w.data
}

// Encode gives the command's bytes.
func (c OpenSale) Encode() []byte {
	w := begin(opOpenSale, 64+len(c.Who)+len(c.Product))
	w.operation(c.Operation)
	w.text(c.Product)
	return w.data
}

// Encode gives the command's bytes.
func (c CloseSale) Encode() []byte {
	w := begin(opCloseSale, 64+len(c.Who)+len(c.Product))
	w.operation(c.Operation)
	w.text(c.Product)
	return w.data
}

// Encode gives the command's bytes.
func (c SetTimes) Encode() []byte {
	w := begin(opSetTimes, 64+len(c.Who)+len(c.Product))
	w.operation(c.Operation)
	w.text(c.Product)
	w.time(c.Opens)
	w.time(c.Closes)
	return w.data
}

// Encode gives the command's bytes.
func (c Announce) Encode() []byte {
	w := begin(opAnnounce, 64+len(c.Who)+len(c.Text))
	w.operation(c.Operation)
	w.text(c.Text)
	return w.data
}

// Encode gives the command's bytes.
func (c Invite) Encode() []byte {
	w := begin(opInvite, 64+len(c.Who)+len(c.Product))
	w.operation(c.Operation)
	w.text(c.Product)
	w.int(int64(c.Count))
	w.time(c.Until)
	return w.data
}

// Encode gives the command's bytes.
func (c MakeDraw) Encode() []byte {
	w := begin(opMakeDraw, 64+len(c.Who)+len(c.Product)+len(c.Public.Text))
	w.operation(c.Operation)
	w.text(c.Product)
	w.text(string(c.Public.Kind))
	w.text(c.Public.Text)
	return w.data
}

// Encode gives the command's bytes.
func (c Handing) Encode() []byte {
	w := begin(opHanding, 12)
	w.uint(uint64(c.ID))
	return w.data
}

// Encode gives the command's bytes.
func (c HandedOver) Encode() []byte {
	w := begin(opHandedOver, 16+len(c.How))
	w.uint(uint64(c.ID))
	w.text(c.How)
	return w.data
}

// Encode gives the command's bytes.
func (c Mailed) Encode() []byte {
	w := begin(opMailed, 12)
	w.uint(uint64(c.ID))
	w.byte(byte(c.What))
	return w.data
}

// Encode gives the command's bytes.
func (c Forget) Encode() []byte {
	w := begin(opForget, 64+len(c.Who)+len(c.Email))
	w.operation(c.Operation)
	w.uint(uint64(c.ID))
	w.text(c.Email)
	return w.data
}

// Encode gives the command's bytes.
func (Tick) Encode() []byte { return []byte{opTick} }
