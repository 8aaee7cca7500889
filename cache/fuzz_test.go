package cache

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"
)

// FuzzControl: whatever a Cache-Control field holds, a directive that forbids is
// never lost because of other well-formed members.
func FuzzControl(f *testing.F) {
	for _, s := range []string{
		"", "max-age=60", "no-store", `private="a, b"`, `ext="\"", max-age=1`, `a="`, "max-age =1", ",,,", "a=b c=d",
		`no-cache="x y"`, "max-age=99999999999999999999999", "public=1", "\x00", `"no-store"`, `x="a\`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := parseControl([]string{s})
		for _, d := range []delta{c.maxAge, c.sMaxAge, c.staleWhile, c.staleIfError} {
			if d.seconds < 0 || d.seconds > maxDelta {
				t.Fatalf("%q: %d seconds", s, d.seconds)
			}
		}
		for _, name := range slices.Concat(c.privateFields, c.noCacheFields) {
			if !httpguts.ValidHeaderFieldName(name) {
				t.Fatalf("%q: field name %q", s, name)
			}
		}
		if !parseControl([]string{"no-store", s}).noStore || !parseControl([]string{"no-store, " + s}).noStore {
			t.Fatalf("%q hides no-store in front of it", s)
		}
		if !parseControl([]string{s, "private"}).private {
			t.Fatalf("%q hides private in the next line", s)
		}
		more := parseControl([]string{s, "max-age=1"})
		if more.maxAge.seconds > 1 {
			t.Fatalf("%q makes max-age longer", s)
		}
	})
}

// FuzzVary: a request matches the variant key made from it, and another value of a
// selecting field does not.
func FuzzVary(f *testing.F) {
	f.Add("Accept-Language", "en", "de")
	f.Add("accept,Cookie", "", "x")
	f.Add("*", "a", "b")
	f.Add("host, x", "+", "-")
	f.Add("a b", "\x00", "")
	f.Add("Accept-Language", "en, de;q=0.5", "de;q=.5,EN")
	f.Add("Accept-Language", "en;q=1.000;x, ,*;Q=0.010", "\"a, b\" , c")
	f.Add("Accept-Encoding", "gzip;q=0, *", "identity;q=0,br")
	f.Add("x", "1,2", " 1, 2 ")
	f.Fuzz(func(t *testing.T, vary, one, two string) {
		names, all := varyNames([]string{vary})
		if all || !httpguts.ValidHeaderFieldValue(one) || !httpguts.ValidHeaderFieldValue(two) {
			return
		}
		with := func(v string) *http.Request {
			r := request("GET", pageURL)
			for _, n := range names {
				r.Header[http.CanonicalHeaderKey(n)] = []string{v}
			}
			return r
		}
		sel, ok := variantKeyFor(names, with(one))
		if !ok {
			return
		}
		if !validVariantKey(sel) || !slices.Equal(variantKeyNames(sel), names) {
			t.Fatalf("%q: selector %q", vary, sel)
		}
		if !matchesVariantKey(sel, with(one)) {
			t.Fatalf("%q does not select its own request", sel)
		}
		other, _ := variantKeyFor(names, with(two))
		if matchesVariantKey(sel, with(two)) != (other == sel) {
			t.Fatalf("%q selects %q: %v", sel, two, matchesVariantKey(sel, with(two)))
		}
		for _, name := range names {
			value, _ := varyValue(with(one), name)
			again := request("GET", pageURL)
			again.Header[http.CanonicalHeaderKey(name)] = []string{value}
			if normal, _ := varyValue(again, name); name != "host" && normal != value {
				t.Fatalf("%s: %q became %q and then %q", name, one, value, normal)
			}
		}
		if squeeze := strings.NewReplacer(" ", "", "\t", "", ",", "").Replace; len(names) == 1 && names[0] == "x" &&
			squeeze(one) != squeeze(two) && matchesVariantKey(sel, with(two)) {
			t.Fatalf("%q selects %q", sel, two)
		}
	})
}

// FuzzParseObject: an accepted object is written back identically, and no field
// can end its line early.
func FuzzParseObject(f *testing.F) {
	c, err := New(Config{Now: newClock().Now})
	if err != nil {
		f.Fatal(err)
	}
	o := page(pageURL, 5)
	o.variantKey, o.tags = "accept\x00+x\x00cookie\x00-\x00", "a\x00b\x00"
	whole := c.AppendWire(nil, o)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{})
	f.Add([]byte{wireVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseObject(b)
		if err != nil {
			return
		}
		copied := o.withBody(o.body)
		copied.born += c.Now()
		again, err := ParseObject(c.AppendWire(nil, copied))
		if err != nil {
			t.Fatalf("not accepted again: %v", err)
		}
		if again.head != o.head || again.lifetime != o.lifetime || again.born != o.born || again.size != o.size || again.staleIfError != o.staleIfError {
			t.Fatalf("%+v became %+v", o, again)
		}
		for name, value := range o.Fields() {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
				t.Fatalf("field %q: %q", name, value)
			}
		}
	})
}

func FuzzTags(f *testing.F) {
	f.Add("a b", "c, d e")
	f.Add(strings.Repeat("x ", 200), strings.Repeat("y", 300))
	f.Add("\x00", ",,")
	f.Fuzz(func(t *testing.T, key, tag string) {
		packed := packTags(http.Header{"Surrogate-Key": {key}, "Cache-Tag": {tag}})
		if !validTags(packed) {
			t.Fatalf("packed %q", packed)
		}
	})
}

// FuzzRange: a part lies within the body.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=99999999999999999-", "bytes=-", "bytes=1-0", "x=0-1", "bytes=0-1,2-3", "bytes=+1-2", "bytes=0-0,,-1", "bytes=5-6,0-1"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		if size < 0 {
			return
		}
		parts, kind := parseRange(s, size)
		if (kind == rangePart) != (len(parts) > 0) || len(parts) > maxRanges {
			t.Fatalf("%q of %d bytes: %v, %d parts", s, size, kind, len(parts))
		}
		end := int64(0)
		for _, p := range parts {
			if p.offset < end || p.length < 1 || p.end() > size {
				t.Fatalf("%q of %d bytes: %+v", s, size, parts)
			}
			end = p.end()
		}
	})
}

// FuzzETags: a tag is found in a list that contains it, however the list
// is formatted.
func FuzzETags(f *testing.F) {
	f.Add(`"a", W/"b"`, `"c"`)
	f.Add(`"a,b"`, `W/"c"`)
	f.Add(`*`, `""`)
	f.Add(`"`, `"x"`)
	f.Add(`"a\", "b"`, `"\"`)
	f.Fuzz(func(t *testing.T, list, etag string) {
		if matchETag([]string{list}, "") && !strings.Contains(list, "*") {
			t.Fatalf("%q matches a reply without tag", list)
		}
		if !validETag(etag) {
			return
		}
		if !matchETag([]string{etag + "," + list}, etag) {
			t.Fatalf("%q not found in front of %q", etag, list)
		}
		if !matchETag([]string{"W/" + strings.TrimPrefix(etag, "W/")}, etag) {
			t.Fatalf("%q is not weakly equal to itself", etag)
		}
	})
}

// FuzzExpires: a lifetime is never negative nor larger than RFC 9111 allows, and
// anything that is not a date means stale.
func FuzzExpires(f *testing.F) {
	for _, s := range []string{
		"0", "-1", "", "Wed, 29 Feb 2012 06:00:00 GMT", "Wednesday, 29-Feb-12 06:00:00 GMT", "Wed Feb 29 06:00:00 2012",
		"Wed, 29 Feb 2012 06:00:00 UTC", "Wed, 29 Feb 2012 06:00:00 +0100", "Thu, 31 Dec 9999 23:59:59 GMT",
	} {
		f.Add(s)
	}
	at := time.Date(2012, 2, 28, 6, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		d, explicit := replyLifetime(200, http.Header{"Expires": {s}}, control{}, false, at)
		if !explicit || d < 0 || d > maxDelta*time.Second {
			t.Fatalf("%q: %v %v", s, d, explicit)
		}
		// net/http knows neither leap seconds (RFC 9110 §5.6.7 goes by RFC 5322,
		// which has them) nor "gmt" in lower case.
		plain := strings.Replace(strings.ToUpper(trimOWS(s)), ":60 ", ":59 ", 1)
		if _, err := http.ParseTime(plain); err != nil && d != 0 {
			t.Fatalf("%q is no date and gives %v", s, d)
		}
	})
}

func FuzzNameInStatus(f *testing.F) {
	f.Add("board-1")
	f.Add(`a "b" \c`)
	f.Add("1")
	f.Add("ü")
	f.Fuzz(func(t *testing.T, name string) {
		q := quoteName(name)
		if !httpguts.ValidHeaderFieldValue(q) || bytes.ContainsAny([]byte(q), "\x80\xff") {
			t.Fatalf("%q became %q", name, q)
		}
		if q != name && (len(q) < 2 || q[0] != '"' || q[len(q)-1] != '"') {
			t.Fatalf("%q became %q", name, q)
		}
	})
}
