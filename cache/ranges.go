package cache

import (
	"net/http"
	"strconv"
	"strings"
)

// span is a part of a body: length bytes from offset.
type span struct{ offset, length int64 }

// rangeAnswer is what a Range field makes of a reply.
type rangeAnswer int

const (
	rangeWhole rangeAnswer = iota // answer 200 with everything
	rangePart                     // answer 206 with the span
	rangeNone                     // answer 416
)

// pickRange evaluates Range and If-Range for a reply whose body has size
// bytes, -1 if unknown (RFC 9110 §14.2). One range is served; with several, or with a unit or form that is not
// understood, the whole body is, which the RFC allows.
func pickRange(r *http.Request, o *Object, size int64) (span, rangeAnswer) {
	lines := r.Header["Range"]
	if len(lines) != 1 || r.Method != http.MethodGet || o.Status() != http.StatusOK || size < 0 {
		return span{}, rangeWhole
	}
	if cond, has := r.Header["If-Range"]; has && !ifRange(cond, o.Field("Etag"), o.lines("Last-Modified"), o.lines("Date")) {
		return span{}, rangeWhole
	}
	return parseRange(lines[0], size)
}

// parseRange reads a bytes range set with one member.
func parseRange(s string, size int64) (span, rangeAnswer) {
	unit, set, ok := strings.Cut(s, "=")
	if !ok || !equalFold(trimOWS(unit), "bytes") {
		return span{}, rangeWhole
	}
	first, last, ok := strings.Cut(trimOWS(set), "-")
	if !ok {
		return span{}, rangeWhole
	}
	if first == "" {
		n, ok := parseLength(last)
		switch {
		case !ok:
			return span{}, rangeWhole
		case n == 0 || size == 0:
			return span{}, rangeNone
		}
		n = min(n, size)
		return span{size - n, n}, rangePart
	}
	from, ok := parseLength(first)
	if !ok {
		return span{}, rangeWhole
	}
	to := size - 1
	if last != "" {
		n, ok := parseLength(last)
		if !ok || n < from {
			return span{}, rangeWhole
		}
		to = min(n, to)
	}
	if from >= size {
		return span{}, rangeNone
	}
	return span{from, to - from + 1}, rangePart
}

// ifRange reports whether the validator in If-Range is strong and matches
// (RFC 9110 §13.1.5). A date is strong only if the reply's Date is at least a
// minute later (§8.8.2.2), so that nothing can have changed twice within it.
func ifRange(cond []string, etag string, lastModified, date []string) bool {
	if len(cond) != 1 {
		return false
	}
	c := trimOWS(cond[0])
	if strings.HasPrefix(c, `"`) || strings.HasPrefix(c, "W/") {
		return strongETag(c) && c == etag
	}
	want, ok1 := parseDate(cond)
	have, ok2 := parseDate(lastModified)
	made, ok3 := parseDate(date)
	return ok1 && ok2 && ok3 && want.Equal(have) && made.Sub(have).Minutes() >= 1
}

// contentRange is the field of a 206, or of a 416 when part is empty.
func contentRange(part span, size int64) string {
	total := strconv.FormatInt(size, 10)
	if part.length == 0 {
		return "bytes */" + total
	}
	return "bytes " + strconv.FormatInt(part.offset, 10) + "-" +
		strconv.FormatInt(part.offset+part.length-1, 10) + "/" + total
}
