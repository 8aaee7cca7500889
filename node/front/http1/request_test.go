package http1

import (
	"bytes"
	"testing"

	"bramble/node/front/http1/http1test"
)

func TestSkipPrintableStopsAtTheFirstOtherByte(t *testing.T) {
	line := bytes.Repeat([]byte("a~ Z"), 10)
	for bad := range 256 {
		want := bad < ' ' || bad > '~'
		for at := range line {
			line[at] = byte(bad)
			for from := range line {
				stop := len(line)
				if want && from <= at {
					stop = at
				}
				if got := skipPrintable(line, from); got != stop {
					t.Fatalf("byte %#x at %d, from %d: stops at %d, want %d", bad, at, from, got, stop)
				}
			}
			line[at] = "a~ Z"[at%4]
		}
	}
}

func TestRulesAreTheSameInEverySpelling(t *testing.T) {
	for _, name := range []string{
		"Host", "Connection", "Accept-Encoding", "If-None-Match", "If-Modified-Since", "Cache-Control", "Pragma",
		"User-Agent", "Accept", "Accept-Language", "Accept-Charset", "Cookie", "Referer", "Origin", "From",
		"Upgrade-Insecure-Requests", "DNT", "Priority", "Save-Data", "Keep-Alive",
		"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-User", "Sec-Fetch-Dest", "Sec-GPC", "Sec-Purpose",
		"sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform",
		"X-Requested-With", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip",
	} {
		want, ok := ruleOfName([]byte(name))
		if !ok || want == ruleLend || want == ruleForeign {
			t.Errorf("%s has no rule", name)
		}
		if got, width := commonFieldRule([]byte(name + ":")); width != 0 && (width != len(name)+1 || got != want) {
			t.Errorf("%s: rule %d with %d bytes, want %d", name, got, width, want)
		}
		for _, spelling := range [][]byte{[]byte(name), bytes.ToLower([]byte(name)), bytes.ToUpper([]byte(name))} {
			if got, ok := ruleOfName(spelling); !ok || got != want {
				t.Errorf("%s: rule %d, want %d", spelling, got, want)
			}
		}
	}
	for name, want := range map[string]fieldRule{
		"content-LENGTH": ruleForeign, "Transfer-Encoding": ruleForeign, "transfer_encoding": ruleLend, "TE": ruleForeign,
		"Sec-WebSocket-Protocol": ruleForeign, "SEC-WEBSOCKET-EXTENSIONS-AND-SOMETHING-LONG": ruleForeign,
		"Sec-": ruleLend, "S": ruleLend, "Range": ruleLend,
	} {
		if got, ok := ruleOfName([]byte(name)); !ok || got != want {
			t.Errorf("%s: rule %d, want %d", name, got, want)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	var r Request
	for name, in := range http1test.Browsers() {
		p := []byte(in)
		if n := testing.AllocsPerRun(100, func() {
			if r.Parse(p) != Plain {
				t.Fatalf("%s is not Plain", name)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Parse parses the request at the start of b, without a HeaderCache.
func (r *Request) Parse(b []byte) ParseResult {
	at, res := r.parseFirstLine(b)
	if res != Plain {
		return res
	}
	return r.parseFields(b, at, &lineMatcher{})
}
