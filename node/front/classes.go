package front

// Classes of bytes, a bit each.
const (
	inToken  = 1 << iota // may stand in a field's name (RFC 9110 §5.6.2)
	inTarget             // may stand in a path or query and means itself there (RFC 3986)
	inHost               // may stand in a Host field
	isHex

	// Letters and digits may stand anywhere.
	other = inToken | inTarget | inHost
	hexer = other | isHex
)

// classes has the classes of each byte.
var classes = [256]uint8{
	'0': hexer, '1': hexer, '2': hexer, '3': hexer, '4': hexer, '5': hexer, '6': hexer, '7': hexer, '8': hexer, '9': hexer,
	'a': hexer, 'b': hexer, 'c': hexer, 'd': hexer, 'e': hexer, 'f': hexer,
	'g': other, 'h': other, 'i': other, 'j': other, 'k': other, 'l': other, 'm': other, 'n': other, 'o': other, 'p': other,
	'q': other, 'r': other, 's': other, 't': other, 'u': other, 'v': other, 'w': other, 'x': other, 'y': other, 'z': other,
	'A': hexer, 'B': hexer, 'C': hexer, 'D': hexer, 'E': hexer, 'F': hexer,
	'G': other, 'H': other, 'I': other, 'J': other, 'K': other, 'L': other, 'M': other, 'N': other, 'O': other, 'P': other,
	'Q': other, 'R': other, 'S': other, 'T': other, 'U': other, 'V': other, 'W': other, 'X': other, 'Y': other, 'Z': other,
	'!': inToken | inTarget, '#': inToken, '$': inToken | inTarget, '%': inToken | inTarget, '&': inToken | inTarget,
	'\'': inToken | inTarget, '(': inTarget, ')': inTarget, '*': inToken | inTarget, '+': inToken | inTarget,
	',': inTarget, '-': inToken | inTarget | inHost, '.': inToken | inTarget | inHost, '/': inTarget, ':': inTarget | inHost,
	';': inTarget, '=': inTarget, '?': inTarget, '@': inTarget, '[': inHost,
	']': inHost, '^': inToken, '_': inToken | inTarget | inHost, '`': inToken, '|': inToken,
	'~': inToken | inTarget,
}
