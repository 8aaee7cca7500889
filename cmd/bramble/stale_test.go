package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bramble/node/orderservice"
)

// With --stale a list ends with what the copy is worth, on standard error, and waits while the
// board still reads its log.
func TestStaleListSaysWhatItIsWorth(t *testing.T) {
	const order = `{"orders":[{"reference":"QVNC-MTSG-37V","kind":"order","product":"berry","quantity":1,"state":"open","made":"2026-11-29T23:16:00Z"}],"next":0`
	for _, c := range []struct {
		name, reply string
		busy        int // requests that come while the board reads
		out, err    string
	}{
		{"the log of a lone survivor", order + `,"stale":{"from_log":true,"entry":11,"unproven":1}}`, 1, "QVNC-MTSG-37V",
			"Read from this board's log, up to entry 11 of the ledger: 1 order. The last change in it is not proven"},
		{"several changes, and damage", order + `,"stale":{"from_log":true,"entry":11,"unproven":4,"damage":"entry 12 fails its checksum"}}`, 0, "QVNC-MTSG-37V",
			"The last 4 changes in it are not proven: other boards may have gone on without them. The rest of the log cannot be read: entry 12 fails its checksum."},
		{"a board with a leader", `{"orders":[],"next":0,"stale":{"from_log":false,"entry":9,"unproven":0}}`, 0, "There are no such orders.",
			"This is one board's copy, up to entry 9 of the ledger: newer changes may be missing."},
	} {
		busy := c.busy
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			switch {
			case r.URL.Query().Get("stale") != "1":
				t.Errorf("%s: asked %s", c.name, r.URL)
			case busy > 0:
				busy--
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintf(w, `{"error":%q}`, orderservice.StillReading+"; send it again")
			default:
				io.WriteString(w, c.reply)
			}
		}))
		code, out, err := bramble(t, nil, "orders", "list", "--stale", "--console", s.URL)
		if code != 0 || !strings.Contains(out, c.out) || !strings.Contains(strings.Join(strings.Fields(err), " "), c.err) {
			t.Errorf("%s: exit %d\n%s%s", c.name, code, out, err)
		}
		if strings.Contains(err, "The board reads its log") != (c.busy > 0) {
			t.Errorf("%s: %s", c.name, err)
		}
		s.Close()
	}
}
