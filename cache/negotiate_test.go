package cache

import (
	"net/http"
	"testing"
)

func TestNormalise4_1(t *testing.T) {
	tests := []struct {
		field, one, two string
		same            bool
	}{
		{"X-List", "1,2", " 1, 2 ", true},
		{"X-List", "1 ,\t2", "1,2", true},
		{"X-List", "1,2", "2,1", false},
		{"X-List", "1,2", "1,,2", false},
		{"X-List", `"1, 2"`, `"1,2"`, false},
		{"X-List", `"\", 1",2`, `"\", 1" , 2`, true},
		{"X-List", "1 2", "12", false},
		{"User-Agent", "a (b, c)", "a (b,c)", false},
		{"Cookie", "a=1, 2", "a=1,2", false},
		{"Accept-Language", "en, de", "de, en", true},
		{"Accept-Language", "en, de", "eN,De", true},
		{"Accept-Language", "en;q=0.5, de", "de;q=1.0, EN;q=0.50", true},
		{"Accept-Language", "en, de;q=0.5", "en;q=0.5, de", false},
		{"Accept-Language", "en", "en;q=0.999", false},
		{"Accept-Language", "en, de;q=0", "en", false},
		{"Accept-Language", "en;q=2", "en", false},
		{"Accept-Language", "en;q=0.1234", "en;q=0.123", false},
		{"Accept-Language", "en;x=1", "EN;x=1", false},
		{"Accept-Language", "en, de", "fr;q=0.5, de;q=1.0", false},
	}
	for _, tt := range tests {
		b := newBench(t, always(200, "x", "Cache-Control: max-age=60", "Vary: "+tt.field, "Content-Language: de"))
		b.get(tt.field + ": " + tt.one)
		b.get(tt.field + ": " + tt.two)
		if same := b.up.fetches.Load() == 1; same != tt.same {
			t.Errorf("%s: %q and %q: same %v, want %v", tt.field, tt.one, tt.two, same, tt.same)
		}
	}
}

func TestEncodingClass12_5_3(t *testing.T) {
	for field, want := range map[string]string{
		"":                      "identity",
		"gzip":                  "gzip",
		"gzip, deflate, br":     "gzip",
		"br;q=1.0, GZIP;q=0.1":  "gzip",
		"x-gzip":                "gzip",
		"*":                     "gzip",
		"gzip;q=0":              "identity",
		"gzip;q=0, *":           "identity",
		"br":                    "identity",
		"identity":              "identity",
		"gzip, *;q=0":           "gzip,*;q=0",
		"gzip , identity;q=0.0": "gzip,identity;q=0.0",
		"gzip;level=9":          "gzip;level=9",
	} {
		b := newBench(t, always(200, "x", "Cache-Control: max-age=60", "Vary: Accept-Encoding"))
		var fields []string
		if field != "" {
			fields = []string{"Accept-Encoding: " + field}
		}
		b.get(fields...)
		if got := b.up.last().Header["Accept-Encoding"]; len(got) != 1 || got[0] != want {
			t.Errorf("%q: upstream was asked for %q, want %q", field, got, want)
		}
		if !b.HasFresh(request(http.MethodGet, pageURL, "Accept-Encoding: "+want)) {
			t.Errorf("%q: not stored for %q", field, want)
		}
	}
}

// TestMatchAllocatesNothing for the fields that browsers send, which are seldom in their
// normal form.
func TestMatchAllocatesNothing(t *testing.T) {
	r := request("GET", pageURL, "Accept-Encoding: gzip, deflate, br, zstd", "Accept: text/html,*/*;q=0.8")
	sel, _ := variantKeyFor([]string{"accept", "accept-encoding", "cookie"}, r)
	if n := testing.AllocsPerRun(100, func() {
		if !matchesVariantKey(sel, r) {
			t.Fatal("no match")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
