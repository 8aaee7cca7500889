package link

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"bramble/cluster/unproven"
)

// holdIdle opens idle connections to addr, one from each address.
func holdIdle(t *testing.T, addr string, from ...string) {
	t.Helper()
	for _, ip := range from {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		conn, err := dialer.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// Strangers that hold connections keep no board out, known or not, whether they have one address, many, or the
// board's own.
func TestIdleStrangersKeepNoBoardOut(t *testing.T) {
	strangers := map[string][]string{}
	for i := range 2 * unproven.MaxBoard {
		strangers["one address"] = append(strangers["one address"], "127.0.0.9")
		strangers["many addresses"] = append(strangers["many addresses"], fmt.Sprintf("127.0.1.%d", i+1))
		strangers["the board's address"] = append(strangers["the board's address"], "127.0.0.1")
	}
	for name, from := range strangers {
		for _, isKnown := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, known: %v", name, isKnown), func(t *testing.T) {
				one, two := newTestLink(t, "board-1", 0, rackKey(1)), newTestLink(t, "board-2", 0, rackKey(1))
				serveLink(t, one, http.NotFoundHandler())
				serveLink(t, two, http.NotFoundHandler())
				if isKnown {
					two.SetPeers([]Peer{{Name: "board-1", Addr: one.Addr().String()}})
				}
				holdIdle(t, two.Addr().String(), from...)
				one.SetPeers([]Peer{{Name: "board-2", Addr: two.Addr().String()}})
				if _, err := get(t, one, "board-2", "/"); err != nil {
					t.Errorf("the link is unusable: %v", err)
				}
			})
		}
	}
}
