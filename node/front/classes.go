package front

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

// byteClasses has the classes of each byte.
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
