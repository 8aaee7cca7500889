package orders

// DecodeCommand decodes the output of Encode, and nothing else: a command that it accepts
// encodes to the same bytes. It does not call Check. The error is ErrCommand, which reveals nothing of the
// content.
func DecodeCommand(data []byte) (Command, error) {
	if len(data) == 0 || len(data) > MaxCommand && (data[0] != opAddRestoreChunk || len(data) > MaxRestoreCommand) {
		return nil, ErrCommand
	}
	op := data[0]
	if int(op) >= len(commandReaders) || commandReaders[op] == nil {
		return nil, ErrCommand
	}
	r := &decoder{data: data[1:]}
	c := commandReaders[op](fieldCodec{from: r, form: op})
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

func readFields[C any, P fieldsOf[C]](f fieldCodec) C {
	var c C
	P(&c).codeFields(f)
	return c
}

func readCommand[C Command, P fieldsOf[C]](f fieldCodec) Command { return readFields[C, P](f) }

// commandReaders read the fields of a command, by its type.
var commandReaders = [...]func(fieldCodec) Command{
	opPlaceOrder:       readCommand[PlaceOrder],
	opPlaceUnheld:      readCommand[PlaceOrder],
	opCancel:           readCommand[Cancel],
	opOffer:            readCommand[Offer],
	opOfferInviting:    readCommand[Offer],
	opOfferTrusted:     readCommand[Offer],
	opConfirm:          readCommand[Confirm],
	opReviseOffer:      readCommand[ReviseOffer],
	opRetireSale:       readCommand[RetireSale],
	opHandOver:         readCommand[HandOver],
	opStock:            readCommand[Stock],
	opOpenSale:         readCommand[OpenSale],
	opCloseSale:        readCommand[CloseSale],
	opSetTimes:         readCommand[SetTimes],
	opSetOneTime:       readCommand[SetTimes],
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
	opTick:             readCommand[Tick],
	opTickUntil:        readCommand[Tick],
	opTickBoards:       readCommand[Tick],
	opSetClock:         readCommand[SetClock],
	opBeginRestore:     readCommand[BeginRestore],
	opAddRestoreChunk:  readCommand[AddRestoreChunk],
	opFinishRestore:    readCommand[FinishRestore],
	opCancelRestore:    readCommand[CancelRestore],
	opSetReceiptSecret: readCommand[SetReceiptSecret],
}
