package front

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"bramble/node/front/admission"
)

// conn is one client's connection. An event loop serves it, or the fast path on a
// goroutine of its own. They lend a request that they cannot answer to net/http, or hand
// the connection off to it for good. conn_state.go has its states.
type conn struct {
	front     *Front
	loop      *eventLoop          // its event loop; nil: a goroutine waits for its client
	tls       *tlsState           // nil: no TLS, or no handshake yet
	client    admission.ClientKey // for limiters
	address   netip.AddrPort      // the client's, if it has an event loop
	waitEntry admission.WaitEntry // while its client keeps a handshake or net/http waiting

	// mu keeps the sweep from ending a socket that has just been closed, or is on its way
	// between an event loop and a goroutine.
	mu     sync.Mutex
	socket net.Conn        // nil: the event loop has it as fd
	raw    syscall.RawConn // of socket; nil: no fast path here, net/http serves it from the start
	fd     int             // the event loop's; -1: it has none

	state      atomic.Uint32 // connState and its beginning (conn_state.go)
	tableIndex int           // guarded by connTable.mu

	// What follows belongs to the event loop or goroutine that serves the connection.

	next          action   // due after the last reading
	lendSize      int      // bytes of the request that is due, for actionLend
	lendHost      string   // its Host
	pendingInput  []byte   // read, and not answered yet
	pendingOutput [][]byte // replies that the client has not taken yet
	readingSince  uint32   // the sweep at which the request in pendingInput began to arrive
	queued        bool     // Idle or Reading with unread input, in eventLoop.queued: others have their turn first

	http2 http2State
}

// abort closes the socket, or both of its sides. The event loop or goroutine that serves
// the connection notices, and removes it.
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

// closeAndRemove closes the connection and removes it from the table, once.
func (c *conn) closeAndRemove() {
	if c.markGone() {
		c.closeSocket()
		c.front.conns.remove(c)
		if c.http2.isOpen {
			c.front.https.http2Open.Add(-1)
		}
	}
}

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

// performNext performs the action that is due, which may take time. It reports whether
// the fast path should go on; if not, the connection has ended, or is net/http's.
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
	return true
}

// setNext makes an action due; rest is the input that has not been answered. It returns
// actionDue, for its callers to return.
func (c *conn) setNext(next action, rest []byte) readResult {
	c.next = next
	c.pendingInput = append([]byte(nil), rest...)
	return actionDue
}

// hasPendingOutput reports whether the client has not taken all of its replies.
func (c *conn) hasPendingOutput() bool {
	return len(c.pendingOutput) > 0 || c.tls != nil && len(c.tls.unsentRecords) > 0
}

// lendRequest has net/http answer the request at the start of pendingInput, and returns
// the action that is due then.
func (c *conn) lendRequest() action {
	if !c.enter(stateBorrowed) {
		return actionDrop
	}
	permit, waited := c.front.gate.Acquire(context.Background(), c.lendHost)
	if permit == nil {
		c.addRefusal()
		return actionClose
	}
	defer permit.Release()
	if waited {
		if next, ok := c.recheckMemory(); ok {
			return next
		}
	}
	c.front.lent.Add(1)
	lent := newLoan(c, permit, c.pendingInput[:c.lendSize:c.lendSize])
	c.pendingInput = c.pendingInput[c.lendSize:]
	if !c.front.toNetHTTP.deliver(lent) || !<-lent.reusable || !c.enter(stateAnswering) {
		return actionDrop
	}
	return actionWait
}

// handOff leaves the connection and its pending input to net/http, unless that has too
// many connections already.
func (c *conn) handOff() {
	if !c.front.gate.TryAcquireHandoff() {
		c.refuseAndClose()
		return
	}
	handed := &handoff{conn: c, Conn: c.replyConn(), pendingInput: c.pendingInput}
	handed.isCounted.Store(true)
	c.front.gate.SilentClients().Add(&c.waitEntry, c.abort)
	c.pendingInput = nil
	c.front.handedOff.Add(1)
	if !c.enter(stateNetHTTP) || !c.front.toNetHTTP.deliver(handed) {
		handed.Close()
	}
}

func (c *conn) refuseAndClose() {
	defer c.closeAndRemove()
	if c.raw == nil {
		writeRefusal(c.replyConn(), len(c.pendingInput) == 0)
		return
	}
	c.addRefusal()
	if c.flushPending() {
		c.lingerClose()
	}
}

// addRefusal makes the refusal of the request in pendingInput the pending output.
func (c *conn) addRefusal() {
	isHEAD := bytes.HasPrefix(c.pendingInput, []byte("HEAD "))
	c.pendingOutput = [][]byte{[]byte(refusalFor(isHEAD, true))}
}

// replyConn returns the connection to which net/http writes replies and the front writes
// refusals.
func (c *conn) replyConn() net.Conn {
	if c.tls != nil {
		return c.tls.conn
	}
	return c.socket
}
