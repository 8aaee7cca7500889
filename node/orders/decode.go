package orders

import "bramble/node/orders/draw"

// DecodeCommand reads what Encode wrote, and nothing else: what it accepts encodes to the
// same bytes again. It does not Check. The error is ErrCommand; it tells nothing of the
// content.
func DecodeCommand(data []byte) (Command, error) {
	if len(data) == 0 || len(data) > MaxCommand {
		return nil, ErrCommand
	}
	r := reader{data: data[1:]}
	c := r.command(data[0])
	if c == nil || !r.done() {
		return nil, ErrCommand
	}
	return c, nil
}

// command reads the fields in the order in which Encode writes them.
func (r *reader) command(op byte) Command {
	switch op {
	case opAsk:
		return r.ask()
	case opCancel:
		return Cancel{ID: r.id(), By: r.operation(), Reason: r.text()}
	case opOffer:
		return r.offer()
	case opStock:
		return Stock{Operation: r.operation(), Product: r.text(), Delta: r.int()}
	case opOpenSale:
		return OpenSale{Operation: r.operation(), Product: r.text()}
	case opCloseSale:
		return CloseSale{Operation: r.operation(), Product: r.text()}
	case opSetTimes:
		return SetTimes{Operation: r.operation(), Product: r.text(), Opens: r.time(), Closes: r.time()}
	case opAnnounce:
		return Announce{Operation: r.operation(), Text: r.text()}
	case opInvite:
		return Invite{Operation: r.operation(), Product: r.text(), Count: r.count(), Until: r.time()}
	case opMakeDraw:
		return MakeDraw{Operation: r.operation(), Product: r.text(), Public: r.public()}
	case opHanding:
		return Handing{ID: r.id()}
	case opHandedOver:
		return HandedOver{ID: r.id(), How: r.text()}
	case opMailed:
		return Mailed{ID: r.id(), What: What(r.byte())}
	case opForget:
		return Forget{Operation: r.operation(), ID: r.id(), Email: r.text()}
	case opTick:
		return Tick{}
	}
	return nil
}

func (r *reader) ask() Ask {
	return Ask{
		ID:       r.id(),
		Product:  r.text(),
		Kind:     Kind(r.byte()),
		Quantity: r.count(),
		Total:    r.int(),
		Currency: r.text(),
		Person:   r.person(),
		More:     r.bool(),
	}
}

func (r *reader) offer() Offer {
	return Offer{
		Operation:      r.operation(),
		Product:        r.text(),
		Mode:           Mode(r.byte()),
		Stock:          r.int(),
		Limit:          r.count(),
		LimitByAddress: r.bool(),
		Opens:          r.time(),
		Closes:         r.time(),
		WaitingList:    r.bool(),
		Price:          r.int(),
		Currency:       r.text(),
		Countries:      r.countries(),
		Webhook:        r.bool(),
		HandoverAfter:  r.duration(),
		Mail:           r.bool(),
		Retain:         r.duration(),
		Secret:         r.bytes32(),
		Wanted:         draw.Kind(r.text()),
	}
}

// id reads an ID, which may be 0 where there is none.
func (r *reader) id() ID {
	id := ID(r.uint())
	if id > MaxID {
		r.fail()
	}
	return id
}

func (r *reader) operation() Operation { return Operation{Who: r.text(), OpID: r.uint()} }

func (r *reader) public() draw.Public {
	return draw.Public{Kind: draw.Kind(r.text()), Text: r.text()}
}

func (r *reader) person() Person {
	return Person{
		Name: r.text(), Email: r.text(), Line1: r.text(), Line2: r.text(),
		City: r.text(), Postcode: r.text(), Country: r.text(),
	}
}

func (r *reader) countries() []Country {
	n := r.list()
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
