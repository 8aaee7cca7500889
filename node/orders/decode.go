package orders

import "bramble/node/orders/draw"

// DecodeCommand decodes the output of Encode, and nothing else: a command that it accepts
// encodes to the same bytes. It does not call Check. The error is ErrCommand, which reveals nothing of the
// content.
func DecodeCommand(data []byte) (Command, error) {
	if len(data) == 0 || len(data) > MaxCommand && (data[0] != opAddRestoreChunk || len(data) > MaxRestoreCommand) {
		return nil, ErrCommand
	}
	r := decoder{data: data[1:]}
	c := r.readCommand(data[0])
	if c == nil || !r.done() {
		return nil, ErrCommand
	}
	return c, nil
}

// readCommand reads the fields in the order in which Encode writes them.
func (d *decoder) readCommand(op byte) Command {
	switch op {
	case opPlaceOrder:
		return d.readPlaceOrder()
	case opCancel:
		return Cancel{ID: d.readID(), By: d.readOperation(), Reason: d.text()}
	case opOffer:
		return d.readOffer()
	case opOfferInviting:
		o := d.readOffer()
		if o.Invitations = d.duration(); o.Invitations == 0 {
			d.fail()
		}
		return o
	case opReviseOffer:
		return d.readRevision()
	case opRetireSale:
		return RetireSale{Operation: d.readOperation(), Product: d.text(), Undo: d.bool()}
	case opHandOver:
		return HandOver{Operation: d.readOperation(), Product: d.text()}
	case opMarkSent:
		return MarkSent{Operation: d.readOperation(), ID: d.readID(), Note: d.text()}
	case opReturnOrder:
		return ReturnOrder{Operation: d.readOperation(), ID: d.readID(), Restock: d.bool(), Reason: d.text()}
	case opFinishWebhook:
		return FinishWebhook{ID: d.readID(), Kind: JobKind(d.byte())}
	case opStock:
		return Stock{Operation: d.readOperation(), Product: d.text(), Delta: d.int()}
	case opOpenSale:
		return OpenSale{Operation: d.readOperation(), Product: d.text()}
	case opCloseSale:
		return CloseSale{Operation: d.readOperation(), Product: d.text()}
	case opSetTimes:
		return SetTimes{Operation: d.readOperation(), Product: d.text(), Opens: d.time(), Closes: d.time()}
	case opSetOneTime:
		s := SetTimes{Operation: d.readOperation(), Product: d.text(), Opens: d.time(), Closes: d.time(), KeepOpens: d.bool(), KeepCloses: d.bool()}
		if !s.KeepOpens && !s.KeepCloses {
			d.fail()
		}
		return s
	case opAnnounce:
		return Announce{Operation: d.readOperation(), Text: d.text()}
	case opInvite:
		return Invite{Operation: d.readOperation(), Product: d.text(), Count: d.count(), Until: d.time()}
	case opMakeDraw:
		return MakeDraw{Operation: d.readOperation(), Product: d.text(), Public: d.readPublic()}
	case opBeginFulfilment:
		return BeginFulfilment{ID: d.readID()}
	case opFinishFulfilment:
		return FinishFulfilment{ID: d.readID(), How: d.text()}
	case opFinishMail:
		return FinishMail{ID: d.readID(), Kind: JobKind(d.byte())}
	case opErase:
		return Erase{Operation: d.readOperation(), ID: d.readID(), Email: d.text()}
	case opTick:
		return Tick{}
	case opTickUntil:
		t := Tick{Until: d.time()}
		if t.Until.IsZero() {
			d.fail()
		}
		return t
	case opSetClock:
		return SetClock{Operation: d.readOperation(), Before: d.time(), After: d.time()}
	case opBeginRestore:
		return d.readBeginRestore()
	case opAddRestoreChunk:
		return AddRestoreChunk{OpID: d.uint(), Number: d.count(), Data: []byte(d.text())}
	case opFinishRestore:
		return FinishRestore{d.readOperation()}
	case opCancelRestore:
		return CancelRestore{d.readOperation()}
	}
	return nil
}

func (d *decoder) readPlaceOrder() PlaceOrder {
	return PlaceOrder{
		ID:         d.readID(),
		Product:    d.text(),
		Kind:       Kind(d.byte()),
		Quantity:   d.count(),
		Total:      d.int(),
		Currency:   d.text(),
		Person:     d.readPerson(),
		InAddition: d.bool(),
	}
}

func (d *decoder) readOffer() Offer {
	return Offer{
		Operation:       d.readOperation(),
		Product:         d.text(),
		Mode:            Mode(d.byte()),
		Stock:           d.int(),
		Limit:           d.count(),
		LimitByAddress:  d.bool(),
		Opens:           d.time(),
		Closes:          d.time(),
		WaitingList:     d.bool(),
		Price:           d.int(),
		Currency:        d.text(),
		Countries:       d.readCountries(),
		Webhook:         d.bool(),
		FulfilmentDelay: d.duration(),
		Mail:            d.bool(),
		Retain:          d.duration(),
		Secret:          d.bytes32(),
		PublicKind:      draw.Kind(d.text()),
	}
}

func (d *decoder) readRevision() ReviseOffer {
	r := ReviseOffer{Operation: d.readOperation(), Product: d.text()}
	fields := d.uint()
	if fields >= uint64(reviseEnd) {
		d.fail()
	}
	r.Fields, r.Price, r.Countries, r.Limit = Revised(fields), d.int(), d.readCountries(), d.count()
	r.WaitingList, r.Invitations, r.Webhook, r.Mail = d.bool(), d.duration(), d.bool(), d.bool()
	r.FulfilmentDelay, r.Retain = d.duration(), d.duration()
	return r
}

// readID reads an ID, or 0 for none.
func (d *decoder) readID() ID {
	id := ID(d.uint())
	if id > MaxID {
		d.fail()
	}
	return id
}

func (d *decoder) readOperation() Operation { return Operation{Operator: d.text(), OpID: d.uint()} }

func (d *decoder) readPublic() draw.Public {
	return draw.Public{Kind: draw.Kind(d.text()), Text: d.text()}
}

func (d *decoder) readPerson() Person {
	return Person{
		Name: d.text(), Email: d.text(), Line1: d.text(), Line2: d.text(),
		City: d.text(), Postcode: d.text(), Country: d.text(),
	}
}

func (d *decoder) readCountries() []Country {
	n := d.listLen()
	if n == 0 {
		return nil
	}
	if n > MaxCountries {
		d.fail()
		return nil
	}
	list := make([]Country, n)
	for i := range list {
		list[i] = Country{Code: d.text(), Shipping: d.int(), Tax: d.count()}
	}
	return list
}
