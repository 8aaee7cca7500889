package orders

import (
	"encoding/binary"
	"math"
	"reflect"
	"time"

	"bramble/node/orders/draw"
)

// The binary encoding of commands, answers and stored records: numbers are varints (zigzag if
// they can be negative), text and bytes are prefixed with their length, times are Unix
// milliseconds with 0 for none. Every value has exactly one encoding: the decoder refuses a
// longer varint, a bool other than 0 and 1, and bytes left over.

// encoder appends to a slice.
type encoder struct{ data []byte }

func (e *encoder) byte(v byte)   { e.data = append(e.data, v) }
func (e *encoder) uint(v uint64) { e.data = binary.AppendUvarint(e.data, v) }
func (e *encoder) int(v int64)   { e.data = binary.AppendVarint(e.data, v) }

func (e *encoder) count(v int) { e.int(int64(v)) }

func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

func (e *encoder) text(v string) {
	e.uint(uint64(len(v)))
	e.data = append(e.data, v...)
}

func (e *encoder) uint64(v uint64) { e.data = binary.BigEndian.AppendUint64(e.data, v) }

func (e *encoder) bytes32(v [32]byte) { e.data = append(e.data, v[:]...) }

func (e *encoder) time(t time.Time) { e.int(toMillis(t)) }

func (e *encoder) duration(d time.Duration) { e.int(d.Milliseconds()) }

// toMillis returns a time as it is stored: Unix milliseconds, 0 for the zero time.
func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// zeroMillis is the zero time in Unix milliseconds, as which it is never stored.
const zeroMillis = -62_135_596_800_000

// fromMillis returns the time that toMillis stored, in UTC.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// decoder decodes the output of an encoder. After the first mistake every further read returns
// zero; so a caller reads all fields and then checks done once.
type decoder struct {
	data []byte
	bad  bool
	// skipsTexts reads each text as an empty one, for a caller that needs the other fields only.
	skipsTexts bool
}

func (d *decoder) fail() { d.bad, d.data = true, nil }

// done reports whether everything was read and well-formed.
func (d *decoder) done() bool { return !d.bad && len(d.data) == 0 }

func (d *decoder) byte() byte {
	if len(d.data) == 0 {
		d.fail()
		return 0
	}
	v := d.data[0]
	d.data = d.data[1:]
	return v
}

func (d *decoder) uint() uint64 {
	if len(d.data) > 0 && d.data[0] < 0x80 { // most numbers
		v := uint64(d.data[0])
		d.data = d.data[1:]
		return v
	}
	v, n := readUvarint(d.data)
	// A last byte of 0 after others is a longer encoding of the same number.
	if n <= 0 || (n > 1 && d.data[n-1] == 0) {
		d.fail()
		return 0
	}
	d.data = d.data[n:]
	return v
}

// readUvarint is binary.Uvarint, which needs some twenty instructions for each byte on a 32-bit
// processor, with a short way for the first 28 bits.
func readUvarint(data []byte) (v uint64, n int) {
	var low uint32
	for i, b := range data[:min(4, len(data))] {
		low |= uint32(b&0x7f) << (7 * i)
		if b < 0x80 {
			return uint64(low), i + 1
		}
	}
	high, n := binary.Uvarint(data[min(4, len(data)):])
	if n <= 0 || n > 6 || high >= 1<<36 {
		return 0, 0
	}
	return high<<28 | uint64(low), 4 + n
}

func (d *decoder) int() int64 {
	u := d.uint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

// count reads an int that fits 32 bits: the size of int on the boards.
func (d *decoder) count() int {
	v := d.int()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail()
		return 0
	}
	return int(v)
}

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

func (d *decoder) text() string {
	v := d.textBytes()
	if d.skipsTexts {
		return ""
	}
	return string(v)
}

// textBytes reads a text without a copy.
func (d *decoder) textBytes() []byte {
	return d.take(int(min(d.uint(), math.MaxInt32)))
}

func (d *decoder) bytes32() (v [32]byte) {
	copy(v[:], d.take(len(v)))
	return v
}

func (d *decoder) uint64() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// take takes n bytes without a copy; nil if there are fewer.
func (d *decoder) take(n int) []byte {
	if n > len(d.data) {
		d.fail()
		return nil
	}
	v := d.data[:n]
	d.data = d.data[n:]
	return v
}

func (d *decoder) time() time.Time {
	ms := d.int()
	if ms == zeroMillis {
		d.fail()
	}
	return fromMillis(ms)
}

