package cache

import (
	"testing"
	"time"
)

func TestTargeted9213(t *testing.T) {
	const (
		date    = "Date: Wed, 29 Feb 2012 06:00:00 GMT"
		expired = "Expires: 0"
		later   = "Expires: Wed, 29 Feb 2012 07:00:00 GMT"
	)
	tests := []struct {
		name   string
		fields []string
		wait   time.Duration
		reused bool
	}{
		{"2.2 alone", []string{"CDN-Cache-Control: max-age=60"}, 59 * time.Second, true},
		{"2.2 over", []string{"CDN-Cache-Control: max-age=60"}, 60 * time.Second, false},
		{"2.2 longer than Cache-Control", []string{"CDN-Cache-Control: max-age=60", "Cache-Control: max-age=1"}, 30 * time.Second, true},
		{"2.2 shorter than Cache-Control", []string{"CDN-Cache-Control: max-age=1", "Cache-Control: max-age=60"}, 30 * time.Second, false},
		{"2.2 s-maxage of Cache-Control does not count", []string{"CDN-Cache-Control: max-age=1", "Cache-Control: s-maxage=60"}, 30 * time.Second, false},
		{"2.2 lifts no-store", []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store"}, 0, true},
		{"2.2 before Expires", []string{date, "CDN-Cache-Control: max-age=60", expired}, 0, true},
		{"2.2 Expires does not count", []string{date, "CDN-Cache-Control: public", later}, 0, false},
		{"2.2 no-store", []string{"CDN-Cache-Control: no-store", "Cache-Control: max-age=60"}, 0, false},
		{"2.2 private", []string{"CDN-Cache-Control: private", "Cache-Control: max-age=60"}, 0, false},
		{"2.2 no-cache", []string{"CDN-Cache-Control: no-cache", "Cache-Control: max-age=60"}, 0, false},
		{"2.2 unknown directive", []string{"CDN-Cache-Control: foo", "Cache-Control: max-age=60"}, 0, false},
		{"2.2 Pragma does not count", []string{"CDN-Cache-Control: max-age=60", "Pragma: no-cache"}, 0, true},
		{"2.2 Age counts", []string{"CDN-Cache-Control: max-age=60", "Age: 61"}, 0, false},
		{"2.1 extension", []string{"CDN-Cache-Control: foobar, max-age=60"}, 0, true},
		{"2.1 parameters are ignored", []string{"CDN-Cache-Control: max-age=60;x=1"}, 0, true},
		{"2.1 two lines", []string{"CDN-Cache-Control: max-age=60", "CDN-Cache-Control: no-store"}, 0, false},
		{"2.1 false is not said", []string{"CDN-Cache-Control: max-age=60, no-store=?0"}, 0, true},
		{"2.1 large", []string{"CDN-Cache-Control: max-age=99999999999"}, 24 * time.Hour, true},
		{"2.1 negative", []string{"CDN-Cache-Control: max-age=-60"}, 0, false},
		{"2.1 empty", []string{"CDN-Cache-Control: ", "Cache-Control: max-age=60"}, 0, true},
		{"2.1 broken", []string{"CDN-Cache-Control: no-store, &&&", "Cache-Control: max-age=60"}, 0, true},
		{"2.1 broken and no-store", []string{"CDN-Cache-Control: max-age=60, &&&", "Cache-Control: no-store"}, 0, false},
		{"2.1 wrong type", []string{`CDN-Cache-Control: max-age="60"`, "Cache-Control: no-store"}, 0, false},
		{"2.1 no value", []string{"CDN-Cache-Control: max-age", "Cache-Control: max-age=60"}, 0, true},
		{"2.1 list", []string{"CDN-Cache-Control: max-age=(60)", "Cache-Control: max-age=60"}, 0, true},
		{"2.1 upper case", []string{"CDN-Cache-Control: MAX-AGE=60"}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, always(200, "x", tt.fields...))
			b.get()
			b.clock.add(tt.wait)
			res := b.get()
			if reused := b.up.fetches.Load() == 1; reused != tt.reused {
				t.Errorf("reused %v, want %v", reused, tt.reused)
			}
			if len(res.Header()["Cdn-Cache-Control"]) == 0 {
				t.Error("the field was not passed on")
			}
		})
	}
}

func TestTargetedFieldNames(t *testing.T) {
	c, ok := parseTargeted([]string{`private="X-A, X-B", no-cache="X-C", stale-if-error=7, stale-while-revalidate=8, s-maxage=9, immutable`})
	if !ok || c.private || len(c.privateFields) != 2 || c.noCache || len(c.noCacheFields) != 1 || !c.immutable ||
		c.staleIfError.seconds != 7 || c.staleWhile.seconds != 8 || c.sMaxAge.seconds != 9 {
		t.Errorf("%+v %v", c, ok)
	}
}

// FuzzTargeted: lifetimes stay in bounds, and a directive that forbids cannot be
// hidden by well-formed members in front of it.
func FuzzTargeted(f *testing.F) {
	for _, s := range []string{"", "max-age=60", "a, b;c=1", `private="a, b"`, "max-age=1.5", "x=(1 2);y", "max-age=-1", "x=:aGk=:", "x=@1", "&", "a=1,", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseTargeted([]string{s})
		for _, d := range []delta{c.maxAge, c.sMaxAge, c.staleWhile, c.staleIfError} {
			if d.seconds < 0 || d.seconds > maxDelta {
				t.Fatalf("%q: %d seconds", s, d.seconds)
			}
		}
		if strict, _ := parseTargeted([]string{s, "no-store"}); ok && !strict.noStore {
			t.Fatalf("%q hides no-store", s)
		}
	})
}
