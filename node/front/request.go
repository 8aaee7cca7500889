package front

import (
	"bytes"
	"math/bits"
	"unsafe"
)

// verdict is what the lane makes of the bytes at the start of a buffer.
type verdict uint8

// In this order: what stands further down outweighs what stands above.
const (
	// more: the bytes may be the beginning of a request.
	more verdict = iota
	// plain: a request that Hits may answer.
	plain
	// lend: a request that ends for net/http exactly where it ends here, and has
	// no body, but that only net/http may answer.
	lend
	// give: whatever else. The connection is net/http's from here on.
	give
)

// maxFields bounds the fields of a request in the lane. A browser sends about
// fifteen; with a proxy in front of it twenty-five.
const maxFields = 64

// maxHostLength bounds a Host field: a name (RFC 1035 §2.3.4) and a port.
const maxHostLength = 253 + 1 + 5

// request is one request as the lane reads it.
type request struct {
	asked Asked
	line  int  // bytes of the first line, with its end
	size  int  // bytes up to the empty line, that included
	old   bool // HTTP/1.0
	close bool // the client wants the connection to end with the reply
	keep  bool // the client said keep-alive
	once  [ruleGive + 1]bool
}

// parse reads the request at the start of b, strictly: what it calls plain or
// lend is read in the same way, and to the same end, by every HTTP
// implementation that there is. It copies nothing and allocates nothing.
func (r *request) parse(b []byte) verdict {
	at, v := r.begin(b)
	if v != plain {
		return v
	}
	return r.fields(b, at, &trail{})
}

// begin reads the request line of a new request and gives the index behind it.
func (r *request) begin(b []byte) (at int, v verdict) {
	r.reset()
	at, v = r.begins(b)
	r.line = at
	return at, v
}

// field is one line of a header: where things are in it, and what they mean.
type field struct {
	size     int // of the line, its CRLF included
	from, to int // of the value, without the blanks around it
	rule     rule
}

// fields reads the fields from b[at:] on, to the empty line; t knows some of them.
func (r *request) fields(b []byte, at int, t *trail) (v verdict) {
	v = plain
	for fields := 0; ; fields++ {
		if t.block != nil {
			lines, next, got := t.follow(r, b, at)
			if v = max(v, got); v == give {
				return give
			}
			fields, at = fields+lines, next
		}
		switch end := b[at:]; {
		case len(end) == 0, len(end) == 1 && end[0] == '\r':
			return more
		case end[0] != '\r':
		case end[1] != '\n':
			return give
		default:
			r.size = at + 2
			if v = max(v, t.finish(r, b)); v == give {
				return give
			}
			return r.whole(v, fields)
		}
		f, got := readField(b[at:])
		if got != plain {
			return got
		}
		t.read++
		if f.rule != ruleIgnore {
			if v = max(v, t.takeOwn(r, b, f.rule, b[at+f.from:at+f.to:at+f.to])); v == give {
				return give
			}
		}
		at += f.size
	}
}

// readField reads the line at the start of b.
func readField(b []byte) (f field, v verdict) {
	rule, width := ruleOf(b)
	if width == 0 {
		if rule, width, v = spelledRule(b); v != plain {
			return f, v
		}
	}
	end, v := endOfValue(b, width)
	if v != plain {
		return f, v
	}
	f = field{size: end + len("\r\n"), from: width, to: end, rule: rule}
	for f.from < end && (b[f.from] == ' ' || b[f.from] == '\t') {
		f.from++
	}
	for f.to > f.from && (b[f.to-1] == ' ' || b[f.to-1] == '\t') {
		f.to--
	}
	return f, plain
}

// whole judges a request that has been read to its end.
func (r *request) whole(v verdict, fields int) verdict {
	switch {
	case r.asked.Host == nil:
		return give // HTTP/1.1 forbids it, and for HTTP/1.0 it is rare
	case fields > maxFields:
		return lend
	}
	r.version()
	return v
}

// version takes in what HTTP/1.0 says by not saying it.
func (r *request) version() {
	if r.old && !r.keep {
		r.close = true
	}
}

// What follows the target.
const (
	version11 = " HTTP/1.1\r\n"
	version10 = " HTTP/1.0\r\n"
)

// reset forgets what the last request said, and keeps the room for a key.
func (r *request) reset() { *r = request{asked: Asked{Fields: Fields{Key: r.asked.Key[:0]}}} }

// begins reads the request line and gives the index behind it.
func (r *request) begins(b []byte) (at int, v verdict) {
	switch {
	case len(b) >= 4 && string(b[:4]) == "GET ":
		at = 4
	case len(b) >= 5 && string(b[:5]) == "HEAD ":
		at, r.asked.Head = 5, true
	case len(b) < 4 && string(b) == "GET "[:len(b)], len(b) < 5 && string(b) == "HEAD "[:len(b)]:
		return 0, more
	default:
		return 0, give
	}
	start := at
	for ; ; at++ {
		if at == len(b) {
			return at, more
		}
		if classes[b[at]]&inTarget == 0 {
			break
		}
	}
	target := b[start:at]
	switch rest := b[at:]; {
	case len(rest) >= len(version11) && string(rest[:len(version11)]) == version11:
	case len(rest) >= len(version10) && string(rest[:len(version10)]) == version10:
		r.old = true
	case bytes.HasPrefix([]byte(version11), rest), bytes.HasPrefix([]byte(version10), rest):
		return at, more
	default:
		return at, give
	}
	if len(target) == 0 || target[0] != '/' || len(target) > 1 && target[1] == '/' || !escapesWell(target) {
		return at, give
	}
	r.asked.Target = target
	return at + len(version11), plain
}

