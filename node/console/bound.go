package console

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

const (
	// MaxConnections is how many connections the console has at once: one for each of
	// DefaultStreams pages that watch, three more for what each asks meanwhile. A board
	// keeps descriptors for these and for rack link, gossip and ledger, which a crowd
	// here must not take.
	MaxConnections = 4 * DefaultStreams
	// localPlaces more are for programs on the board itself, which ask /healthz: a
	// watchdog that is not answered restarts the board.
	localPlaces = 16
)

// Bound has a console's listener close, without a word, whoever comes beyond
// MaxConnections.
func Bound(inner net.Listener) net.Listener {
	return &bound{Listener: inner, local: netip.Addr.IsLoopback}
}

// bound is a listener that has so many connections and no more.
type bound struct {
	net.Listener
	local func(netip.Addr) bool // is on the board itself
	open  atomic.Int64
}

// Accept waits for one for whom there is a place.
func (b *bound) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.open.Add(1) <= b.most(conn) {
			return &bounded{Conn: conn, leave: sync.OnceFunc(func() { b.open.Add(-1) })}, nil
		}
		b.open.Add(-1)
		conn.Close()
	}
}

// most is the bound for a client.
func (b *bound) most(conn net.Conn) int64 {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok && b.local(tcp.AddrPort().Addr().Unmap()) {
		return MaxConnections + localPlaces
	}
	return MaxConnections
}

// bounded gives its place back when it is closed.
type bounded struct {
	net.Conn
	leave func()
}

func (b *bounded) Close() error {
	defer b.leave()
	return b.Conn.Close()
}
