package orders

import "encoding/binary"

// The keys of the buckets; see book.go.

func uint16Key(n uint16) []byte { return binary.BigEndian.AppendUint16(make([]byte, 0, 2), n) }
func uint64Key(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), n) }
func uint32Value(n int) []byte  { return binary.BigEndian.AppendUint32(make([]byte, 0, 4), uint32(n)) }

// saleKey is a sale's number and another number.
func saleKey(sale uint16, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 10), byte(sale>>8), byte(sale)), n)
}

func blockKey(sale uint16, block uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 6), byte(sale>>8), byte(sale)), block)
}

// The parts of a person's orders in a sale.
const (
	livePart byte = iota
	deadPart
	unconfirmedPart // by mailbox: see mailboxText
)

// personPrefix is the prefix of the keys of one part of a person's orders in a sale.
func personPrefix(email fingerprint, sale uint16, part byte) []byte {
	k := append(make([]byte, 0, 43), email[:]...)
	return append(k, byte(sale>>8), byte(sale), part)
}

func personKey(o *storedOrder) []byte {
	part := deadPart
	switch {
	case o.isLive():
		part = livePart
	case o.State == StateUnconfirmed:
		part = unconfirmedPart
	}
	k := personPrefix(o.fingerprints.email, o.sale, part)
	if part == unconfirmedPart {
		k = append(k, o.fingerprints.mailbox[:]...)
	}
	return binary.BigEndian.AppendUint64(k, o.Number)
}

// personValue has 0 units for a dead order.
func personValue(o *storedOrder) []byte {
	v := append(make([]byte, 0, 21), byte(o.Kind))
	units := 0
	if o.isLive() {
		units = o.Quantity
	}
	v = binary.BigEndian.AppendUint32(v, uint32(units))
	return append(v, o.fingerprints.person[:]...)
}

func addressPrefix(address fingerprint, sale uint16) []byte {
	return append(append(make([]byte, 0, 26), byte(sale>>8), byte(sale)), address[:]...)
}

func addressKey(o *storedOrder) []byte {
	return binary.BigEndian.AppendUint64(addressPrefix(o.fingerprints.address, o.sale), o.Number)
}

func ticketKey(sale uint16, ticket [32]byte, id ID) []byte {
	k := append(append(make([]byte, 0, 42), byte(sale>>8), byte(sale)), ticket[:]...)
	return binary.BigEndian.AppendUint64(k, uint64(id))
}

func timerKey(at int64, number uint64) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(at))
	return binary.BigEndian.AppendUint64(k, number)
}

func outboxKey(q Queue, since int64, number uint64) []byte {
	k := append(make([]byte, 0, 17), byte(q))
	k = binary.BigEndian.AppendUint64(k, uint64(since))
	return binary.BigEndian.AppendUint64(k, number)
}

func entryValue(number uint64, units int, won bool) []byte {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 13), number)
	v = binary.BigEndian.AppendUint32(v, uint32(units))
	if won {
		return append(v, 1)
	}
	return append(v, 0)
}
