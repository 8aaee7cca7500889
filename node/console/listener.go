package console

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// MaxConnections bounds the console's connections: one for each of maxStreams
	// pages that watch, and three more for each page's other requests. A board reserves
	// descriptors for these and for rack link, gossip and ledger; a crowd at the console
	// must not use those up.
	MaxConnections = 4 * maxStreams
	// localSlots more are for programs on the board itself, which request /healthz: a
	// watchdog without a reply restarts the board.
	localSlots = 16
	// writeChunkSize is the part of a reply, in bytes, that a client must read within writeTimeout:
	// 6 kB a second, so that a table of all orders may take as long as it needs.
	writeChunkSize = 64 << 10
)

// LimitListener returns a listener that closes connections beyond MaxConnections, or
// beyond their client's share of them, without a reply.
func LimitListener(inner net.Listener) net.Listener { return newLimitedListener(inner) }

type limitedListener struct {
	net.Listener
	writeTimeout time.Duration // of a client that reads nothing
	mu           sync.Mutex    // guards places
	permits      quota[*limitedConn]
}

func newLimitedListener(inner net.Listener) *limitedListener {
	return &limitedListener{Listener: inner, writeTimeout: writeTimeout, permits: newQuota[*limitedConn](MaxConnections, localSlots)}
}

// Accept waits for a connection that gets a permit.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.admitConn(conn); admitted != nil {
			return admitted, nil
		}
		conn.Close()
	}
}

// admitConn reserves a permit for a connection; nil if there is none.
func (l *limitedListener) admitConn(conn net.Conn) *limitedConn {
	one := &limitedConn{Conn: conn, listener: l}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		one.client = clientPrefix(tcp.AddrPort().Addr())
	}
	l.mu.Lock()
	victim, evicted, ok := l.permits.reservePermit(one.client, one)
	l.mu.Unlock()
	if evicted {
		victim.Conn.Close() // its server notices
	}
	if !ok {
		return nil
	}
	return one
}

// limitedConn releases its permit when it is closed.
type limitedConn struct {
	net.Conn
	listener *limitedListener
	client   netip.Prefix
}

// Write bounds the time that a client may take to read each part of a reply: one that
// never reads would hold its permit forever.
func (c *limitedConn) Write(p []byte) (n int, err error) {
	for {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.listener.writeTimeout)); err != nil {
			return n, err
		}
		written, err := c.Conn.Write(p[n:min(n+writeChunkSize, len(p))])
		if n += written; err != nil || n == len(p) {
			return n, err
		}
	}
}

func (c *limitedConn) Close() error {
	defer func() {
		c.listener.mu.Lock()
		defer c.listener.mu.Unlock()
		c.listener.permits.releasePermit(c.client, c)
	}()
	return c.Conn.Close()
}
