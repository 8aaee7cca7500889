package unproven

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// fakeConn is a connection from an address.
type fakeConn struct {
	net.Conn
	from   string
	closed chan struct{}
}

func newFakeConn(from string) *fakeConn { return &fakeConn{from: from, closed: make(chan struct{})} }

func (c *fakeConn) LocalAddr() net.Addr { return c.RemoteAddr() }

func (c *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.from), 1))
}

func (c *fakeConn) Close() error { close(c.closed); return nil }

func (c *fakeConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func newTestSet(timeout time.Duration) *Connections {
	boards := map[string]bool{"10.0.0.1": true, "10.0.0.2": true, "fd00::1": true}
	return New(timeout, func(addr netip.Addr) bool { return boards[addr.String()] }, slog.New(slog.DiscardHandler))
}

// from lists the addresses of n connections: the format with numbers from 0, or one address without a verb.
func from(n int, format string) (addrs []string) {
	for i := range n {
		addr := format
		if strings.Contains(format, "%") {
			addr = fmt.Sprintf(format, i)
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

func TestLimits(t *testing.T) {
	join := func(lists ...[]string) (all []string) {
		for _, list := range lists {
			all = append(all, list...)
		}
		return all
	}
	cases := []struct {
		name   string
		opened []string // in this order
		closed []int    // of these, in any order
	}{
		{"one stranger has few", from(MaxStranger+2, "192.0.2.9"), []int{0, 1}},
		{"a stranger pushes out only itself while there is room", join(from(1, "192.0.2.8"), from(MaxStranger+1, "192.0.2.9")), []int{1}},
		{"many strangers push out the oldest", from(MaxStrangers+2, "192.0.2.%d"), []int{0, 1}},
		{"an IPv6 network is one stranger", from(MaxStranger+1, "2001:db8::%x"), []int{0}},
		{"IPv6 networks are many", from(MaxStranger+1, "2001:db8:0:%x::1"), nil},
		{"mapped IPv4 is IPv4", join(from(1, "::ffff:192.0.2.9"), from(MaxStranger, "192.0.2.9")), []int{0}},
		{"strangers push out no board", join(from(1, "10.0.0.1"), from(MaxStrangers+1, "192.0.2.%d")), []int{1}},
		{"a board has many", from(MaxBoard, "10.0.0.1"), nil},
		{"a board pushes out only itself", join(from(1, "10.0.0.2"), from(1, "192.0.2.9"), from(MaxBoard+1, "10.0.0.1")), []int{2}},
		{"an IPv6 board is no stranger of its network", join(from(1, "fd00::1"), from(MaxStranger+1, "fd00::a%x")), []int{1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			set := newTestSet(time.Hour)
			var conns []*fakeConn
			for _, addr := range c.opened {
				conn := newFakeConn(addr)
				conns = append(conns, conn)
				defer set.Add(conn)()
			}
			var closed []int
			for i, conn := range conns {
				if conn.isClosed() {
					closed = append(closed, i)
				}
			}
			if fmt.Sprint(closed) != fmt.Sprint(c.closed) {
				t.Errorf("closed %v, want %v", closed, c.closed)
			}
		})
	}
}

// A connection that has proved the key counts no more, and is not closed any more.
func TestProvedConnectionsStay(t *testing.T) {
	set := newTestSet(time.Hour)
	proved := newFakeConn("192.0.2.9")
	remove := set.Add(proved)
	remove()
	remove()
	for range 2 * MaxStranger {
		defer set.Add(newFakeConn("192.0.2.9"))()
	}
	if proved.isClosed() {
		t.Error("a stranger's connections push out one that has proved the key")
	}
	if n := len(set.open); n != MaxStranger {
		t.Errorf("the set has %d connections, want %d", n, MaxStranger)
	}
}

func TestConnectionEndsWithItsTime(t *testing.T) {
	late := newFakeConn("192.0.2.9")
	remove := newTestSet(time.Nanosecond).Add(late)
	<-late.closed
	remove()
}
