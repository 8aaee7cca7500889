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
	front   *Front
	watch   *lookout // nil: a goroutine waits for its client
	secure  *secured // nil: no TLS, or no handshake yet
	h2      bool     // it counts as one that speaks HTTP/2
	client  client
	address netip.AddrPort // the client's, for who has a lookout

	// mu keeps the sweep from ending a socket that has just been closed, or is on its
	// way between a lookout and a goroutine.
	mu  sync.Mutex
	tcp net.Conn        // nil: a lookout has it
	raw syscall.RawConn // of tcp; nil: no lane here, net/http serves it from the start
	fd  int             // the lookout's; -1: it has none

	word atomic.Uint32 // phase (table.go)
	at   int           // guarded by table.mu

	// What follows belongs to whoever serves the connection.

	next  step
	size  int      // of the request that comes next, for stepLend
	carry []byte   // what was read of requests that are not answered yet
	owed  [][]byte // what the client has not taken of its replies
	// again: carry is to be read before more is waited for.
	again  bool
	hungry bool   // a lookout has read its share, and there is more
	since  uint32 // the sweep at which the request in carry began to come

	gone atomic.Bool // out of the table

	allowance allowance    // with HTTP/2
	awaited   atomic.Int32 // its requests of HTTP/2 that wait for its client
	tails     atomic.Int32 // those answered since it was idle last whose end may wait
}

// end closes the socket, or both of its sides; whoever serves the connection notices.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.tcp != nil:
		c.tcp.Close()
	case c.fd >= 0:
		shutDown(c.fd)
	}
}

// leave closes the connection and gives its place back, once.
func (c *conn) leave() {
	if c.gone.CompareAndSwap(false, true) {
		c.close()
		c.front.table.remove(c)
		if c.h2 {
			c.front.secure.h2.Add(-1)
		}
	}
}

// close closes the socket.
func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.tcp != nil:
		c.tcp.Close()
	case c.fd >= 0:
		c.watch.forget(c.fd)
		closeSocket(c.fd)
		c.fd = -1
	}
}

// enter begins a phase; false means that the sweep has ended the connection.
func (c *conn) enter(p phase) bool {
	return c.front.table.enter(c, p, c.front.table.tick.Load())
}

// serve answers the connection's requests until it ends or is net/http's.
func (c *conn) serve() {
	if c.raw == nil {
		c.give()
		return
	}
	for c.await() {
		if !c.proceed() {
			return
		}
	}
	c.leave()
}

// proceed does what the lane cannot, because it takes time, and reports whether
// the lane is to go on. If not, the connection has ended, or is net/http's.
func (c *conn) proceed() bool {
	ok := c.settle()
	if ok && c.next == stepGive {
		c.give()
		return false
	}
	if ok && c.next == stepLend {
		c.next = c.lend()
		ok = c.settle()
	}
	if ok && c.next == stepClose {
		c.linger()
	}
	if !ok || c.next != stepWait {
		c.leave()
		return false
	}
	c.again = len(c.carry) > 0
	return true
}

// give leaves the connection, and what was read of it, to net/http, if that has
// not too many already.
func (c *conn) give() {
	if !c.front.gate.enterGiven() {
		c.dismiss()
		return
	}
	given := &given{conn: c, Conn: c.stream(), carry: c.carry}
	given.counted.Store(true)
	c.front.gate.waits(given, true)
	c.carry = nil
	c.front.given.Add(1)
	if !c.enter(phaseAway) || !c.front.handed.deliver(given) {
		given.Close()
	}
}

// lend has net/http answer the request at the start of carry, and says what is to
// be done next.
func (c *conn) lend() step {
	if !c.enter(phaseAway) {
		return stepDrop
	}
	place, waited := c.front.gate.enter(nil)
	if place == nil {
		c.owed = [][]byte{[]byte(refusalTo(bytes.HasPrefix(c.carry, []byte("HEAD ")), true))}
		return stepClose
	}
	defer place.leave()
	if waited {
		if next, ok := c.recall(); ok {
			return next
		}
	}
	c.front.lent.Add(1)
	lent := newLoan(c, place, c.carry[:c.size:c.size])
	c.carry = c.carry[c.size:]
	if !c.front.handed.deliver(lent) || !<-lent.back || !c.enter(phaseBusy) {
		return stepDrop
	}
	return stepWait
}

// dismiss tells a client to come back later, and ends its connection.
func (c *conn) dismiss() {
	defer c.leave()
	if c.raw == nil {
		refuse(c.stream(), len(c.carry) == 0)
		return
	}
	c.owed = [][]byte{[]byte(refusalTo(bytes.HasPrefix(c.carry, []byte("HEAD ")), true))}
	if c.settle() {
		c.linger()
	}
}
