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

func (w *encoder) byte(v byte)   { w.data = append(w.data, v) }
func (w *encoder) uint(v uint64) { w.data = binary.AppendUvarint(w.data, v) }
func (w *encoder) int(v int64)   { w.data = binary.AppendVarint(w.data, v) }

func (w *encoder) bool(v bool) {
	if v {
		w.byte(1)
	} else {
		w.byte(0)
	}
}

func (w *encoder) text(v string) {
	w.uint(uint64(len(v)))
	w.data = append(w.data, v...)
}

func (w *encoder) time(t time.Time) { w.int(toMillis(t)) }

func (w *encoder) duration(d time.Duration) { w.int(d.Milliseconds()) }

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

// decoder reads what an encoder wrote. After the first mistake every further read returns
// zero; so a caller reads all fields and then checks done once.
type decoder struct {
	data []byte
	bad  bool
}

func (r *decoder) fail() { r.bad, r.data = true, nil }

// done reports whether everything was read and well-formed.
func (r *decoder) done() bool { return !r.bad && len(r.data) == 0 }

func (r *decoder) byte() byte {
	if len(r.data) == 0 {
		r.fail()
		return 0
	}
	v := r.data[0]
	r.data = r.data[1:]
	return v
}

func (r *decoder) uint() uint64 {
	v, n := binary.Uvarint(r.data)
	// A last byte of 0 after others is a longer encoding of the same number.
	if n <= 0 || (n > 1 && r.data[n-1] == 0) {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *decoder) int() int64 {
	u := r.uint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

// count reads an int that fits 32 bits: the size of int on the boards.
func (r *decoder) count() int {
	v := r.int()
	if v < math.MinInt32 || v > math.MaxInt32 {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *decoder) bool() bool {
	v := r.byte()
	if v > 1 {
		r.fail()
	}
	return v == 1
}

func (r *decoder) text() string {
	n := r.uint()
	if n > uint64(len(r.data)) {
		r.fail()
		return ""
	}
	v := string(r.data[:n])
	r.data = r.data[n:]
	return v
}

func (r *decoder) bytes32() (v [32]byte) {
	if len(r.data) < len(v) {
		r.fail()
		return v
	}
	copy(v[:], r.data)
	r.data = r.data[len(v):]
	return v
}

func (r *decoder) time() time.Time {
	ms := r.int()
	t := fromMillis(ms)
	if toMillis(t) != ms { // the milliseconds of the zero time
		r.fail()
	}
	return t
}

// maxMillis bounds a stored duration: about 30 years.
const maxMillis = 1_000_000_000_000

func (r *decoder) duration() time.Duration {
	ms := r.int()
	if ms < -maxMillis || ms > maxMillis {
		r.fail()
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// listLen reads the length of a list whose elements take at least one byte each.
func (r *decoder) listLen() int {
	n := r.uint()
	if n > uint64(len(r.data)) {
		r.fail()
		return 0
	}
	return int(n)
}
