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
			io.WriteString(w, `{"changes":[{"number":3,"at":"2012-02-29T06:00:00Z","operator":"Ada","action":"stock berry: +2"},`+
				`{"number":4,"at":"2012-02-29T06:00:01Z","operator":"Ada","action":"stock berry: -9 (refused: not_enough)"},`+
				`{"number":5,"at":"2012-02-29T06:00:02Z","operator":"Ada","action":"times berry: opens never, closes never"},`+
				`{"number":6,"at":"2012-02-29T06:00:03Z","operator":"Ada","action":"announce: it closes never"}],"next":0}`)
		}
	}))
	defer s.Close()
	for want, args := range map[string][]string{
		"2012-02-29 06:00:00 Ada: stock berry: +2\n" +
			"2012-02-29 06:00:01 Ada: stock berry: -9 (refused: not enough free units)\n" +
			"2012-02-29 06:00:02 Ada: times berry: no opening time, no closing time\n" +
			"2012-02-29 06:00:03 Ada: announce: it closes never\n": {"orders", "audit"},
		`{"number":3,"at":"2012-02-29T06:00:00Z","operator":"Ada","action":"stock berry: +2"}` + "\n" +
			`{"number":4,"at":"2012-02-29T06:00:01Z","operator":"Ada","action":"stock berry: -9 (refused: not_enough)"}` + "\n" +
			`{"number":5,"at":"2012-02-29T06:00:02Z","operator":"Ada","action":"times berry: opens never, closes never"}` + "\n" +
			`{"number":6,"at":"2012-02-29T06:00:03Z","operator":"Ada","action":"announce: it closes never"}` + "\n": {"orders", "audit", "--json"},
	} {
		if code, out, err := bramble(t, nil, append(args, "--console", s.URL)...); code != 0 || out != want {
			t.Errorf("%q: exit %d\n%s%s", args, code, out, err)
		}
	}
}

// The link of a receipt is shown only on request, to people and programs.
func TestShowLink(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/shop/orders/REF/link") {
			io.WriteString(w, `{"link":"https://shop.example/r/REF/token"}`)
		} else {
			io.WriteString(w, `{"reference":"REF","number":3}`)
		}
	}))
	defer s.Close()
	for _, tt := range []struct {
		args []string
		has  bool
	}{{nil, false}, {[]string{"--json"}, false}, {[]string{"--link"}, true}, {[]string{"--link", "--json"}, true}} {
		code, out, failure := bramble(t, nil, append([]string{"orders", "show", "REF", "--console", s.URL}, tt.args...)...)
		if code != exitOK || strings.Contains(out, "https://shop.example/r/REF/token") != tt.has || !strings.Contains(out, "REF") || strings.Contains(out, "}\nlink") {
			t.Errorf("%v: exit %d %s%s", tt.args, code, out, failure)
		}
	}
}
