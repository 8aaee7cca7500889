package orders

import "bramble/node/orders/draw"

// DecodeCommand reads what Encode wrote, and nothing else: what it accepts encodes to the same
// bytes. It does not call Check. The error is ErrCommand, which reveals nothing of the
// content.
func DecodeCommand(data []byte) (Command, error) {
	if len(data) == 0 || len(data) > MaxCommand {
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
func (r *decoder) readCommand(op byte) Command {
	switch op {
	case opPlaceOrder:
		return r.readPlaceOrder()
	case opCancel:
		return Cancel{ID: r.readID(), By: r.readOperation(), Reason: r.text()}
	case opOffer:
		return r.readOffer()
	case opStock:
		return Stock{Operation: r.readOperation(), Product: r.text(), Delta: r.int()}
	case opOpenSale:
		return OpenSale{Operation: r.readOperation(), Product: r.text()}
	case opCloseSale:
		return CloseSale{Operation: r.readOperation(), Product: r.text()}
	case opSetTimes:
		return SetTimes{Operation: r.readOperation(), Product: r.text(), Opens: r.time(), Closes: r.time()}
	case opAnnounce:
		return Announce{Operation: r.readOperation(), Text: r.text()}
	case opInvite:
		return Invite{Operation: r.readOperation(), Product: r.text(), Count: r.count(), Until: r.time()}
	case opMakeDraw:
		return MakeDraw{Operation: r.readOperation(), Product: r.text(), Public: r.readPublic()}
	case opBeginFulfilment:
		return BeginFulfilment{ID: r.readID()}
	case opFinishFulfilment:
		return FinishFulfilment{ID: r.readID(), How: r.text()}
	case opFinishMail:
		return FinishMail{ID: r.readID(), Kind: JobKind(r.byte())}
	case opForget:
		return Forget{Operation: r.readOperation(), ID: r.readID(), Email: r.text()}
	case opTick:
		return Tick{}
	}
	return nil
}

func (r *decoder) readPlaceOrder() PlaceOrder {
	return PlaceOrder{
		ID:       r.readID(),
		Product:  r.text(),
		Kind:     Kind(r.byte()),
		Quantity: r.count(),
		Total:    r.int(),
		Currency: r.text(),
		Person:   r.readPerson(),
		More:     r.bool(),
	}
}

func (r *decoder) readOffer() Offer {
	return Offer{
		Operation:       r.readOperation(),
		Product:         r.text(),
		Mode:            Mode(r.byte()),
		Stock:           r.int(),
		Limit:           r.count(),
		LimitByAddress:  r.bool(),
		Opens:           r.time(),
		Closes:          r.time(),
		WaitingList:     r.bool(),
		Price:           r.int(),
		Currency:        r.text(),
		Countries:       r.readCountries(),
		Webhook:         r.bool(),
		FulfilmentDelay: r.duration(),
		Mail:            r.bool(),
		Retain:          r.duration(),
		Secret:          r.bytes32(),
		PublicKind:      draw.Kind(r.text()),
	}
}

// readID reads an ID, or 0 for none.
func (r *decoder) readID() ID {
	id := ID(r.uint())
	if id > MaxID {
		r.fail()
	}
	return id
}

func (r *decoder) readOperation() Operation { return Operation{Operator: r.text(), OpID: r.uint()} }

func (r *decoder) readPublic() draw.Public {
	return draw.Public{Kind: draw.Kind(r.text()), Text: r.text()}
}

func (r *decoder) readPerson() Person {
	return Person{
		Name: r.text(), Email: r.text(), Line1: r.text(), Line2: r.text(),
		City: r.text(), Postcode: r.text(), Country: r.text(),
	}
}

func (r *decoder) readCountries() []Country {
	n := r.listLen()
	if n == 0 {
		return nil
	}
	if n > MaxCountries {
		r.fail()
		return nil
	}
	list := make([]Country, n)
	for i := range list {
		list[i] = Country{Code: r.text(), Shipping: r.int(), Tax: r.count()}
	}
	return list
}
