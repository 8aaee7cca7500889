package orders

// DecodeCommand decodes the output of Encode, and nothing else: a command that it accepts
// encodes to the same bytes. It does not call Check. The error is ErrCommand, which reveals nothing of the
// content.
func DecodeCommand(data []byte) (Command, error) {
	if len(data) == 0 || len(data) > MaxCommand && (data[0] != opAddRestoreChunk || len(data) > MaxRestoreCommand) {
		return nil, ErrCommand
	}
	op := int(data[0])
	if op >= len(commandReaders) || commandReaders[op] == nil {
		return nil, ErrCommand
	}
	r := &decoder{data: data[1:]}
	c := commandReaders[op](r)
	if !r.done() {
		return nil, ErrCommand
	}
	return c, nil
}

// fieldsOf is a pointer to a record that has its list of fields.
type fieldsOf[C any] interface {
	*C
	codeFields(fieldCodec)
}

func readFields[C any, P fieldsOf[C]](d *decoder) C {
	var c C
	P(&c).codeFields(fieldCodec{from: d})
	return c
}

func readCommand[C Command, P fieldsOf[C]](d *decoder) Command { return readFields[C, P](d) }

// commandReaders read the fields of a command, by its type.
var commandReaders = [...]func(*decoder) Command{
	opPlaceOrder:       readCommand[PlaceOrder],
	opPlaceUnheld:      func(d *decoder) Command { return PlaceOrder(readFields[unheldOrder](d)) },
	opCancel:           readCommand[Cancel],
	opOffer:            readCommand[Offer],
	opOfferInviting:    func(d *decoder) Command { return Offer(readFields[invitingOffer](d)) },
	opOfferDice:        func(d *decoder) Command { return Offer(readFields[diceOffer](d)) },
	opOfferConfirming:  func(d *decoder) Command { return Offer(readFields[confirmingOffer](d)) },
	opConfirm:          readCommand[Confirm],
	opReviseOffer:      readCommand[ReviseOffer],
	opRetireSale:       readCommand[RetireSale],
	opHandOver:         readCommand[HandOver],
	opStock:            readCommand[Stock],
	opOpenSale:         readCommand[OpenSale],
	opCloseSale:        readCommand[CloseSale],
	opSetTimes:         readCommand[SetTimes],
	opSetOneTime:       func(d *decoder) Command { return SetTimes(readFields[setOneTime](d)) },
	opAnnounce:         readCommand[Announce],
	opInvite:           readCommand[Invite],
	opMakeDraw:         readCommand[MakeDraw],
	opBeginFulfilment:  readCommand[BeginFulfilment],
	opFinishFulfilment: readCommand[FinishFulfilment],
	opMarkSent:         readCommand[MarkSent],
	opReturnOrder:      readCommand[ReturnOrder],
	opFinishWebhook:    readCommand[FinishWebhook],
	opFinishMail:       readCommand[FinishMail],
	opErase:            readCommand[Erase],
	opTick:             func(*decoder) Command { return Tick{} },
	opTickUntil:        readCommand[Tick],
	opTickBoards:       func(d *decoder) Command { return Tick(readFields[boardsTick](d)) },
	opSetClock:         readCommand[SetClock],
	opBeginRestore:     readCommand[BeginRestore],
	opAddRestoreChunk:  readCommand[AddRestoreChunk],
	opFinishRestore:    readCommand[FinishRestore],
	opCancelRestore:    readCommand[CancelRestore],
	opSetReceiptSecret: readCommand[SetReceiptSecret],
}
