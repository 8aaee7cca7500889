package orders

// DecodeCommand decodes the output of Encode, and nothing else: a command that it accepts
// encodes to the same bytes. It does not call Check. The error is ErrCommand, which reveals nothing of the
// content.
func DecodeCommand(data []byte) (Command, error) {
	if len(data) == 0 || len(data) > MaxCommand && (data[0] != opAddRestoreChunk || len(data) > MaxRestoreCommand) {
		return nil, ErrCommand
	}
	r := &decoder{data: data[1:]}
	c := readCommand(r, data[0])
	if c == nil || !r.done() {
		return nil, ErrCommand
	}
	return c, nil
}

// readFields reads a command's fields.
func readFields[C any, P interface {
	*C
	codeFields(fieldCodec)
}](d *decoder) C {
	var c C
	P(&c).codeFields(fieldCodec{from: d})
	return c
}

// readCommand returns nil for an unknown type.
func readCommand(d *decoder, op byte) Command {
	switch op {
	case opPlaceOrder:
		return readFields[PlaceOrder](d)
	case opCancel:
		return readFields[Cancel](d)
	case opOffer:
		return readFields[Offer](d)
	case opOfferInviting:
		return Offer(readFields[invitingOffer](d))
	case opReviseOffer:
		return readFields[ReviseOffer](d)
	case opRetireSale:
		return readFields[RetireSale](d)
	case opHandOver:
		return readFields[HandOver](d)
	case opStock:
		return readFields[Stock](d)
	case opOpenSale:
		return readFields[OpenSale](d)
	case opCloseSale:
		return readFields[CloseSale](d)
	case opSetTimes:
		return readFields[SetTimes](d)
	case opSetOneTime:
		return SetTimes(readFields[setOneTime](d))
	case opAnnounce:
		return readFields[Announce](d)
	case opInvite:
		return readFields[Invite](d)
	case opMakeDraw:
		return readFields[MakeDraw](d)
	case opBeginFulfilment:
		return readFields[BeginFulfilment](d)
	case opFinishFulfilment:
		return readFields[FinishFulfilment](d)
	case opMarkSent:
		return readFields[MarkSent](d)
	case opReturnOrder:
		return readFields[ReturnOrder](d)
	case opFinishWebhook:
		return readFields[FinishWebhook](d)
	case opFinishMail:
		return readFields[FinishMail](d)
	case opErase:
		return readFields[Erase](d)
	case opTick:
		return Tick{}
	case opTickUntil:
		return readFields[Tick](d)
	case opSetClock:
		return readFields[SetClock](d)
	case opBeginRestore:
		return readFields[BeginRestore](d)
	case opAddRestoreChunk:
		return readFields[AddRestoreChunk](d)
	case opFinishRestore:
		return readFields[FinishRestore](d)
	case opCancelRestore:
		return readFields[CancelRestore](d)
	}
	return nil
}
