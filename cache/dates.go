package cache

import (
	"net/http"
	"strings"
	"time"
)

// oldestYear is the earliest current year by which two-digit years are read: a board
// whose clock is at 1970 must not read 26 as 1926.
const oldestYear = 2012

// parseDate reads a field that must occur once and be an HTTP-date. Repeated lines are
// accepted if they are equal. now decides the century of a
// two-digit year.
func parseDate(lines []string, now time.Time) (time.Time, bool) {
	if len(lines) == 0 {
		return time.Time{}, false
	}
	for _, l := range lines[1:] {
		if l != lines[0] {
			return time.Time{}, false
		}
	}
	return parseHTTPDate(trimOWS(lines[0]), now)
}

// parseHTTPDate parses the three forms of RFC 9110 §5.6.7 strictly, except that the case
// of letters is ignored, because it cannot change the date. The day's name is not
// compared with the date. time.Parse is lenient, so the rest must be what it writes.
func parseHTTPDate(s string, now time.Time) (time.Time, bool) {
	const rfc850 = "Monday, 02-Jan-06 15:04:05 GMT"
	layout := "Mon Jan 02 15:04:05 2006"
	switch comma := strings.IndexByte(s, ','); {
	case comma == 3:
		layout = http.TimeFormat
	case comma > 3:
		layout = rfc850
	case len(s) > 8 && s[8] == ' ':
		layout = time.ANSIC
	}
	// A leap second is the end of its minute.
	text := strings.Replace(strings.ToUpper(s), ":60 ", ":59 ", 1)
	at, err := time.Parse(layout, text)
	_, rest, _ := strings.Cut(text, " ")
	_, again, _ := strings.Cut(at.Format(layout), " ")
	if err != nil || len(text) != len(s) || rest != strings.ToUpper(again) {
		return time.Time{}, false
	}
	if layout == rfc850 {
		at = at.AddDate(fullYear(at.Year()%100, now)-at.Year(), 0, 0)
	}
	return at, true
}

// fullYear adds the century to a two-digit year: one more than 50 years ahead is in the
// past (RFC 9110 §5.6.7).
func fullYear(yy int, now time.Time) int {
	this := max(now.Year(), oldestYear)
	year := this - this%100 + yy
	if year > this+50 {
		year -= 100
	}
	return year
}
