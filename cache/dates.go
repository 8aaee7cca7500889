package cache

import (
	"strings"
	"time"
)

// oldestYear is the earliest current year by which two-digit years are read: a board
// whose clock is at 1970 must not read 26 as 1926.
const oldestYear = 2012

var dateMonths = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

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
// compared with the date.
func parseHTTPDate(s string, now time.Time) (time.Time, bool) {
	d := dateReader{s: strings.ToLower(s), ok: len(s) < 40}
	var year, month, day int
	switch comma := strings.IndexByte(d.s, ','); {
	case comma == 3: // Wed, 29 Feb 2012 06:00:00 GMT
		d.readName("mon", "tue", "wed", "thu", "fri", "sat", "sun")
		d.skipText(", ")
		day = d.readNumber(2)
		d.skipText(" ")
		month = d.readMonth()
		d.skipText(" ")
		year = d.readNumber(4)
		d.skipText(" ")
	case comma > 3: // Wednesday, 29-Feb-12 06:00:00 GMT
		d.readName("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
		d.skipText(", ")
		day = d.readNumber(2)
		d.skipText("-")
		month = d.readMonth()
		d.skipText("-")
		year = fullYear(d.readNumber(2), now)
		d.skipText(" ")
	default: // Wed Feb 29 06:00:00 2012
		d.readName("mon", "tue", "wed", "thu", "fri", "sat", "sun")
		d.skipText(" ")
		month = d.readMonth()
		d.skipText(" ")
		if strings.HasPrefix(d.s, " ") {
			d.skipText(" ")
			day = d.readNumber(1)
		} else {
			day = d.readNumber(2)
		}
		d.skipText(" ")
		hour, minute, second := d.readClock()
		d.skipText(" ")
		year = d.readNumber(4)
		return d.toTime(year, month, day, hour, minute, second)
	}
	hour, minute, second := d.readClock()
	d.skipText(" gmt")
	return d.toTime(year, month, day, hour, minute, second)
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

// dateReader reads parts from the front of s; after the first mistake ok is false.
type dateReader struct {
	s  string
	ok bool
}

func (d *dateReader) skipText(want string) {
	rest, found := strings.CutPrefix(d.s, want)
	d.s, d.ok = rest, d.ok && found
}

func (d *dateReader) readName(names ...string) int {
	for i, name := range names {
		if rest, found := strings.CutPrefix(d.s, name); found {
			d.s = rest
			return i
		}
	}
	d.ok = false
	return 0
}

func (d *dateReader) readMonth() int { return d.readName(dateMonths[:]...) + 1 }

func (d *dateReader) readNumber(digits int) int {
	if len(d.s) < digits {
		d.ok = false
		return 0
	}
	n, ok := parseLength(d.s[:digits])
	if !ok {
		d.ok = false
		return 0
	}
	d.s = d.s[digits:]
	return int(n)
}

func (d *dateReader) readClock() (hour, minute, second int) {
	hour = d.readNumber(2)
	d.skipText(":")
	minute = d.readNumber(2)
	d.skipText(":")
	second = d.readNumber(2)
	return hour, minute, second
}

func (d *dateReader) toTime(year, month, day, hour, minute, second int) (time.Time, bool) {
	if !d.ok || d.s != "" || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	// time.Date would make 1 March of 30 February. A leap second is the end of
	// its minute.
	t := time.Date(year, time.Month(month), day, hour, minute, min(second, 59), 0, time.UTC)
	if t.Day() != day || day == 0 {
		return time.Time{}, false
	}
	return t, true
}
