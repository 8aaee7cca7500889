package console

import (
	"net"
	"net/netip"
	"sync"
	"time"
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
	// partSize is how much of a reply a client must take within writeTimeout, in bytes:
	// 6 kB a second, so that a table of all orders may take as long as it needs.
	partSize = 64 << 10
)

// Bound has a console's listener close, without a word, whoever comes beyond
// MaxConnections or beyond his own part of them.
func Bound(inner net.Listener) net.Listener { return newBound(inner) }

// bound is a listener that has so many connections and no more.
type bound struct {
	net.Listener
	patience time.Duration // with a client that takes nothing
	mu       sync.Mutex    // guards places
	places   shares[*bounded]
}

func newBound(inner net.Listener) *bound {
	return &bound{Listener: inner, patience: writeTimeout, places: newShares[*bounded](MaxConnections, localPlaces)}
}

// Accept waits for one for whom there is a place.
func (b *bound) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if one := b.admit(conn); one != nil {
			return one, nil
		}
		conn.Close()
	}
}

// admit gives a connection its place; nil if there is none.
func (b *bound) admit(conn net.Conn) *bounded {
	one := &bounded{Conn: conn, bound: b}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		one.client = clientAt(tcp.AddrPort().Addr())
	}
	b.mu.Lock()
	way, made, ok := b.places.take(one.client, one)
	b.mu.Unlock()
	if made {
		way.Conn.Close() // who serves it will notice
	}
	if !ok {
		return nil
	}
	return one
}

// open is how many connections there are.
func (b *bound) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.places.held
}

// bounded gives its place back when it is closed.
type bounded struct {
	net.Conn
	bound  *bound
	client netip.Prefix
}

// Write bounds how long a client may take for each part of a reply: one that asks and
// never reads would keep its place for good.
func (c *bounded) Write(p []byte) (n int, err error) {
	for {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.bound.patience)); err != nil {
			return n, err
		}
		some, err := c.Conn.Write(p[n:min(n+partSize, len(p))])
		if n += some; err != nil || n == len(p) {
			return n, err
		}
	}
}

func (c *bounded) Close() error {
	defer func() {
		c.bound.mu.Lock()
		defer c.bound.mu.Unlock()
		c.bound.places.leave(c.client, c)
	}()
	return c.Conn.Close()
}
