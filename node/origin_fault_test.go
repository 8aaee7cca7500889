//go:build unix

package node_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"bramble/node/config"
	"bramble/node/sockets/socketstest"
)

func otherKey() config.RackKey { return config.NewRackKey() }

// badOrigin answers every connection with the same bytes, or with silence.
func badOrigin(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			if answer == "" {
				continue // silence
			}
			go func() {
				var request [4096]byte
				if _, err := conn.Read(request[:]); err == nil {
					_, _ = conn.Write([]byte(answer))
				}
				conn.Close()
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestErrorPagesOfAFailingOrigin(t *testing.T) {
	cases := []struct {
		name, url string
		status    int
	}{
		{"dead", fmt.Sprintf("http://127.0.0.1:%d", socketstest.FreePorts(t, 1)), http.StatusBadGateway},
		{"silent", badOrigin(t, ""), http.StatusGatewayTimeout},
		{"rubbish", badOrigin(t, "this is no HTTP\r\n\r\n"), http.StatusBadGateway},
		{"two lengths", badOrigin(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), http.StatusBadGateway},
		{"breaks off", badOrigin(t, "HTTP/1.1 200 OK\r\nContent-Le"), http.StatusBadGateway},
		{"endless header", badOrigin(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)), http.StatusBadGateway},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := startRack(t, 2, fmt.Sprintf("[origin]\nurl = %q\nreply_timeout = \"500ms\"\n", c.url))
			for _, b := range r.boards {
				got := b.get("/p")
				if got.status != c.status || !strings.Contains(got.body, "<h1>") || got.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s answers %d %q with Cache-Control %q, want a plain page with %d",
						b.name, got.status, got.body, got.header.Get("Cache-Control"), c.status)
				}
			}
		})
	}
}

// A reply that two parsers could read differently reaches no client.
func TestMalformedRepliesAreRejected(t *testing.T) {
	runBeside(t)
	const ok, kept = "HTTP/1.1 200 OK\r\n", "Cache-Control: max-age=60\r\n"
	cases := []struct{ name, reply string }{
		{"two equal lengths", ok + kept + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"},
		{"list of lengths", ok + kept + "Content-Length: 5, 5\r\n\r\nhello"},
		{"length and coding", ok + kept + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"signed length", ok + kept + "Content-Length: +5\r\n\r\nhello"},
		{"nul", ok + kept + "X: a\x00b\r\nContent-Length: 5\r\n\r\nhello"},
		{"bare cr", ok + kept + "X: a\rb\r\nContent-Length: 5\r\n\r\nhello"},
		{"bare lf", ok + kept + "X: a\nSet-Cookie: evil=1\r\nContent-Length: 5\r\n\r\nhello"},
		{"folded", ok + kept + "X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello"},
		{"blank before the colon", ok + kept + "Content-Length : 5\r\n\r\nhello"},
		{"other coding", ok + kept + "Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"coding in 1.0", "HTTP/1.0 200 OK\r\n" + kept + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"strange name", ok + kept + "X Y: z\r\nContent-Length: 5\r\n\r\nhello"},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				var n int
				if _, err := fmt.Sscanf(r.URL.Path, "/case/%d", &n); err == nil && n < len(cases) {
					_, _ = conn.Write([]byte(cases[n].reply))
				}
			}()
		}
	}()
	r := startRack(t, 3, fmt.Sprintf("[origin]\nurl = %q\n", "http://"+l.Addr().String()))
	for n, c := range cases {
		for _, b := range r.boards {
			if got := b.get(fmt.Sprintf("/case/%d", n)); got.status != http.StatusBadGateway || got.header.Get("Set-Cookie") != "" || !strings.Contains(got.body, "<h1>") {
				t.Errorf("%s: %s answers %d %q, want a plain page with 502", c.name, b.name, got.status, got.body)
			}
		}
	}
	for _, b := range r.boards {
		if n := b.metric("bramble_cache_objects"); n != 0 {
			t.Errorf("%s stores %v objects", b.name, n)
		}
	}
}

// A reply that breaks off must not look complete to a client, and must not be stored.
func TestTruncatedReplyIsNotStored(t *testing.T) {
	runBeside(t)
	url := badOrigin(t, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nonly this")
	r := startRack(t, 2, fmt.Sprintf("[origin]\nurl = %q\n", url))
	for range 2 {
		for _, b := range r.boards {
			got, err := fetch(client(), b.http+"/p")
			if err == nil && got.status == http.StatusOK {
				t.Errorf("%s served %q as a complete page", b.name, got.body)
			}
		}
	}
	for _, b := range r.boards {
		if n := b.metric("bramble_cache_objects"); n != 0 {
			t.Errorf("%s stores %v objects", b.name, n)
		}
	}
}

func TestStoredPageIsServedWithoutItsOrigin(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	short := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1")
		fmt.Fprint(w, "the page")
	})
	origin.Config.Handler = short
	r := startRack(t, 2, originConfig(origin, ""))
	for range 2 {
		crowd(t, r.boards, 3, "/p")
	}
	origin.CloseClientConnections()
	origin.Close()
	time.Sleep(1500 * time.Millisecond) // past the page's lifetime
	for _, b := range r.boards {
		if got := b.get("/p"); got.status != http.StatusOK || got.body != "the page" {
			t.Errorf("without its origin %s answers %d %q, want the stored page", b.name, got.status, got.body)
		}
		if got := b.get("/never-seen"); got.status != http.StatusBadGateway {
			t.Errorf("without its origin %s answers %d for a page that it never had", b.name, got.status)
		}
	}
}
