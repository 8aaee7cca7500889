// Package http1 parses HTTP/1 requests for the fast path. It works on bytes alone:
// it knows no connection, copies nothing, and allocates nothing. Everything unusual
// is left to net/http: what this package calls Plain or Lendable is read in the same
// way, and to the same end, by every HTTP implementation. HeaderCache makes it fast:
// most clients send header blocks that were seen before.
package http1

import (
	"bytes"
	"time"
)

// ParseResult says what the bytes at the start of a buffer are.
type ParseResult uint8

// The order counts: of two results for one request, the later one wins.
const (
	// Incomplete: the bytes may be the beginning of a request.
	Incomplete ParseResult = iota
	// Plain: a GET or HEAD without a body that memory may answer.
	Plain
	// Lendable: a request without a body that ends for net/http exactly where it ends
	// here, but that only net/http may answer.
	Lendable
	// Foreign: anything else. Where it ends is for net/http to decide, and so the
	// connection is net/http's from here on.
	Foreign
)

// MaxFields limits the fields of a plain request. A browser sends about fifteen, and
// twenty-five with a proxy in front of it.
const MaxFields = 64

// maxHostLength limits a Host field, in bytes: a name (RFC 1035 §2.3.4) and a port.
const maxHostLength = 253 + 1 + 5

// Request is one parsed request. Its slices lie in the parsed buffer or in a
// HeaderCache: they are valid until either changes, and must not be modified.
type Request struct {
	Host   []byte // exactly as sent, port included; never empty
	Target []byte // path and query exactly as sent; begins with exactly one "/"
	Fields
	LineSize  int  // bytes of the request line, its line end included
	Size      int  // bytes of the request up to and including the empty line
	IsHTTP10  bool // HTTP/1.0, otherwise HTTP/1.1
	Close     bool // the connection must end with the reply
	KeepAlive bool // the client sent "Connection: keep-alive"

	seen [ruleForeign + 1]bool // the rules whose field has occurred
}

// Fields are what a stored reply may depend on besides its key. The type has the fields
// of cache.HitRequest in the same order, so that *Fields converts to *cache.HitRequest
// without a copy. The caller does this for every hit, and the compiler checks that both
// types stay alike. At and Key are the caller's; the parser only keeps Key's room.
type Fields struct {
	// At is a clock reading taken after the request began to arrive: a reply that was right
	// then may be sent. 0: the clock has not been read. Reading it takes a system call on a
	// first Pi, so requests that arrived together share a reading.
	At time.Duration
	// Key is room for a key: the caller appends to it and stores the result here, so that
	// the next request allocates nothing.
	Key []byte
	// Values of fields without the blanks around them; nil if the field is absent.
	Encoding   []byte // Accept-Encoding
	NoneMatch  []byte // If-None-Match
	Since      []byte // If-Modified-Since
	Directives bool   // there is a Cache-Control or Pragma
	IsHEAD     bool   // the method is HEAD, otherwise GET
}

// parseFirstLine resets the request, parses a request line, and returns the index after
// it.
func (r *Request) parseFirstLine(b []byte) (at int, res ParseResult) {
	r.reset()
	at, res = r.parseRequestLine(b)
	r.LineSize = at
	return at, res
}

// reset clears the request, except for the room for a key.
func (r *Request) reset() { *r = Request{Fields: Fields{Key: r.Key[:0]}} }

// The ends of a request line, after the target.
const (
	version11 = " HTTP/1.1\r\n"
	version10 = " HTTP/1.0\r\n"
)

// parseRequestLine parses the request line and returns the index after it.
func (r *Request) parseRequestLine(b []byte) (at int, res ParseResult) {
	switch {
	case len(b) >= 4 && string(b[:4]) == "GET ":
		at = 4
	case len(b) >= 5 && string(b[:5]) == "HEAD ":
		at, r.IsHEAD = 5, true
	case len(b) < 4 && string(b) == "GET "[:len(b)], len(b) < 5 && string(b) == "HEAD "[:len(b)]:
		return 0, Incomplete
	default:
		return 0, Foreign
	}
	start := at
	for ; ; at++ {
		if at == len(b) {
			return at, Incomplete
		}
		if byteClasses[b[at]]&inTarget == 0 {
			break
		}
	}
	target := b[start:at]
	switch rest := b[at:]; {
	case len(rest) >= len(version11) && string(rest[:len(version11)]) == version11:
	case len(rest) >= len(version10) && string(rest[:len(version10)]) == version10:
		r.IsHTTP10 = true
	case bytes.HasPrefix([]byte(version11), rest), bytes.HasPrefix([]byte(version10), rest):
		return at, Incomplete
	default:
		return at, Foreign
	}
	if len(target) == 0 || target[0] != '/' || len(target) > 1 && target[1] == '/' || !hasValidEscapes(target) {
		return at, Foreign
	}
	r.Target = target
	return at + len(version11), Plain
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

// parseFields parses the fields from b[at:] to the empty line; m may know some of them.
func (r *Request) parseFields(b []byte, at int, m *lineMatcher) (res ParseResult) {
	res = Plain
	for fields := 0; ; fields++ {
		if m.candidate != nil {
			lines, next, got := m.matchLines(r, b, at)
			if res = max(res, got); res == Foreign {
				return Foreign
			}
			fields, at = fields+lines, next
		}
		switch end := b[at:]; {
		case len(end) == 0, len(end) == 1 && end[0] == '\r':
			return Incomplete
		case end[0] != '\r':
		case end[1] != '\n':
			return Foreign
		default:
			r.Size = at + 2
			if res = max(res, m.applyRest(r, b)); res == Foreign {
				return Foreign
			}
			return r.finish(res, fields)
		}
		f, got := parseField(b[at:])
		if got != Plain {
			return got
		}
		m.linesRead++
		if f.rule != ruleIgnore {
			if res = max(res, m.applyOwnLine(r, b, f.rule, b[at+f.from:at+f.to:at+f.to])); res == Foreign {
				return Foreign
			}
		}
		at += f.size
	}
}

// applyField applies a field that must not be ignored.
func (r *Request) applyField(rule fieldRule, value []byte) ParseResult {
	switch rule {
	case ruleLend:
		return Lendable
	case ruleForeign:
		return Foreign
	}
	repeated := r.seen[rule]
	r.seen[rule] = true
	switch rule {
	case ruleHost:
		if repeated || !isPlainHost(value) {
			return Foreign
		}
		r.Host = value
	case ruleConnection:
		switch {
		case repeated:
			return Foreign
		case equalsWord(value, "close"):
			r.Close = true
		case equalsWord(value, "keep-alive"):
			r.KeepAlive = true
		default:
			return Foreign
		}
	case ruleDirectives: // several mean the same as one
		r.Directives = true
		return Plain
	case ruleEncoding:
		r.Encoding = value
	case ruleNoneMatch:
		r.NoneMatch = value
	case ruleSince:
		r.Since = value
	}
	if repeated {
		return Lendable
	}
	return Plain
}

// finish returns the result for a request that has been parsed to its end.
func (r *Request) finish(res ParseResult, fields int) ParseResult {
	switch {
	case r.Host == nil:
		return Foreign // HTTP/1.1 forbids it, and for HTTP/1.0 it is rare
	case fields > MaxFields:
		return Lendable
	}
	r.applyVersion()
	return res
}

// applyVersion ends the connection of an HTTP/1.0 client that did not ask to keep it.
func (r *Request) applyVersion() {
	if r.IsHTTP10 && !r.KeepAlive {
		r.Close = true
	}
}
