package front

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// conn is one client's connection. A lookout serves it, or the lane on a goroutine
// of its own; what they cannot answer they lend to net/http for single requests,
// or leave it there for good.
type conn struct {
	front         *Front
	loop          *eventLoop // nil: a goroutine waits for its client
	tls           *tlsState  // nil: no TLS, or no handshake yet
	countsAsHTTP2 bool       // it counts as one that speaks HTTP/2
	client        clientKey
	address       netip.AddrPort // the client's, for who has a lookout

	// mu keeps the sweep from ending a socket that has just been closed, or is on its
	// way between a lookout and a goroutine.
	mu     sync.Mutex
	socket net.Conn        // nil: a lookout has it
	raw    syscall.RawConn // of tcp; nil: no lane here, net/http serves it from the start
	fd     int             // the lookout's; -1: it has none

	state      atomic.Uint32 // phase (table.go)
	tableIndex int           // guarded by table.mu

	// What follows belongs to whoever serves the connection.

	next          action
	lendSize      int      // of the request that comes next, for stepLend
	pendingInput  []byte   // what was read of requests that are not answered yet
	pendingOutput [][]byte // what the client has not taken of its replies
	// replayInput: carry is to be read before more is waited for.
	replayInput  bool
	queued       bool   // a lookout has read its share, and there is more
	readingSince uint32 // the sweep at which the request in carry began to come

	removed atomic.Bool // out of the table

	allowance        allowance    // with HTTP/2
	awaitingClient   atomic.Int32 // its requests of HTTP/2 that wait for its client
	unflushedReplies atomic.Int32 // those answered since it was idle last whose end may wait
}

// abort closes the socket, or both of its sides; whoever serves the connection notices.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.socket != nil:
		c.socket.Close()
	case c.fd >= 0:
		sysShutdown(c.fd)
	}
}

// closeAndRemove closes the connection and gives its place back, once.
func (c *conn) closeAndRemove() {
	if c.removed.CompareAndSwap(false, true) {
		c.closeSocket()
		c.front.conns.remove(c)
		if c.countsAsHTTP2 {
			c.front.https.http2Open.Add(-1)
		}
	}
}

// closeSocket closes the socket.
func (c *conn) closeSocket() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.socket != nil:
		c.socket.Close()
	case c.fd >= 0:
		c.loop.detach(c.fd)
		sysClose(c.fd)
		c.fd = -1
	}
}

// enterState begins a phase; false means that the sweep has ended the connection.
func (c *conn) enterState(p connState) bool {
	return c.front.conns.enterState(c, p, c.front.conns.sweeps.Load())
}

// serveOnGoroutine answers the connection's requests until it ends or is net/http's.
func (c *conn) serveOnGoroutine() {
	if c.raw == nil {
		c.handOff()
		return
	}
	for c.serveFastPath() {
		if !c.performNext() {
			return
		}
	}
	c.closeAndRemove()
}

// performNext does what the lane cannot, because it takes time, and reports whether
// the lane is to go on. If not, the connection has ended, or is net/http's.
func (c *conn) performNext() bool {
	ok := c.flushPending()
	if ok && c.next == actionHandOff {
		c.handOff()
		return false
	}
	if ok && c.next == actionLend {
		c.next = c.lendRequest()
		ok = c.flushPending()
	}
	if ok && c.next == actionClose {
		c.lingerClose()
	}
	if !ok || c.next != actionWait {
		c.closeAndRemove()
		return false
	}
	c.replayInput = len(c.pendingInput) > 0
	return true
}

// handOff leaves the connection, and what was read of it, to net/http, if that has
// not too many already.
func (c *conn) handOff() {
	if !c.front.gate.acquireHandoff() {
		c.refuseAndClose()
		return
	}
	given := &handoff{conn: c, Conn: c.replyConn(), pendingInput: c.pendingInput}
	given.isCounted.Store(true)
	c.front.gate.setSilent(given, true)
	c.pendingInput = nil
	c.front.handedOff.Add(1)
	if !c.enterState(stateNetHTTP) || !c.front.handoffs.deliver(given) {
		given.Close()
	}
}

// lendRequest has net/http answer the request at the start of carry, and says what is to
// be done next.
func (c *conn) lendRequest() action {
	if !c.enterState(stateNetHTTP) {
		return actionDrop
	}
	place, waited := c.front.gate.acquire(nil)
	if place == nil {
		c.pendingOutput = [][]byte{[]byte(refusalFor(bytes.HasPrefix(c.pendingInput, []byte("HEAD ")), true))}
		return actionClose
	}
	defer place.release()
	if waited {
		if next, ok := c.recheckMemory(); ok {
			return next
		}
	}
	c.front.lent.Add(1)
	lent := newLoan(c, place, c.pendingInput[:c.lendSize:c.lendSize])
	c.pendingInput = c.pendingInput[c.lendSize:]
	if !c.front.handoffs.deliver(lent) || !<-lent.reusable || !c.enterState(stateAnswering) {
		return actionDrop
	}
	return actionWait
}

// refuseAndClose tells a client to come back later, and ends its connection.
func (c *conn) refuseAndClose() {
	defer c.closeAndRemove()
	if c.raw == nil {
		writeRefusal(c.replyConn(), len(c.pendingInput) == 0)
		return
	}
	c.pendingOutput = [][]byte{[]byte(refusalFor(bytes.HasPrefix(c.pendingInput, []byte("HEAD ")), true))}
	if c.flushPending() {
		c.lingerClose()
	}
}
