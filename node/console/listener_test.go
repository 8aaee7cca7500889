package console

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// served returns a bounded listener that answers everything with "ok", and cuts off a client that
// reads nothing after limit. The test has only loopback addresses, so all but the first count as
// strangers here.
func served(t *testing.T, limit time.Duration) (*limitedListener, *http.Server) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := LimitListener(inner).(*limitedListener)
	b.writeTimeout = limit
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

// fill opens connections from an address and counts in closed those that are closed.
func fill(t *testing.T, b *limitedListener, address, n int, closed *atomic.Int64) {
	t.Helper()
	for range n {
		c, err := from(address).Dial("tcp", b.Addr().String())
		if err != nil {
			t.Skipf("no such address of loopback here: %v", err)
		}
		t.Cleanup(func() { c.Close() })
		go func() { // an admitted connection that sends nothing receives nothing
			_, _ = c.Read(make([]byte, 1))
			closed.Add(1)
		}()
	}
	// The request that comes last is accepted after all connections before it.
	if !answered(b, 1) {
		t.Fatal("the board's own client gets no reply")
	}
}

// awaitCount waits until a count is as wanted: a client learns late that it was closed, and
// the listener that a client has gone.
func awaitCount(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); count() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d, want %d", what, count(), want)
		}
	}
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
	b, server := served(t, writeTimeout)
	var closed atomic.Int64
	for n := range 4 {
		fill(t, b, n+2, 125, &closed)
	}
	awaitCount(t, "open, of 500", MaxConnections, func() int { return countOpen(b) }) // the watchdog's last one may be there
	awaitCount(t, "closed, of 500", 500-MaxConnections, func() int { return int(closed.Load()) })
	for range 3 {
		if !answered(b, 1) {
			t.Error("the board's own is not answered")
		}
	}
	server.Close()
	awaitCount(t, "permits that were not given back", 0, func() int { return countOpen(b) })
}

// One address that holds all that it can get leaves permits for others, and
// so do many addresses that have taken all of them together.
func TestNoClientIsShutOut(t *testing.T) {
	b, _ := served(t, writeTimeout)
	const part = MaxConnections / fairShareDivisor
	var closed, later atomic.Int64
	fill(t, b, 2, MaxConnections, &closed)
	awaitCount(t, "closed, of one address's connections", MaxConnections-part, func() int { return int(closed.Load()) })
	if !answered(b, 3) {
		t.Error("beside one address that has its part another is not answered")
	}
	for n := 3; n <= 10; n++ {
		fill(t, b, n, part, &later)
	}
	for range 3 {
		if !answered(b, 20) {
			t.Error("beside nine addresses that have taken everything another is not answered")
		}
	}
}

// A client that sends requests and reads no replies loses its permit.
func TestClientThatReadsNothingLosesItsSlot(t *testing.T) {
	b, _ := served(t, 100*time.Millisecond)
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
