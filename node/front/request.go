package front

import (
	"bytes"
	"math/bits"
	"unsafe"
)

// parseResult is what the lane makes of the bytes at the start of a buffer.
type parseResult uint8

// In this order: what stands further down outweighs what stands above.
const (
	// incomplete: the bytes may be the beginning of a request.
	incomplete parseResult = iota
	// plain: a request that Hits may answer.
	plain
	// lendable: a request that ends for net/http exactly where it ends here, and has
	// no body, but that only net/http may answer.
	lendable
	// foreign: whatever else. The connection is net/http's from here on.
	foreign
)

// maxFields bounds the fields of a request in the lane. A browser sends about
// fifteen; with a proxy in front of it twenty-five.
const maxFields = 64

// maxHostLength bounds a Host field: a name (RFC 1035 §2.3.4) and a port.
const maxHostLength = 253 + 1 + 5

// request is one request as the lane reads it.
type request struct {
	asked     PlainRequest
	lineSize  int  // bytes of the first line, with its end
	size      int  // bytes up to the empty line, that included
	isHTTP10  bool // HTTP/1.0
	close     bool // the client wants the connection to end with the reply
	keepAlive bool // the client said keep-alive
	seen      [ruleForeign + 1]bool
}

// parse reads the request at the start of b, strictly: what it calls plain or
// lend is read in the same way, and to the same end, by every HTTP
// implementation that there is. It copies nothing and allocates nothing.
func (r *request) parse(b []byte) parseResult {
	at, v := r.parseFirstLine(b)
	if v != plain {
		return v
	}
	return r.parseFields(b, at, &lineMatcher{})
}

// parseFirstLine reads the request line of a new request and gives the index behind it.
func (r *request) parseFirstLine(b []byte) (at int, v parseResult) {
	r.reset()
	at, v = r.parseRequestLine(b)
	r.lineSize = at
	return at, v
}

// headerField is one line of a header: where things are in it, and what they mean.
type headerField struct {
	size     int // of the line, its CRLF included
	from, to int // of the value, without the blanks around it
	rule     fieldRule
}

// parseFields reads the fields from b[at:] on, to the empty line; t knows some of them.
func (r *request) parseFields(b []byte, at int, t *lineMatcher) (v parseResult) {
	v = plain
	for fields := 0; ; fields++ {
		if t.header != nil {
			lines, next, got := t.matchLines(r, b, at)
			if v = max(v, got); v == foreign {
				return foreign
			}
			fields, at = fields+lines, next
		}
		switch end := b[at:]; {
		case len(end) == 0, len(end) == 1 && end[0] == '\r':
			return incomplete
		case end[0] != '\r':
		case end[1] != '\n':
			return foreign
		default:
			r.size = at + 2
			if v = max(v, t.applyRest(r, b)); v == foreign {
				return foreign
			}
			return r.finishRequest(v, fields)
		}
		f, got := parseField(b[at:])
		if got != plain {
			return got
		}
		t.linesRead++
		if f.rule != ruleIgnore {
			if v = max(v, t.applyOwnLine(r, b, f.rule, b[at+f.from:at+f.to:at+f.to])); v == foreign {
				return foreign
			}
		}
		at += f.size
	}
}

// parseField reads the line at the start of b.
func parseField(b []byte) (f headerField, v parseResult) {
	rule, width := commonFieldRule(b)
	if width == 0 {
		if rule, width, v = parseFieldName(b); v != plain {
			return f, v
		}
	}
	end, v := findLineEnd(b, width)
	if v != plain {
		return f, v
	}
	f = headerField{size: end + len("\r\n"), from: width, to: end, rule: rule}
	for f.from < end && (b[f.from] == ' ' || b[f.from] == '\t') {
		f.from++
	}
	for f.to > f.from && (b[f.to-1] == ' ' || b[f.to-1] == '\t') {
		f.to--
	}
	return f, plain
}

// finishRequest judges a request that has been read to its end.
func (r *request) finishRequest(v parseResult, fields int) parseResult {
	switch {
	case r.asked.Host == nil:
		return foreign // HTTP/1.1 forbids it, and for HTTP/1.0 it is rare
	case fields > maxFields:
		return lendable
	}
	r.applyVersion()
	return v
}

// applyVersion takes in what HTTP/1.0 says by not saying it.
func (r *request) applyVersion() {
	if r.isHTTP10 && !r.keepAlive {
		r.close = true
	}
}

// What follows the target.
const (
	version11 = " HTTP/1.1\r\n"
	version10 = " HTTP/1.0\r\n"
)

// reset forgets what the last request said, and keeps the room for a key.
func (r *request) reset() { *r = request{asked: PlainRequest{Fields: Fields{Key: r.asked.Key[:0]}}} }

