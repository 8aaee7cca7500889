package cache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// hopByHop are the fields that belong to one connection and are never passed
// on or stored (RFC 9110 §7.6.1, RFC 9111 §3.1).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
	"Proxy-Authentication-Info", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// dropHopByHop removes the fields of the connection from h, and those that its
// Connection field lists.
func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = trimOWS(name); name != "" && httpguts.ValidHeaderFieldName(name) {
				if name = http.CanonicalHeaderKey(name); !isRule(name) {
					delete(h, name)
				}
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// isRule reports whether a field decides who may have a reply, and for how long. It
// stays even if Connection lists it: otherwise a sender could disable the rules.
func isRule(name string) bool {
	switch name {
	case "Cache-Control", targetField, "Vary", "Expires", "Age", "Set-Cookie":
		return true
	}
	return false
}

// upstreamRequest returns the request to send upstream for r: a deep copy without the
// connection's fields. dropConditions removes conditions and ranges, because the reply
// may be stored and shared; each client's own are evaluated when its reply is written.
func upstreamRequest(r *http.Request, dropConditions bool) *http.Request {
	q := r.Clone(r.Context())
	dropHopByHop(q.Header)
	q.Trailer = nil
	if dropConditions {
		for _, name := range [...]string{
			"If-None-Match", "If-Modified-Since", "If-Match",
			"If-Unmodified-Since", "If-Range", "Range",
		} {
			delete(q.Header, name)
		}
		q.Body, q.ContentLength, q.TransferEncoding = http.NoBody, 0, nil
	}
	return q
}

// checkReply rejects a reply that cannot be passed on as it is: its length is
// ambiguous, its fields are malformed or too large, or r did not ask for a 304 or for the range of a 206. hasOwnRange:
// the range is that of a part which is stored here, which reconcile checks.
func checkReply(resp *http.Response, r *http.Request, hasOwnRange bool) error {
	if resp == nil || resp.Header == nil || resp.StatusCode < 200 || resp.StatusCode > 599 {
		return ErrBadReply
	}
	if size, ok := fieldsSize(resp.Header); !ok || size > maxHead {
		return ErrBadReply
	}
	length := resp.Header["Content-Length"]
	for _, line := range length {
		n, ok := parseLength(line)
		if !ok || line != length[0] || resp.ContentLength >= 0 && bodyAllowed(resp) && n != resp.ContentLength {
			return ErrBadReply
		}
	}
	switch {
	case resp.StatusCode == http.StatusNotModified && !isConditional(r):
		return fmt.Errorf("%w: 304 to a request without a condition", ErrBadReply)
	case resp.StatusCode == http.StatusPartialContent && !hasOwnRange && !fitsRange(resp.Header["Content-Range"], r):
		return fmt.Errorf("%w: 206 with Content-Range %.80q, requested %.80q", ErrBadReply, resp.Header.Get("Content-Range"), r.Header.Get("Range"))
	}
	return nil
}

// fieldsSize returns the number of bytes that fields take on the wire. ok is false if one of them is
// malformed.
func fieldsSize(h http.Header) (size int, ok bool) {
	for name, lines := range h {
		if !httpguts.ValidHeaderFieldName(name) {
			return 0, false
		}
		for _, line := range lines {
			size += len(name) + len(line) + 4
			if !httpguts.ValidHeaderFieldValue(line) {
				return 0, false
			}
		}
	}
	return size, true
}

func bodyAllowed(resp *http.Response) bool {
	return statusHasBody(resp.StatusCode) && (resp.Request == nil || resp.Request.Method != http.MethodHead)
}

// statusHasBody reports whether a reply with this status can have content
// (RFC 9110 §6.4.1).
func statusHasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// maxLengthDigits is the most digits that parseLength reads; such a number fits an int64.
const maxLengthDigits = 18

// parseLength reads a Content-Length: digits only, no sign, no list.
func parseLength(s string) (int64, bool) {
	if len(s) > maxLengthDigits || !isDigits(s) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// isDigits reports whether s consists of digits, one at least.
func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func trimOWS(s string) string { return strings.Trim(s, " \t") }

func isTokenByte(b byte) bool { return httpguts.IsTokenRune(rune(b)) }

// eachListMember calls f with each member of a comma-separated list until f returns
// false. It respects quoted strings and skips empty members.
func eachListMember(lines []string, f func(string) bool) {
	splitListMembers(lines, true, func(m string) bool { return m == "" || f(m) })
}

// eachTag does the same for a list of entity tags, in which a backslash is a
// character like any other (RFC 9110 §8.8.3).
func eachTag(lines []string, f func(string) bool) {
	splitListMembers(lines, false, func(m string) bool { return m == "" || f(m) })
}

// splitListMembers calls f with each member, also with empty ones.
func splitListMembers(lines []string, escapes bool, f func(string) bool) {
	for _, line := range lines {
		start, quoted := 0, false
		for i := 0; i <= len(line); i++ {
			switch {
			case i == len(line) || line[i] == ',' && !quoted:
				if !f(trimOWS(line[start:i])) {
					return
				}
				start = i + 1
			case line[i] == '"':
				quoted = !quoted
			case escapes && line[i] == '\\' && quoted && i+1 < len(line):
				i++
			}
		}
	}
}
