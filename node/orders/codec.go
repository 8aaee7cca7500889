package orders

import (
	"encoding/binary"
	"math"
	"time"
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

func (e *encoder) time(t time.Time) { e.int(toMillis(t)) }

func (e *encoder) duration(d time.Duration) { e.int(d.Milliseconds()) }

// toMillis returns a time as it is stored: Unix milliseconds, 0 for the zero time.
func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

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
	v, n := binary.Uvarint(d.data)
	// A last byte of 0 after others is a longer encoding of the same number.
	if n <= 0 || (n > 1 && d.data[n-1] == 0) {
		d.fail()
		return 0
	}
	d.data = d.data[n:]
	return v
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
	return string(d.textBytes())
}

// textBytes reads a text without a copy.
func (d *decoder) textBytes() []byte {
	n := d.uint()
	if n > uint64(len(d.data)) {
		d.fail()
		return nil
	}
	v := d.data[:n]
	d.data = d.data[n:]
	return v
}

func (d *decoder) bytes32() (v [32]byte) {
	if len(d.data) < len(v) {
		d.fail()
		return v
	}
	copy(v[:], d.data)
	d.data = d.data[len(v):]
	return v
}

func (d *decoder) time() time.Time {
	ms := d.int()
	t := fromMillis(ms)
	if toMillis(t) != ms { // the milliseconds of the zero time
		d.fail()
	}
	return t
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

// listLen reads the length of a list whose elements take at least one byte each.
func (d *decoder) listLen() int {
	n := d.uint()
	if n > uint64(len(d.data)) {
		d.fail()
		return 0
	}
	return int(n)
}
