package front

import (
	"bytes"
	"net"
	"sync/atomic"
	"syscall"
)

// conn is one client's connection. The lane serves it on a goroutine of its own,
// which lends it to net/http for single requests, or leaves it there for good.
type conn struct {
	front  *Front
	tcp    net.Conn
	raw    syscall.RawConn // nil: no lane here, net/http serves it from the start
	secure *secured        // nil: no TLS, or no handshake yet
	h2     bool            // it counts as one that speaks HTTP/2
	client client

	word atomic.Uint32 // phase (table.go)
	at   int           // guarded by table.mu

	// What follows belongs to whoever serves the connection.

	next  step
	size  int      // of the request that comes next, for stepLend
	carry []byte   // what was read of requests that are not answered yet
	owed  [][]byte // what the client has not taken of its replies
	// again: carry is to be read before more is waited for.
	again bool
	since uint32 // the sweep at which the request in carry began to come

	gone atomic.Bool // out of the table
}

// end closes the socket; whoever serves the connection notices.
func (c *conn) end() { c.tcp.Close() }

// leave closes the connection and gives its place back, once.
func (c *conn) leave() {
	if c.gone.CompareAndSwap(false, true) {
		c.tcp.Close()
		c.front.table.remove(c)
		if c.h2 {
			c.front.secure.h2.Add(-1)
		}
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
	for c.await() && c.settle() {
		if c.next == stepGive {
			c.give()
			return
		}
		if c.next == stepLend {
			if c.next = c.lend(); !c.settle() {
				break
			}
		}
		if c.next == stepClose {
			c.linger()
		}
		if c.next != stepWait {
			break
		}
		c.again = len(c.carry) > 0
	}
	c.leave()
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
