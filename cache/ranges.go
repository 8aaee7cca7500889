package cache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRanges bounds the ranges of one request. With more, or with ranges that
// overlap or run backwards, the entire body is sent: RFC 9110 §17.15 warns of
// what such requests can cost.
const maxRanges = 8

// byteRange is a part of a body: length bytes from offset.
type byteRange struct{ offset, length int64 }

func (r byteRange) end() int64 { return r.offset + r.length }

// contains reports whether other lies within s.
func (r byteRange) contains(other byteRange) bool {
	return r.offset <= other.offset && other.end() <= r.end()
}

// rangeAnswer is the effect of a Range field on a reply.
type rangeAnswer int

const (
	rangeWhole rangeAnswer = iota // answer 200 with everything
	rangePart                     // answer 206 with the ranges
	rangeNone                     // answer 416
)

// pickRange evaluates Range and If-Range for a complete reply whose body has size
// bytes, -1 if unknown (RFC 9110 §14.2). An unknown unit or form selects the entire
// body, which the RFC allows.
func pickRange(r *http.Request, o *Object, size int64, now time.Time) ([]byteRange, rangeAnswer) {
	lines := r.Header["Range"]
	if len(lines) != 1 || r.Method != http.MethodGet || o.Status() != http.StatusOK || size < 0 {
		return nil, rangeWhole
	}
	if !ifRangeHolds(r, o, now) {
		return nil, rangeWhole
	}
	return parseRange(lines[0], size)
}

// parseRange reads a bytes range set. Ranges outside of the body are left out if at least
// one is inside; the others must ascend and not overlap.
func parseRange(s string, size int64) ([]byteRange, rangeAnswer) {
	unit, set, ok := strings.Cut(s, "=")
	if !ok || !strings.EqualFold(trimOWS(unit), "bytes") {
		return nil, rangeWhole
	}
	var parts []byteRange
	seen := 0
	for spec := range strings.SplitSeq(set, ",") {
		if spec = trimOWS(spec); spec == "" {
			continue
		}
		if seen++; seen > maxRanges {
			return nil, rangeWhole
		}
		part, kind := parseRangeSpec(spec, size)
		switch {
		case kind == rangeWhole:
			return nil, rangeWhole
		case kind == rangeNone:
			continue
		case len(parts) > 0 && part.offset < parts[len(parts)-1].end():
			return nil, rangeWhole
		}
		parts = append(parts, part)
	}
	switch {
	case seen == 0:
		return nil, rangeWhole
	case len(parts) == 0:
		return nil, rangeNone
	}
	return parts, rangePart
}

// parsePosition reads a position in a body. One with too many digits counts as beyond
// the end of any body (RFC 9110 §14.1.2).
func parsePosition(s string) (int64, bool) {
	if len(s) <= maxLengthDigits || !isDigits(s) {
		return parseLength(s)
	}
	return 1<<63 - 1, true
}

// parseRangeSpec reads one range. rangeWhole means that it is malformed.
func parseRangeSpec(s string, size int64) (byteRange, rangeAnswer) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return byteRange{}, rangeWhole
	}
	if first == "" {
		n, ok := parsePosition(last)
		switch {
		case !ok:
			return byteRange{}, rangeWhole
		case n == 0 || size == 0:
			return byteRange{}, rangeNone
		}
		n = min(n, size)
		return byteRange{size - n, n}, rangePart
	}
	from, ok := parsePosition(first)
	if !ok {
		return byteRange{}, rangeWhole
	}
	to := size - 1
	if last != "" {
		n, ok := parsePosition(last)
		if !ok || n < from {
			return byteRange{}, rangeWhole
		}
		to = min(n, to)
	}
	if from >= size {
		return byteRange{}, rangeNone
	}
	return byteRange{from, to - from + 1}, rangePart
}

// ifRangeHolds reports whether a request has no If-Range, or one whose validator
// is strong and the reply's (RFC 9110 §13.1.5). A date is strong only if the
// reply's Date is at least a minute later (§8.8.2.2), so that nothing can have
// changed twice within it.
func ifRangeHolds(r *http.Request, o *Object, now time.Time) bool {
	cond, has := r.Header["If-Range"]
	switch {
	case !has:
		return true
	case len(cond) != 1:
		return false
	}
	c := trimOWS(cond[0])
	if strings.HasPrefix(c, `"`) || strings.HasPrefix(c, "W/") {
		return strongETag(c) && c == o.Field("Etag")
	}
	want, ok1 := parseDate(cond, now)
	have, ok2 := parseDate(o.fieldLines("Last-Modified"), now)
	made, ok3 := parseDate(o.fieldLines("Date"), now)
	return ok1 && ok2 && ok3 && want.Equal(have) && made.Sub(have) >= time.Minute
}

// contentRange is the field of a 206, or of a 416 when part is empty.
func contentRange(part byteRange, size int64) string {
	total := strconv.FormatInt(size, 10)
	if part.length == 0 {
		return "bytes */" + total
	}
	return "bytes " + strconv.FormatInt(part.offset, 10) + "-" +
		strconv.FormatInt(part.end()-1, 10) + "/" + total
}

// parseContentRange reads the Content-Range of a 206 of which everything is
// known (RFC 9110 §14.4).
func parseContentRange(lines []string) (part byteRange, size int64, ok bool) {
	if len(lines) != 1 {
		return byteRange{}, 0, false
	}
	unit, rest, ok1 := strings.Cut(trimOWS(lines[0]), " ")
	at, total, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(at, "-")
	from, ok4 := parseLength(first)
	to, ok5 := parseLength(last)
	size, ok6 := parseLength(total)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !strings.EqualFold(unit, "bytes") || to < from || size <= to {
		return byteRange{}, 0, false
	}
	return byteRange{from, to - from + 1}, size, true
}

// fitsRange reports whether the Content-Range of a 206 lies in the single range of bytes that was requested: it may
// be shorter (RFC 9110 §15.3.7), and the size of the whole unknown. Of several ranges, or another unit, only the
// origin knows.
func fitsRange(lines []string, r *http.Request) bool {
	text, ok := singleRange(r)
	if !ok {
		return len(r.Header["Range"]) > 0
	}
	if len(lines) == 1 && strings.HasSuffix(lines[0], "/*") {
		lines = []string{lines[0][:len(lines[0])-1] + strings.Repeat("9", maxLengthDigits)}
	}
	at, size, ok := parseContentRange(lines)
	parts, kind := parseRange(text, size)
	isFromEnd := strings.Contains(text, "=-") // only the origin knows where that begins
	return ok && kind == rangePart && (isFromEnd || parts[0].contains(at))
}
