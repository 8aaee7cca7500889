package origin

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Limits of one reply besides its body.
const (
	// maxReplyFields limits a reply's field lines: several times what any server
	// sends.
	maxReplyFields = 256
	// maxReplyHead limits all its fields together, in bytes, with trailers and
	// interim replies.
	maxReplyHead = 64 << 10
	// maxInterim limits the 1xx replies before the final one.
	maxInterim = 8
	// maxSizeLine limits the line before a chunk, in bytes.
	maxSizeLine = 256
	// maxLengthDigits and maxSizeDigits keep lengths within 63 bits.
	maxLengthDigits = 18
	maxSizeDigits   = 15
)

// scanState is the part of a reply that the next byte of a connection belongs to.
type scanState int

const (
	idle        scanState = iota // no reply is expected
	statusLine                   // the first line of a reply
	fieldLine                    // one of its fields, or the empty line behind them
	body                         // left bytes of a body of known length
	sizeLine                     // the line before a chunk
	chunk                        // left bytes of a chunk
	chunkEnd                     // the line end after it
	trailerLine                  // as fieldLine, after the last chunk
	untilClose                   // a body that ends with the connection
)

// replyScanner follows the bytes that a server sends on one connection, reply by
// reply, and accepts only what has one meaning (RFC 9112). net/http accepts
// much that two parsers understand differently.
type replyScanner struct {
	state scanState
	line  []byte // the current line, without its end
	cr    bool   // its CR has arrived
	left  int64

	// Of the current reply.
	toHEAD    bool // it answers a HEAD
	status    int
	minor     byte // of HTTP/1.x
	interim   int
	bytes     int
	fields    int
	length    int64 // -1 = unknown
	chunked   bool
	hasCoding bool     // Transfer-Encoding has arrived
	listed    []string // lines of Connection
}

// expectReply announces that a request is about to be sent. There is one at a time.
func (s *replyScanner) expectReply(method string) error {
	if s.state != idle {
		return malformedError("a reply that has not ended")
	}
	*s = replyScanner{state: statusLine, line: s.line[:0], toHEAD: method == http.MethodHead, length: -1}
	return nil
}

// malformedError returns an error that matches ErrMalformed.
func malformedError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// feed scans the next bytes and returns how many of them are good. With an error
// these are all before the first bad byte, and they never complete a head.
func (s *replyScanner) feed(b []byte) (int, error) {
	for i := 0; i < len(b); {
		switch s.state {
		case idle:
			return i, malformedError("bytes without a request")
		case untilClose:
			return len(b), nil
		case body, chunk:
			n := min(s.left, int64(len(b)-i))
			s.left -= n
			i += int(n)
			if s.left > 0 {
				continue
			}
			if s.state == chunk {
				s.state = chunkEnd
			} else {
				s.state = idle
			}
		default:
			ended, err := s.addByte(b[i])
			if err == nil && ended {
				err = s.endLine()
				s.line, s.cr = s.line[:0], false
			}
			if err != nil {
				return i, err
			}
			i++
		}
	}
	return len(b), nil
}

// addByte adds one byte to the line and reports whether it was the line's last.
func (s *replyScanner) addByte(c byte) (ended bool, err error) {
	if s.bytes++; s.state != sizeLine && s.state != chunkEnd && s.bytes > maxReplyHead {
		return false, malformedError("more than %d bytes of fields", maxReplyHead)
	}
	switch {
	case s.cr && c == '\n':
		return true, nil
	case s.cr:
		return false, malformedError("a CR that ends no line")
	case c == '\r':
		s.cr = true
		return false, nil
	case c == '\n':
		return false, malformedError("a line end without CR")
	case c < ' ' && c != '\t' || c == 0x7f:
		return false, malformedError("the control character %#02x", c)
	case s.state == sizeLine && len(s.line) == maxSizeLine, s.state == chunkEnd:
		return false, malformedError("a chunk that does not end where it should")
	}
	s.line = append(s.line, c)
	return false, nil
}

