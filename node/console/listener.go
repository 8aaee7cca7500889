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
	// localSlots more are for programs on the board itself, which ask /healthz: a
	// watchdog that is not answered restarts the board.
	localSlots = 16
	// writeChunkSize is how much of a reply a client must take within writeTimeout, in bytes:
	// 6 kB a second, so that a table of all orders may take as long as it needs.
	writeChunkSize = 64 << 10
)

// LimitListener has a console's listener close, without a word, whoever comes beyond
// MaxConnections or beyond his own part of them.
func LimitListener(inner net.Listener) net.Listener { return newLimitedListener(inner) }

// limitedListener is a listener that has so many connections and no more.
type limitedListener struct {
	net.Listener
	writeTimeout time.Duration // with a client that takes nothing
	mu           sync.Mutex    // guards places
	slots        quota[*limitedConn]
}

func newLimitedListener(inner net.Listener) *limitedListener {
	return &limitedListener{Listener: inner, writeTimeout: writeTimeout, slots: newQuota[*limitedConn](MaxConnections, localSlots)}
}

// Accept waits for one for whom there is a place.
func (b *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if one := b.admitConn(conn); one != nil {
			return one, nil
		}
		conn.Close()
	}
}

// admitConn gives a connection its place; nil if there is none.
func (b *limitedListener) admitConn(conn net.Conn) *limitedConn {
	one := &limitedConn{Conn: conn, listener: b}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		one.client = clientPrefix(tcp.AddrPort().Addr())
	}
	b.mu.Lock()
	way, made, ok := b.slots.reserveSlot(one.client, one)
	b.mu.Unlock()
	if made {
		way.Conn.Close() // who serves it will notice
	}
	if !ok {
		return nil
	}
	return one
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	listener *limitedListener
	client   netip.Prefix
}

// Write bounds how long a client may take for each part of a reply: one that asks and
// never reads would keep its place for good.
func (c *limitedConn) Write(p []byte) (n int, err error) {
	for {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.listener.writeTimeout)); err != nil {
			return n, err
		}
		some, err := c.Conn.Write(p[n:min(n+writeChunkSize, len(p))])
		if n += some; err != nil || n == len(p) {
			return n, err
		}
	}
}

func (c *limitedConn) Close() error {
	defer func() {
		c.listener.mu.Lock()
		defer c.listener.mu.Unlock()
		c.listener.slots.releaseSlot(c.client, c)
	}()
	return c.Conn.Close()
}
