package cache

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

var in2026 = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

func TestHTTPDate5_6_7(t *testing.T) {
	tests := []struct {
		s    string
		want string // RFC 3339, "" for no date
	}{
		{"Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z"},
		{"Sun Nov 16 08:49:37 1994", "1994-11-16T08:49:37Z"},
		{"SUN, 06 nov 1994 08:49:37 gMT", "1994-11-06T08:49:37Z"},
		{"Mon, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"Thu, 31 Dec 1998 23:59:60 GMT", "1998-12-31T23:59:59Z"},
		{"Wednesday, 29-Feb-12 06:00:00 GMT", "2012-02-29T06:00:00Z"},
		{"Friday, 01-Jan-76 00:00:00 GMT", "2076-01-01T00:00:00Z"}, // 50 years ahead
		{"Friday, 01-Jan-77 00:00:00 GMT", "1977-01-01T00:00:00Z"}, // more
		{"Thu, 29 Feb 2011 06:00:00 GMT", ""},
		{"Thu, 00 Feb 2012 06:00:00 GMT", ""},
		{"Thu, 18  Aug  2050 02:01:18 GMT", ""},
		{"Thu, 18 Aug 2050 2:01:18 GMT", ""},
		{"Thu, 8 Aug 2050 02:01:18 GMT", ""},
		{"Thu, 18 Aug 50 02:01:18 GMT", ""},
		{"Thu 18 Aug 2050 02:01:18 GMT", ""},
		{"Thu, 18-Aug-2050 02:01:18 GMT", ""},
		{"Thu, 18 Aug 2050 02.01.18 GMT", ""},
		{"Thu, 18 Aug 2050 24:01:18 GMT", ""},
		{"Thu, 18 Aug 2050 02:01:18 UTC", ""},
		{"Thu, 18 Aug 2050 02:01:18 AEST", ""},
		{"Thu, 18 Aug 2050 02:01:18 +0000", ""},
		{"Thu, 18 Aug 2050 02:01:18 GMT+1", ""},
		{"Thu, 18 Aug 2050 02:01:18", ""},
		{"Sun Nov 6 08:49:37 1994", ""},
		{"Sun Nov  6 08:49:37 1994 GMT", ""},
		{"0", ""}, {"", ""}, {"-1", ""},
	}
	for _, tt := range tests {
		at, ok := parseHTTPDate(tt.s, in2026)
		if got := at.Format(time.RFC3339); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%q: %s %v, want %q", tt.s, got, ok, tt.want)
		}
	}
	// A board that does not know the time still reads the years of today correctly.
	if at, ok := parseHTTPDate("Saturday, 21-Nov-26 06:00:00 GMT", time.Unix(0, 0)); !ok || at.Year() != 2026 {
		t.Errorf("in 1970: %v", at)
	}
}

// FuzzDate: every date in the form of the RFC is read, and a date that is read
// in the preferred form is the one that net/http reads.
func FuzzDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 gMT", ",", "Sun, 6 "} {
		f.Add(s, int64(784111777))
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		if at, ok := parseHTTPDate(s, in2026); ok {
			if at.Year() > 9999 || at.Year() < 0 || len(s) < 24 {
				t.Fatalf("%q: %v", s, at)
			}
			std, err := http.ParseTime(strings.ToUpper(s[:1]) + strings.ToLower(s[1:]))
			if len(s) == 29 && err == nil && !std.Equal(at) {
				t.Fatalf("%q: %v, net/http reads %v", s, at, std)
			}
		}
		at := time.Unix(unix%200_000_000_000, 0).UTC()
		if at.Year() < 0 || at.Year() > 9999 {
			return
		}
		for _, form := range []string{http.TimeFormat, time.ANSIC} {
			if got, ok := parseHTTPDate(at.Format(form), in2026); !ok || !got.Equal(at) {
				t.Fatalf("%s: %v %v", at.Format(form), got, ok)
			}
		}
	})
}