// maxMillis bounds a stored duration: about 30 years.
const maxMillis = 1_000_000_000_000

func (d *decoder) duration() time.Duration {
	ms := d.int()
	if ms < -maxMillis || ms > maxMillis {
		d.fail()
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// fieldCodec writes the fields of a record, or reads them, so that one list of fields has the order
// for both. The type of a field decides its encoding.
type fieldCodec struct {
	to   *encoder
	from *decoder // nil: it writes
	form byte     // the record's first byte: a command's type, or the version of a stored record
}

// codeAll writes or reads the fields that are pointed to.
func (c fieldCodec) codeAll(fields ...any) {
	for _, field := range fields {
		c.codeField(field)
	}
}

func (c fieldCodec) codeField(field any) {
	switch v := field.(type) {
	case *string:
		codeText(c, v)
	case *[]byte:
		codeText(c, v)
	case *draw.Kind:
		codeText(c, v)
	case *int64:
		codeValue(c, v, (*encoder).int, (*decoder).int)
	case *int:
		codeValue(c, v, (*encoder).count, (*decoder).count)
	case *bool:
		codeValue(c, v, (*encoder).bool, (*decoder).bool)
	case *time.Time:
		codeValue(c, v, (*encoder).time, (*decoder).time)
	case *time.Duration:
		codeValue(c, v, (*encoder).duration, (*decoder).duration)
	case *[32]byte:
		codeValue(c, v, (*encoder).bytes32, (*decoder).bytes32)
	case *uint64:
		codeUint(c, v, math.MaxUint64)
	case *uint16:
		codeUint(c, v, math.MaxUint16)
	case *ID:
		codeUint(c, v, uint64(MaxID))
	case *Revised:
		codeUint(c, v, uint64(reviseEnd-1))
	case *Kind:
		codeByte(c, v)
	case *Mode:
		codeByte(c, v)
	case *OrderState:
		codeByte(c, v)
	case *SaleState:
		codeByte(c, v)
	case *JobKind:
		codeByte(c, v)
	case *Outcome:
		codeByte(c, v)
	case *drawStage:
		codeByte(c, v)
	case *sweepAim:
		codeByte(c, v)
	case *Operation:
		c.codeAll(&v.Operator, &v.OpID)
	case *Person:
		c.codeAll(&v.Name, &v.Email, &v.Line1, &v.Line2, &v.City, &v.Postcode, &v.Country)
	case *draw.Public:
		c.codeAll(&v.Kind, &v.Text)
	case *Country:
		c.codeAll(&v.Code, &v.Shipping, &v.Tax)
	case *[]Country:
		codeList(c, v, MaxCountries)
	case *[][32]byte:
		codeList(c, v, MaxReceiptKeys)
	default:
		// Not %T, with which every field, and so every record, would be allocated on the heap.
		panic("orders: a field of type " + reflect.TypeOf(field).String() + " has no encoding")
	}
}

// require makes what is read malformed unless ok.
func (c fieldCodec) require(ok bool) {
	if c.from != nil && !ok {
		c.from.fail()
	}
}

func codeValue[T any](c fieldCodec, v *T, write func(*encoder, T), read func(*decoder) T) {
	if c.from == nil {
		write(c.to, *v)
	} else {
		*v = read(c.from)
	}
}

func codeText[T ~string | ~[]byte](c fieldCodec, v *T) {
	if c.from == nil {
		c.to.text(string(*v))
	} else {
		*v = T(c.from.text())
	}
}

func codeByte[T ~uint8](c fieldCodec, v *T) {
	if c.from == nil {
		c.to.byte(byte(*v))
	} else {
		*v = T(c.from.byte())
	}
}

func codeUint[T ~uint16 | ~uint32 | ~uint64](c fieldCodec, v *T, most uint64) {
	if c.from == nil {
		c.to.uint(uint64(*v))
		return
	}
	n := c.from.uint()
	c.require(n <= most)
	*v = T(n)
}

// codeList writes or reads a list of at most the given length; it reads an empty one as nil.
func codeList[T any](c fieldCodec, list *[]T, most uint64) {
	n := uint64(len(*list))
	codeUint(c, &n, most)
	if c.from != nil {
		*list = nil
		if n > 0 && !c.from.bad {
			*list = make([]T, n)
		}
	}
	for i := range *list {
		c.codeField(&(*list)[i])
	}
}