// parseRequestLine reads the request line and gives the index behind it.
func (r *request) parseRequestLine(b []byte) (at int, v parseResult) {
	switch {
	case len(b) >= 4 && string(b[:4]) == "GET ":
		at = 4
	case len(b) >= 5 && string(b[:5]) == "HEAD ":
		at, r.asked.Head = 5, true
	case len(b) < 4 && string(b) == "GET "[:len(b)], len(b) < 5 && string(b) == "HEAD "[:len(b)]:
		return 0, incomplete
	default:
		return 0, foreign
	}
	start := at
	for ; ; at++ {
		if at == len(b) {
			return at, incomplete
		}
		if byteClasses[b[at]]&inTarget == 0 {
			break
		}
	}
	target := b[start:at]
	switch rest := b[at:]; {
	case len(rest) >= len(version11) && string(rest[:len(version11)]) == version11:
	case len(rest) >= len(version10) && string(rest[:len(version10)]) == version10:
		r.isHTTP10 = true
	case bytes.HasPrefix([]byte(version11), rest), bytes.HasPrefix([]byte(version10), rest):
		return at, incomplete
	default:
		return at, foreign
	}
	if len(target) == 0 || target[0] != '/' || len(target) > 1 && target[1] == '/' || !hasValidEscapes(target) {
		return at, foreign
	}
	r.asked.Target = target
	return at + len(version11), plain
}

// hasValidEscapes reports whether each percent sign begins an escape.
func hasValidEscapes(target []byte) bool {
	for {
		i := bytes.IndexByte(target, '%')
		switch {
		case i < 0:
			return true
		case len(target)-i < 3 || byteClasses[target[i+1]]&isHex == 0 || byteClasses[target[i+2]]&isHex == 0:
			return false
		}
		target = target[i+3:]
	}
}

// parseFieldName is ruleOf for whatever other name stands at the start of b.
func parseFieldName(b []byte) (r fieldRule, width int, v parseResult) {
	colon := bytes.IndexByte(b, ':')
	if colon < 0 {
		if bytes.IndexByte(b, '\n') < 0 {
			return 0, 0, incomplete
		}
		return 0, 0, foreign
	}
	r, ok := ruleOfName(b[:colon])
	if !ok {
		return 0, 0, foreign // a line without a colon, for example
	}
	return r, colon + 1, plain
}

// findLineEnd gives the index of the CRLF that ends the line whose value begins
// at b[i:]. v is plain if it is there.
func findLineEnd(b []byte, i int) (end int, v parseResult) {
	for {
		i = skipPrintable(b, i)
		if i == len(b) {
			return 0, incomplete
		}
		if c := b[i]; c == '\r' {
			break
		} else if c != '\t' && c < 0x80 {
			return 0, foreign // a control, bare LF and NUL among them
		}
		i++
	}
	switch {
	case i+1 == len(b):
		return 0, incomplete
	case b[i+1] != '\n':
		return 0, foreign
	}
	return i, plain
}

// applyField takes in a field that is not to be ignored.
func (r *request) applyField(rule fieldRule, value []byte) parseResult {
	switch rule {
	case ruleLend:
		return lendable
	case ruleForeign:
		return foreign
	}
	again := r.seen[rule]
	r.seen[rule] = true
	a := &r.asked
	switch rule {
	case ruleHost:
		if again || !isPlainHost(value) {
			return foreign
		}
		a.Host = value
	case ruleConnection:
		switch {
		case again:
			return foreign
		case equalsWord(value, "close"):
			r.close = true
		case equalsWord(value, "keep-alive"):
			r.keepAlive = true
		default:
			return foreign
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
		return lendable
	}
	return plain
}

// longestRuleName is the length of the longest name that has a rule of its own.
const longestRuleName = len("upgrade-insecure-requests")

// ruleOfName is the rule for a name in whatever spelling. ok is false for
// what is no name.
func ruleOfName(name []byte) (r fieldRule, ok bool) {
	if len(name) == 0 {
		return 0, false
	}
	for _, c := range name {
		if byteClasses[c]&inToken == 0 {
			return 0, false
		}
	}
	// Longer ones are told by how they begin.
	var room [longestRuleName]byte
	lower := room[:copy(room[:], name)]
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	if len(name) > longestRuleName && string(lower[:4]) != "sec-" {
		return ruleLend, true
	}
	return ruleOfLowerName(string(lower)), true
}

// isPlainHost reports whether a Host field is a name or an address and perhaps a
// port, as far as its letters go; which site it means is for Hits to say.
func isPlainHost(value []byte) bool {
	if len(value) == 0 || len(value) > maxHostLength {
		return false
	}
	for _, c := range value {
		if byteClasses[c]&inHost == 0 {
			return false
		}
	}
	return true
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
