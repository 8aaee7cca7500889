package node_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"bramble/node/console"
)

// holdPort holds n idle connections to an address until ctx ends, and opens each again when the board closes it.
func holdPort(ctx context.Context, n int, addr string, from func(i int) string) {
	for i := range n {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from(i))}}
		go func() {
			for ctx.Err() == nil {
				conn, err := dialer.DialContext(ctx, "tcp", addr)
				if err == nil {
					stop := context.AfterFunc(ctx, func() { conn.Close() })
					_, _ = conn.Read(make([]byte, 1))
					stop()
					conn.Close()
				}
				time.Sleep(10 * time.Millisecond) // the board may not be up at the moment
			}
		}()
	}
}

// Strangers without the rack key that hold connections to gossip and to the rack link keep no board out that starts
// again: it joins, it asks the owners of pages, and orders have their leader.
func TestIdleStrangersKeepNoBoardOut(t *testing.T) {
	for name, from := range map[string]func(int) string{
		"one address":    func(int) string { return "127.0.0.9" },
		"many addresses": func(i int) string { return fmt.Sprintf("127.0.1.%d", i+1) },
	} {
		t.Run(name, func(t *testing.T) {
			r := startRack(t, 3, patientPeers()+withShop(t, 100, ""))
			for _, b := range r.boards {
				b.waitOrders()
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for i := range r.boards {
				holdPort(ctx, 17, r.addr(i, 2), from)
				holdPort(ctx, 100, r.addr(i, 3), from)
			}
			for _, b := range []*process{r.boards[0], r.boards[2]} { // one board alone has no majority
				b.kill()
			}
			for _, b := range []*process{r.boards[0], r.boards[2]} {
				b.start()
			}
			for _, b := range r.boards {
				b.waitReady()
				b.waitFor("the whole rack", func(s console.RackView) bool { return inService(s) == 3 })
				b.waitOrders()
				eventually(t, "an order through "+b.name, func() (bool, string) {
					how, _, seen := newBuyer("buyer-of-" + b.name).placeOrder(b.http)
					return how == placed || how == known, seen.body
				})
			}
			r.leader()
			// A purge is confirmed over the link, by each board.
			for _, b := range r.boards {
				for _, other := range r.boards {
					if other != b {
						b.purgeOn(`{"url":"/p"}`, other.name)
					}
				}
			}
		})
	}
}

// A reply that a site's origin breaks off concerns this site alone: the boards still ask each other for the pages of
// others, also those boards that have no permit of their own at the origin.
func TestBrokenRepliesLeaveTheOwnersInUse(t *testing.T) {
	const pages = 40
	broken := badOrigin(t, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	honest := newOrigin(t, 0)
	r := startRack(t, 3, patientPeers()+fmt.Sprintf(`[[site]]
host = "broken.example"
url = %q
[[site]]
host = "honest.example"
url = %q
max_concurrent = 1
`, broken, honest.URL))
	for i := range 6 {
		for _, b := range r.boards {
			request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/cut/%d", b.http, i), nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = "broken.example"
			if got, err := send(client(), request); err == nil && got.status == http.StatusOK {
				t.Errorf("%s passes a broken reply on as a whole one: %q", b.name, got.body)
			}
		}
	}
	for _, b := range r.boards {
		for n := range pages {
			if got := b.getAs("honest.example", fmt.Sprintf("/p/%d", n)); got.status != http.StatusOK {
				t.Fatalf("%s: /p/%d: status %d: %s", b.name, n, got.status, got.body)
			}
		}
	}
	if asked := honest.asked.Load(); asked != pages {
		t.Errorf("%d pages cost the origin %d requests", pages, asked)
	}
}
