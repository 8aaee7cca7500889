package console

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// served is a bounded listener on which everything is answered with "ok". The test
// has no addresses but loopback's, so that all but the first are strangers' here.
func served(t *testing.T) (*limitedListener, *http.Server) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newLimitedListener(inner)
	b.writeTimeout = 100 * time.Millisecond
	b.permits.local = func(a netip.Addr) bool { return a == loopback(1) }
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(b) }()
	t.Cleanup(func() { server.Close(); <-ended })
	return b, server
}

func loopback(n int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, byte(n)}) }

// from is a dialer at the nth address.
func from(n int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: loopback(n).AsSlice()}, Timeout: 5 * time.Second}
}

// fill opens connections from an address and reports how many were closed at once.
func fill(t *testing.T, b *limitedListener, address, n int) (closed int) {
	t.Helper()
	before := countOpen(b)
	var all []net.Conn
	for range n {
		c, err := from(address).Dial("tcp", b.Addr().String())
		if err != nil {
			t.Skipf("no such address of loopback here: %v", err)
		}
		t.Cleanup(func() { c.Close() })
		all = append(all, c)
	}
	// An admitted connection that sends nothing receives nothing. The request that comes
	// last is accepted after all connections before it.
	if !answered(b, 1) {
		t.Fatal("the board's own client gets no reply")
	}
	for _, c := range all {
		c.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			if late, ok := err.(net.Error); !ok || !late.Timeout() {
				closed++
			}
		}
	}
	if got := countOpen(b) - before; got > n {
		t.Errorf("%d came, and there are %d more", n, got)
	}
	return closed
}

// answered reports whether a client at the nth address is answered.
func answered(b *limitedListener, n int) bool {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: from(n).DialContext}}
	resp, err := client.Get("http://" + b.Addr().String() + "/healthz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return err == nil && string(text) == "ok\n"
}

// A crowd that holds connections gets only its permits, and the
// board's own watchdog is answered beside it.
func TestCrowdLeavesSlotsForTheWatchdog(t *testing.T) {
	b, server := served(t)
	closed := 0
	for n := range 4 {
		closed += fill(t, b, n+2, 125)
	}
	until := time.Now().Add(5 * time.Second)
	for countOpen(b) > MaxConnections && time.Now().Before(until) { // the watchdog's last one may be there
		time.Sleep(time.Millisecond)
	}
	if open := countOpen(b); open != MaxConnections || closed != 500-MaxConnections {
		t.Errorf("of 500 there are %d, and %d were closed", open, closed)
	}
	for range 3 {
		if !answered(b, 1) {
			t.Error("the board's own is not answered")
		}
	}
	server.Close()
	for deadline := time.Now().Add(5 * time.Second); countOpen(b) != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d places were not given back", countOpen(b))
		}
	}
}

// One address that holds all that it can get leaves permits for others, and
// so do many addresses that have taken all of them together.
func TestNoClientIsShutOut(t *testing.T) {
	b, _ := served(t)
	const part = MaxConnections / fairShareDivisor
	if closed := fill(t, b, 2, MaxConnections); closed != MaxConnections-part {
		t.Errorf("of one address's %d connections %d were closed", MaxConnections, closed)
	}
	if !answered(b, 3) {
		t.Error("beside one address that has its part another is not answered")
	}
	for n := 3; n <= 10; n++ {
		fill(t, b, n, part)
	}
	for range 3 {
		if !answered(b, 20) {
			t.Error("beside nine addresses that have taken everything another is not answered")
		}
	}
}

// A client that sends requests and reads no replies loses its permit.
func TestClientThatReadsNothingLosesItsSlot(t *testing.T) {
	b, _ := served(t)
	c, err := from(2).Dial("tcp", b.Addr().String())
	if err != nil {
		t.Skipf("no such address of loopback here: %v", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	request := strings.Repeat("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000)
	for range 10_000 { // until it is closed: no buffer has room for the replies to all of these
		if _, err = io.WriteString(c, request); err != nil {
			break
		}
	}
	if late, ok := err.(net.Error); err == nil || ok && late.Timeout() {
		t.Errorf("it was not closed: %v", err)
	}
}

// countOpen returns how many connections a listener has.
func countOpen(l *limitedListener) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.permits.held
}
