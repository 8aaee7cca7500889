package http1

import (
	"math/bits"
	"unsafe"
)

// Classes of bytes, a bit each.
const (
	inToken  = 1 << iota // may stand in a field's name (RFC 9110 §5.6.2)
	inTarget             // may stand in a path or query and means itself there (RFC 3986)
	inHost               // may stand in a Host field
	isHex

	// Letters and digits may stand anywhere.
	inAll    = inToken | inTarget | inHost
	hexInAll = inAll | isHex
)

// byteClasses holds the classes of each byte.
var byteClasses = [256]uint8{
	'0': hexInAll, '1': hexInAll, '2': hexInAll, '3': hexInAll, '4': hexInAll, '5': hexInAll, '6': hexInAll, '7': hexInAll, '8': hexInAll, '9': hexInAll,
	'a': hexInAll, 'b': hexInAll, 'c': hexInAll, 'd': hexInAll, 'e': hexInAll, 'f': hexInAll,
	'g': inAll, 'h': inAll, 'i': inAll, 'j': inAll, 'k': inAll, 'l': inAll, 'm': inAll, 'n': inAll, 'o': inAll, 'p': inAll,
	'q': inAll, 'r': inAll, 's': inAll, 't': inAll, 'u': inAll, 'v': inAll, 'w': inAll, 'x': inAll, 'y': inAll, 'z': inAll,
	'A': hexInAll, 'B': hexInAll, 'C': hexInAll, 'D': hexInAll, 'E': hexInAll, 'F': hexInAll,
	'G': inAll, 'H': inAll, 'I': inAll, 'J': inAll, 'K': inAll, 'L': inAll, 'M': inAll, 'N': inAll, 'O': inAll, 'P': inAll,
	'Q': inAll, 'R': inAll, 'S': inAll, 'T': inAll, 'U': inAll, 'V': inAll, 'W': inAll, 'X': inAll, 'Y': inAll, 'Z': inAll,
	'!': inToken | inTarget, '#': inToken, '$': inToken | inTarget, '%': inToken | inTarget, '&': inToken | inTarget,
	'\'': inToken | inTarget, '(': inTarget, ')': inTarget, '*': inToken | inTarget, '+': inToken | inTarget,
	',': inTarget, '-': inToken | inTarget | inHost, '.': inToken | inTarget | inHost, '/': inTarget, ':': inTarget | inHost,
	';': inTarget, '=': inTarget, '?': inTarget, '@': inTarget, '[': inHost,
	']': inHost, '^': inToken, '_': inToken | inTarget | inHost, '`': inToken, '|': inToken,
	'~': inToken | inTarget,
}

// equalsWord reports whether value is word, which is in lower case, in any spelling.
func equalsWord(value []byte, word string) bool {
	if len(value) != len(word) {
		return false
	}
	for i, c := range value {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

const wordBytes = int(unsafe.Sizeof(uint(0)))

// skipPrintable returns the index of the first byte at or after i that is not between
// space and tilde. It reads whole words wherever they lie: most of a browser's request
// is values of fields. All of Bramble's machines are little-endian.
func skipPrintable(b []byte, i int) int {
	const (
		ones  = ^uint(0) / 0xff // a 1 in each byte
		highs = ones << 7
		least = ones * ' '
	)
	for ; i <= len(b)-wordBytes; i += wordBytes {
		w := *(*uint)(unsafe.Pointer(&b[i]))
		// A byte below space borrows; one above tilde carries into its highest bit or has it
		// set. Either may mark the bytes after it too, but none before it.
		if odd := ((w - least) | (w + ones) | w) & highs; odd != 0 {
			return i + bits.TrailingZeros(odd)/8
		}
	}
	for i < len(b) && b[i]-' ' <= '~'-' ' {
		i++
	}
	return i
}

// commonPrefix returns the number of bytes that two slices have in common at their
// start. It reads words where they lie, which an ARM1176 and its successors can, and
// x86 can.
func commonPrefix(a, b []byte) int {
	const words = 8
	n := min(len(a), len(b))
	i := 0
	for ; i <= n-words*wordBytes; i += words * wordBytes {
		p, q := (*[words]uint)(unsafe.Pointer(&a[i])), (*[words]uint)(unsafe.Pointer(&b[i]))
		if (p[0]^q[0])|(p[1]^q[1])|(p[2]^q[2])|(p[3]^q[3])|(p[4]^q[4])|(p[5]^q[5])|(p[6]^q[6])|(p[7]^q[7]) != 0 {
			break
		}
	}
	for ; i <= n-wordBytes; i += wordBytes {
		if *(*uint)(unsafe.Pointer(&a[i])) != *(*uint)(unsafe.Pointer(&b[i])) {
			break
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// hasPrefix reports whether b begins with prefix.
func hasPrefix(b, prefix []byte) bool {
	if wordBytes == 8 { // the library's comparison takes 32 bytes at a time there
		return len(b) >= len(prefix) && string(b[:len(prefix)]) == string(prefix)
	}
	return commonPrefix(b, prefix) == len(prefix)
}

// equalValue compares the values of a field; an absent field differs from an empty one.
func equalValue(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }
