package front

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"
)

// Bytes after a request that another parser could end elsewhere, or that is broken, are
// never read as a request (RFC 9112 §6.1, §11.2).
func TestNothingIsReadBehindAnAmbiguousBody(t *testing.T) {
	change, client := withTLS(t)
	h := newTestSite(t)
	f, _, _ := startFront(t, h, change, func(cfg *Config) {
		cfg.BodyRate, cfg.BodyTimeout = 1000, 5*time.Second
	})
	hidden := "GET /hidden HTTP/1.1\r\n" + hostLine + "\r\n"
	chunks := lines("POST /x HTTP/1.1", hostLine, "Transfer-Encoding: chunked")
	for name, c := range map[string]struct{ in, want string }{
		"length and chunks":   {lines("POST /x HTTP/1.1", hostLine, "Content-Length: 80", "Transfer-Encoding: chunked") + "0\r\n\r\n", "200"},
		"chunks alone":        {chunks + "1\r\na\r\n0\r\n\r\n", "200"},
		"chunks of 1.0":       {lines("POST /x HTTP/1.0", hostLine, "Transfer-Encoding: chunked", "Connection: keep-alive") + "1\r\na\r\n0\r\n\r\n", "400"},
		"neither, in 1.0":     {lines("POST /x HTTP/1.0", hostLine, "Connection: keep-alive"), "400"},
		"a length of 1.0":     {lines("POST /x HTTP/1.0", hostLine, "Content-Length: 1", "Connection: keep-alive") + "a", "200"},
		"both, in 1.0":        {lines("POST /x HTTP/1.0", hostLine, "Content-Length: 1", "Transfer-Encoding: chunked", "Connection: keep-alive") + "a", "200"},
		"no size":             {chunks + "g\r\na\r\n0\r\n\r\n", "400"},
		"negative":            {chunks + "-1\r\na\r\n0\r\n\r\n", "400"},
		"beyond 64 bits":      {chunks + "10000000000000001\r\na\r\n0\r\n\r\n", "400"},
		"bare LF":             {chunks + "1\na\n0\n\n", "400"},
		"LF in an extension":  {chunks + "1;a\nb\r\na\r\n0\r\n\r\n", "400"},
		"too short":           {chunks + "2\r\na\r\n0\r\n\r\n", "400"},
		"broken trailer":      {chunks + "0\r\nX y\r\n\r\n", "400"},
		"trailer without end": {chunks + "0\r\n" + hidden + "X: " + strings.Repeat("x", 9000) + "\r\n\r\n", "400"},
		"the same, later":     {chunks + "9c40\r\n" + strings.Repeat("x", 40_000) + "\r\n0\r\n" + hidden + "X: " + strings.Repeat("x", 9000) + "\r\n\r\n", ""},
	} {
		for _, secure := range []*tls.Config{nil, client} {
			v := dialFront(t, f)
			if secure != nil {
				v = dialTLS(t, f, secure)
			}
			go io.WriteString(v, c.in+hidden+"\r\n")
			out, _ := io.ReadAll(v.r) // unread bytes may reset the connection
			if n := strings.Count(string(out), "HTTP/1.1 ") + strings.Count(string(out), "HTTP/1.0 "); n != 1 || !strings.HasPrefix(string(out[min(9, len(out)):]), c.want) || strings.Contains(string(out), "/hidden") {
				t.Errorf("%s, TLS %v: %d replies: %.600q", name, secure != nil, n, out)
			}
		}
	}
}
