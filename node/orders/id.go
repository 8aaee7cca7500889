package orders

import (
	"errors"
	"fmt"
	"strings"
)

// ID is an order's reference: 50 random bits, never 0, drawn by the board that receives the
// form. Its text form is ten symbols of Crockford's base 32 and one check symbol, grouped for
// reading aloud: "K7QM-2XD9-5VB". IDs sort alike as text and as numbers.
type ID uint64

// MaxID is the largest ID.
const MaxID ID = 1<<50 - 1

// ErrID: the text is not a reference, or was mistyped.
var ErrID = errors.New("not a reference; one has eleven letters and digits, such as K7QM-2XD9-5VB")

// symbols are Crockford's, without I, L, O and U, sorted by byte.
const symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// idDigits is the number of symbols that carry bits; a check symbol follows.
const idDigits = 10

// Valid reports whether an order can have the ID.
func (id ID) Valid() bool { return id > 0 && id <= MaxID }

func (id ID) String() string {
	var text [idDigits + 3]byte
	at := 0
	for i := range idDigits + 1 {
		if i == 4 || i == 8 {
			text[at] = '-'
			at++
		}
		text[at] = symbols[id.digitAt(i)]
		at++
	}
	return string(text[:])
}

// digitAt returns the value of symbol i, from 0; symbol idDigits is the check symbol.
func (id ID) digitAt(i int) byte {
	if i == idDigits {
		return id.checkDigit()
	}
	return byte(id>>(5*(idDigits-1-i))) & 31
}

// checkDigit returns the value of the check symbol: a polynomial over the field of 32 elements
// (x^5 = x^2 + 1), with the symbols as coefficients, evaluated at x. Unlike a sum modulo 32
// it detects any wrong symbol and any two swapped symbols.
func (id ID) checkDigit() byte {
	sum := byte(0)
	for i := range idDigits {
		sum = (sum ^ id.digitAt(i)) << 1
		if sum&32 != 0 {
			sum ^= 0b100101
		}
	}
	return sum
}

// ParseID parses a reference as people type it: upper or lower case, with dashes, blanks or
// nothing between the symbols, O for 0, and I or L for 1. The error is ErrID.
func ParseID(text string) (ID, error) {
	if len(text) > 64 {
		return 0, ErrID
	}
	var id ID
	n := 0
	var last byte
	for i := range len(text) {
		c := text[i]
		if c == '-' || c == ' ' || c == '\t' {
			continue
		}
		v, ok := symbolValue(c)
		if !ok || n > idDigits {
			return 0, ErrID
		}
		if n < idDigits {
			id = id<<5 | ID(v)
		}
		last = v
		n++
	}
	if n != idDigits+1 || !id.Valid() {
		return 0, ErrID
	}
	if last != id.checkDigit() {
		return 0, fmt.Errorf("%w; a letter or digit is wrong", ErrID)
	}
	return id, nil
}

func symbolValue(c byte) (byte, bool) {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	switch c {
	case 'O':
		c = '0'
	case 'I', 'L':
		c = '1'
	}
	v := strings.IndexByte(symbols, c)
	return byte(v), v >= 0
}
