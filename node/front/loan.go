package front

import (
	"container/list"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// handed is the listener by which net/http gets connections from the lane.
type handed struct {
	conns  chan net.Conn // never closed
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func newHanded(addr net.Addr) *handed {
	return &handed{conns: make(chan net.Conn), closed: make(chan struct{}), addr: addr}
}

// deliver hands a connection over. It reports false if nobody takes any more.
func (h *handed) deliver(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.closed:
		return false
	}
}

// Accept returns the next connection.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr is the public listener's.
func (h *handed) Addr() net.Addr { return h.addr }

// follow notes what net/http does with a connection.
func follow(inner net.Conn, state http.ConnState) {
	switch one := inner.(type) {
	case *tls.Conn:
		if w, ok := one.NetConn().(*wire); ok {
			w.conn.follow(state)
		}
	case *given:
		one.conn.follow(state)
		if state == http.StateIdle {
			one.conn.front.gate.waits(one, true)
		}
	case *loan:
		if state == http.StateIdle {
			one.idle.Store(true)
		}
	}
}

// follow notes the same of a connection that is net/http's for good. One that the
// sweep has ended is closed, which net/http notices.
func (c *conn) follow(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.tails.Store(0)
		c.enter(phaseAway)
	case http.StateIdle:
		c.enter(phaseAwayIdle)
	}
}

// given is a connection that net/http serves from now on.
type given struct {
	net.Conn
	conn    *conn
	carry   []byte      // what the lane has read
	counted atomic.Bool // by the gate, until it is closed
	place   atomic.Pointer[place]
	silent  *list.Element // guarded by gate.mu: its entry there, while it waits
}

// Read gives what the lane has read first.
func (g *given) Read(p []byte) (int, error) {
	if len(g.carry) == 0 {
		return g.Conn.Read(p)
	}
	n := copy(p, g.carry)
	if g.carry = g.carry[n:]; len(g.carry) == 0 {
		g.carry = nil
	}
	return n, nil
}

// Write sends a part of a reply.
func (g *given) Write(p []byte) (int, error) {
	return g.place.Load().send(g.Conn, g.conn.front.cfg.WriteTimeout, p)
}

// CloseWrite closes this side.
func (g *given) CloseWrite() error { return closeWrite(g.Conn) }

// Close gives the place in the table back.
func (g *given) Close() error {
	g.conn.front.gate.waits(g, false)
	if g.counted.CompareAndSwap(true, false) {
		g.conn.front.gate.leaveGiven()
	}
	if g.conn.secure != nil {
		g.Conn.Close() // says that it was the last
	}
	g.conn.leave()
	return nil
}

func closeWrite(c net.Conn) error {
	if tcp, ok := c.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return net.ErrClosed
}

// loan is a connection as net/http sees it for one request that the lane has
// read to its end. net/http never gets a byte behind that: there is none for it.
// It comes back only if net/http says itself that the reply has gone out whole
// and that the connection may be used again.
type loan struct {
	conn  *conn
	place *place
	back  chan bool   // gets one value: whether the lane may go on
	idle  atomic.Bool // net/http has finished and would wait for another request

	mu      sync.Mutex // guards what follows
	request []byte
	over    bool // the lane has it back
	spoilt  bool // a write failed or this side was closed
}

func newLoan(c *conn, place *place, request []byte) *loan {
	return &loan{conn: c, place: place, request: request, back: make(chan bool, 1)}
}

// Read gives the request. After that it waits until the client goes away, which
// net/http wants to know while it works, or a deadline; once net/http asks for
// another request there is none.
func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	switch {
	case l.over:
		l.mu.Unlock()
		return 0, net.ErrClosed
	case len(l.request) > 0:
		n := copy(p, l.request)
		l.request = l.request[n:]
		l.mu.Unlock()
		return n, nil
	}
	l.mu.Unlock()
	if l.idle.Load() {
		return 0, io.EOF
	}
	return 0, l.awaitEnd()
}

// awaitEnd waits for the end of what the client sends, without taking any of it.
func (l *loan) awaitEnd() error {
	over := ended
	if l.conn.secure != nil {
		over = endedSecure
	}
	err := l.conn.raw.Read(over)
	if err == nil {
		err = io.EOF
	}
	return err
}

// Write sends a part of the reply.
func (l *loan) Write(p []byte) (int, error) {
	if l.isOver() {
		return 0, net.ErrClosed
	}
	n, err := l.place.send(l.conn.stream(), l.conn.front.cfg.WriteTimeout, p)
	if err != nil {
		l.spoil()
	}
	return n, err
}

// CloseWrite closes this side.
func (l *loan) CloseWrite() error {
	if l.isOver() {
		return net.ErrClosed
	}
	l.spoil()
	return closeWrite(l.conn.stream())
}

// Close ends the loan.
func (l *loan) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil
	}
	l.over = true
	// Nothing of net/http's may be left on the socket.
	ok := l.idle.Load() && !l.spoilt && len(l.request) == 0 && l.conn.tcp.SetDeadline(time.Time{}) == nil
	l.back <- ok
	return nil
}

func (l *loan) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

func (l *loan) spoil() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spoilt = true
}

// LocalAddr is the connection's.
func (l *loan) LocalAddr() net.Addr { return l.conn.tcp.LocalAddr() }

// RemoteAddr is the connection's.
func (l *loan) RemoteAddr() net.Addr { return l.conn.tcp.RemoteAddr() }

// SetDeadline sets both deadlines, until the loan is over.
func (l *loan) SetDeadline(t time.Time) error { return l.deadline(l.conn.tcp.SetDeadline, t) }

// SetReadDeadline sets the deadline of reads, until the loan is over.
func (l *loan) SetReadDeadline(t time.Time) error { return l.deadline(l.conn.tcp.SetReadDeadline, t) }

// SetWriteDeadline sets the deadline of writes, until the loan is over.
func (l *loan) SetWriteDeadline(t time.Time) error { return l.deadline(l.conn.tcp.SetWriteDeadline, t) }

func (l *loan) deadline(set func(time.Time) error, t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return net.ErrClosed
	}
	return set(t)
}
