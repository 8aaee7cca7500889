package front

import (
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
	for {
		if !c.await() {
			c.leave()
			return
		}
		if len(c.owed) > 0 && !c.settle() {
			c.leave()
			return
		}
		switch c.next {
		case stepGive:
			c.give()
			return
		case stepLend:
			if !c.lend() || !c.enter(phaseBusy) {
				c.leave()
				return
			}
		case stepClose:
			c.linger()
			c.leave()
			return
		}
		c.again = len(c.carry) > 0
	}
}

// give leaves the connection, and what was read of it, to net/http.
func (c *conn) give() {
	given := &given{conn: c, Conn: c.tcp, carry: c.carry}
	c.carry = nil
	c.front.given.Add(1)
	if !c.enter(phaseAway) || !c.front.handed.deliver(given) {
		c.leave()
	}
}

// lend has net/http answer the request at the start of carry, and reports
// whether the connection can go on.
func (c *conn) lend() bool {
	if !c.enter(phaseAway) {
		return false
	}
	c.front.lent.Add(1)
	lent := newLoan(c, c.carry[:c.size:c.size])
	c.carry = c.carry[c.size:]
	if !c.front.handed.deliver(lent) {
		return false
	}
	return <-lent.back
}