// escapesWell reports whether each percent sign begins an escape.
func escapesWell(target []byte) bool {
	for {
		i := bytes.IndexByte(target, '%')
		switch {
		case i < 0:
			return true
		case len(target)-i < 3 || classes[target[i+1]]&isHex == 0 || classes[target[i+2]]&isHex == 0:
			return false
		}
		target = target[i+3:]
	}
}

// spelledRule is ruleOf for whatever other name stands at the start of b.
func spelledRule(b []byte) (r rule, width int, v verdict) {
	colon := bytes.IndexByte(b, ':')
	if colon < 0 {
		if bytes.IndexByte(b, '\n') < 0 {
			return 0, 0, more
		}
		return 0, 0, give
	}
	r, ok := ruleOfSpelling(b[:colon])
	if !ok {
		return 0, 0, give // a line without a colon, for example
	}
	return r, colon + 1, plain
}

// endOfValue gives the index of the CRLF that ends the line whose value begins
// at b[i:]. v is plain if it is there.
func endOfValue(b []byte, i int) (end int, v verdict) {
	for {
		i = skipPrintable(b, i)
		if i == len(b) {
			return 0, more
		}
		if c := b[i]; c == '\r' {
			break
		} else if c != '\t' && c < 0x80 {
			return 0, give // a control, bare LF and NUL among them
		}
		i++
	}
	switch {
	case i+1 == len(b):
		return 0, more
	case b[i+1] != '\n':
		return 0, give
	}
	return i, plain
}

// take takes in a field that is not to be ignored.
func (r *request) take(rule rule, value []byte) verdict {
	switch rule {
	case ruleLend:
		return lend
	case ruleGive:
		return give
	}
	again := r.once[rule]
	r.once[rule] = true
	a := &r.asked
	switch rule {
	case ruleHost:
		if again || !isPlainHost(value) {
			return give
		}
		a.Host = value
	case ruleConnection:
		switch {
		case again:
			return give
		case isWord(value, "close"):
			r.close = true
		case isWord(value, "keep-alive"):
			r.keep = true
		default:
			return give
		}
	case ruleDirectives: // several say what one would
		a.Directives = true
		return plain
	case ruleEncoding:
		a.Encoding = value
	case ruleNoneMatch:
		a.NoneMatch = value
	case ruleSince:
		a.Since = value
	}
	if again {
		return lend
	}
	return plain
}

// longestKnown is the length of the longest name that has a rule of its own.
const longestKnown = len("upgrade-insecure-requests")

// ruleOfSpelling is the rule for a name in whatever spelling. ok is false for
// what is no name.
func ruleOfSpelling(name []byte) (r rule, ok bool) {
	if len(name) == 0 {
		return 0, false
	}
	for _, c := range name {
		if classes[c]&inToken == 0 {
			return 0, false
		}
	}
	// Longer ones are told by how they begin.
	var room [longestKnown]byte
	lower := room[:copy(room[:], name)]
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	if len(name) > longestKnown && string(lower[:4]) != "sec-" {
		return ruleLend, true
	}
	return ruleOfAny(string(lower)), true
}

// isPlainHost reports whether a Host field is a name or an address and perhaps a
// port, as far as its letters go; which site it means is for Hits to say.
func isPlainHost(value []byte) bool {
	if len(value) == 0 || len(value) > maxHostLength {
		return false
	}
	for _, c := range value {
		if classes[c]&inHost == 0 {
			return false
		}
	}
	return true
}

// isWord reports whether value is word, which is in lower case, in any spelling.
func isWord(value []byte, word string) bool {
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

// wordBytes is how many bytes the machine looks at in one go.
const wordBytes = int(unsafe.Sizeof(uint(0)))

// skipPrintable gives the index of the first byte at or behind i that is not
// from space to tilde. It looks at a whole word at a time, wherever it lies: most of
// a browser's request is values of fields. All of Bramble's machines have a word's
// first byte lowest.
func skipPrintable(b []byte, i int) int {
	const (
		ones  = ^uint(0) / 0xff // a 1 in each byte
		highs = ones << 7
		least = ones * ' '
	)
	for ; i <= len(b)-wordBytes; i += wordBytes {
		w := *(*uint)(unsafe.Pointer(&b[i]))
		// A byte below space borrows, one above tilde carries into its highest
		// bit or has it; either may accuse the bytes behind it too, and none before.
		if odd := ((w - least) | (w + ones) | w) & highs; odd != 0 {
			return i + bits.TrailingZeros(odd)/8
		}
	}
	for i < len(b) && b[i]-' ' <= '~'-' ' {
		i++
	}
	return i
}
