package console

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// A crowd that holds on to connections takes no more than its places, and the
// board's own watchdog is answered beside it.
func TestACrowdLeavesTheWatchdogItsPlaces(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	watchdog := netip.MustParseAddr("127.0.0.1")
	// The test has no address but loopback's, so that the others are strangers here.
	b := &bound{Listener: inner, local: func(a netip.Addr) bool { return a != watchdog.Next() }}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(b) }()
	t.Cleanup(func() { server.Close(); <-served })

	crowd := net.Dialer{LocalAddr: &net.TCPAddr{IP: watchdog.Next().AsSlice()}, Timeout: 5 * time.Second}
	var closed int
	for i := range 500 {
		c, err := crowd.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Skipf("no second address of loopback here: %v", err)
		}
		t.Cleanup(func() { c.Close() })
		if i >= MaxConnections {
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				if late, ok := err.(net.Error); !ok || !late.Timeout() {
					closed++
				}
			}
		}
	}
	if open := b.open.Load(); open != MaxConnections || closed != 500-MaxConnections {
		t.Errorf("of 500 there are %d, and %d were closed", open, closed)
	}
	client := &http.Client{Timeout: 5 * time.Second}
	for range 3 {
		resp, err := client.Get("http://" + inner.Addr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	server.Close()
	for deadline := time.Now().Add(5 * time.Second); b.open.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d places were not given back", b.open.Load())
		}
	}
}
