package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The audit log is JSON lines for programs and text for people.
func TestAudit(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/shop/audit") {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"changes":[{"number":3,"at":"2012-02-29T06:00:00Z","operator":"Ada","action":"stock berry: +2"}],"next":0}`)
		}
	}))
	defer s.Close()
	for want, args := range map[string][]string{
		"2012-02-29 06:00:00 Ada: stock berry: +2\n":                                                  {"orders", "audit"},
		`{"number":3,"at":"2012-02-29T06:00:00Z","operator":"Ada","action":"stock berry: +2"}` + "\n": {"orders", "audit", "--json"},
	} {
		if code, out, err := bramble(t, nil, append(args, "--console", s.URL)...); code != 0 || out != want {
			t.Errorf("%q: exit %d\n%s%s", args, code, out, err)
		}
	}
}