func (s *replyScanner) endLine() error {
	switch s.state {
	case statusLine:
		return s.endStatus()
	case fieldLine:
		if len(s.line) == 0 {
			return s.endHead()
		}
		return s.endField()
	case trailerLine:
		if len(s.line) == 0 {
			s.state = idle
			return nil
		}
		_, _, err := s.parseField()
		return err
	case sizeLine:
		s.bytes -= min(s.bytes, len(s.line)+2) // a long body has any number of these lines
		return s.endSize()
	default: // chunkEnd
		s.bytes -= min(s.bytes, 2)
		s.state = sizeLine
		return nil
	}
}

// endStatus parses "HTTP/1.1 200 OK" (RFC 9112 §4).
func (s *replyScanner) endStatus() error {
	l := s.line
	if len(l) < 12 || string(l[:7]) != "HTTP/1." || !isDigit(l[7]) || l[8] != ' ' ||
		!isDigit(l[9]) || !isDigit(l[10]) || !isDigit(l[11]) || len(l) > 12 && l[12] != ' ' {
		return malformedError("a first line that is not HTTP/1: %.40q", l)
	}
	s.minor = l[7]
	s.status = int(l[9]-'0')*100 + int(l[10]-'0')*10 + int(l[11]-'0')
	if s.status < 100 || s.status == http.StatusSwitchingProtocols {
		return malformedError("the unexpected status %d", s.status)
	}
	s.length, s.chunked, s.hasCoding, s.listed = -1, false, false, nil
	s.state = fieldLine
	return nil
}

// parseField splits a field line (RFC 9112 §5).
func (s *replyScanner) parseField() (name string, value []byte, err error) {
	if s.fields++; s.fields > maxReplyFields {
		return "", nil, malformedError("more than %d fields", maxReplyFields)
	}
	if s.line[0] == ' ' || s.line[0] == '\t' {
		return "", nil, malformedError("a folded line")
	}
	before, value, found := bytes.Cut(s.line, []byte{':'})
	if name = string(before); !found || !httpguts.ValidHeaderFieldName(name) {
		return "", nil, malformedError("a line that is not a field: %.40q", s.line)
	}
	return name, bytes.Trim(value, " \t"), nil
}

// endField handles a field that matters for framing.
func (s *replyScanner) endField() error {
	name, value, err := s.parseField()
	switch {
	case err != nil:
		return err
	case strings.EqualFold(name, "Content-Length"):
		if s.length >= 0 {
			return malformedError("two Content-Lengths")
		}
		length, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || len(value) > maxLengthDigits {
			return malformedError("Content-Length %.40q", value)
		}
		s.length = int64(length)
	case strings.EqualFold(name, "Connection"):
		s.listed = append(s.listed, string(value))
	case strings.EqualFold(name, "Transfer-Encoding"):
		if s.hasCoding || !strings.EqualFold(string(value), "chunked") {
			return malformedError("a Transfer-Encoding other than chunked")
		}
		s.hasCoding, s.chunked = true, true
	}
	if s.chunked && (s.length >= 0 || s.minor == '0') {
		return malformedError("Transfer-Encoding with Content-Length, or in HTTP/1.0")
	}
	return nil
}

// endHead determines how the body ends (RFC 9112 §6.3).
func (s *replyScanner) endHead() error {
	switch {
	case s.status < 200:
		if s.interim++; s.interim > maxInterim {
			return malformedError("more than %d interim replies", maxInterim)
		}
		s.state = statusLine
	case s.toHEAD, s.status == http.StatusNoContent, s.status == http.StatusNotModified:
		s.state = idle
	case s.chunked:
		s.state = sizeLine
	case s.length > 0:
		s.state, s.left = body, s.length
	case s.length == 0:
		s.state = idle
	default:
		s.state = untilClose
	}
	return nil
}

// endSize parses a chunk's size and ignores extensions (RFC 9112 §7.1.1).
func (s *replyScanner) endSize() error {
	digits, _, _ := bytes.Cut(s.line, []byte{';'})
	digits = bytes.TrimRight(digits, " \t")
	size, err := strconv.ParseUint(string(digits), 16, 63)
	if err != nil || len(digits) > maxSizeDigits {
		return malformedError("the chunk size %.40q", s.line)
	}
	s.left = int64(size)
	if s.state = chunk; s.left == 0 {
		s.state = trailerLine
	}
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
