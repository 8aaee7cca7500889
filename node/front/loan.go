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

// netHTTPListener is the listener by which net/http gets connections from the lane.
type netHTTPListener struct {
	conns  chan net.Conn // never closed
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func newNetHTTPListener(addr net.Addr) *netHTTPListener {
	return &netHTTPListener{conns: make(chan net.Conn), closed: make(chan struct{}), addr: addr}
}

// deliver hands a connection over. It reports false if nobody takes any more.
func (h *netHTTPListener) deliver(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.closed:
		return false
	}
}

// Accept returns the next connection.
func (h *netHTTPListener) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (h *netHTTPListener) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr is the public listener's.
func (h *netHTTPListener) Addr() net.Addr { return h.addr }

// trackConnState notes what net/http does with a connection.
func trackConnState(inner net.Conn, state http.ConnState) {
	switch one := inner.(type) {
	case *tls.Conn:
		if w, ok := one.NetConn().(*tlsTransport); ok {
			w.conn.trackConnState(state)
		}
	case *handoff:
		one.conn.trackConnState(state)
		if state == http.StateIdle {
			one.conn.front.gate.setSilent(one, true)
		}
	case *loan:
		if state == http.StateIdle {
			one.isIdle.Store(true)
		}
	}
}

// trackConnState notes the same of a connection that is net/http's for good. One that the
// sweep has ended is closed, which net/http notices.
func (c *conn) trackConnState(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.unflushedReplies.Store(0)
		c.enterState(stateNetHTTP)
	case http.StateIdle:
		c.enterState(stateNetHTTPIdle)
	}
}

// handoff is a connection that net/http serves from now on.
type handoff struct {
	net.Conn
	conn         *conn
	pendingInput []byte      // what the lane has read
	isCounted    atomic.Bool // by the gate, until it is closed
	slot         atomic.Pointer[slot]
	silentEntry  *list.Element // guarded by gate.mu: its entry there, while it waits
}

// Read gives what the lane has read first.
func (g *handoff) Read(p []byte) (int, error) {
	if len(g.pendingInput) == 0 {
		return g.Conn.Read(p)
	}
	n := copy(p, g.pendingInput)
	if g.pendingInput = g.pendingInput[n:]; len(g.pendingInput) == 0 {
		g.pendingInput = nil
	}
	return n, nil
}

// Write sends a part of a reply.
func (g *handoff) Write(p []byte) (int, error) {
	return g.slot.Load().write(g.Conn, g.conn.front.cfg.WriteTimeout, p)
}

// CloseWrite closes this side.
func (g *handoff) CloseWrite() error { return closeWrite(g.Conn) }

// Close gives the place in the table back.
func (g *handoff) Close() error {
	g.conn.front.gate.setSilent(g, false)
	if g.isCounted.CompareAndSwap(true, false) {
		g.conn.front.gate.releaseHandoff()
	}
	if g.conn.tls != nil {
		g.Conn.Close() // says that it was the last
	}
	g.conn.closeAndRemove()
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
	conn     *conn
	slot     *slot
	reusable chan bool   // gets one value: whether the lane may go on
	isIdle   atomic.Bool // net/http has finished and would wait for another request

	mu       sync.Mutex // guards what follows
	request  []byte
	returned bool // the lane has it back
	spoilt   bool // a write failed or this side was closed
}

func newLoan(c *conn, place *slot, request []byte) *loan {
	return &loan{conn: c, slot: place, request: request, reusable: make(chan bool, 1)}
}

// Read gives the request. After that it waits until the client goes away, which
// net/http wants to know while it works, or a deadline; once net/http asks for
// another request there is none.
func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	switch {
	case l.returned:
		l.mu.Unlock()
		return 0, net.ErrClosed
	case len(l.request) > 0:
		n := copy(p, l.request)
		l.request = l.request[n:]
		l.mu.Unlock()
		return n, nil
	}
	l.mu.Unlock()
	if l.isIdle.Load() {
		return 0, io.EOF
	}
	return 0, l.awaitClientEnd()
}

// awaitClientEnd waits for the end of what the client sends, without taking any of it.
func (l *loan) awaitClientEnd() error {
	over := hasClientEnded
	if l.conn.tls != nil {
		over = hasTLSClientEnded
	}
	err := l.conn.raw.Read(over)
	if err == nil {
		err = io.EOF
	}
	return err
}

// Write sends a part of the reply.
func (l *loan) Write(p []byte) (int, error) {
	if l.isReturned() {
		return 0, net.ErrClosed
	}
	n, err := l.slot.write(l.conn.replyConn(), l.conn.front.cfg.WriteTimeout, p)
	if err != nil {
		l.markSpoilt()
	}
	return n, err
}

// CloseWrite closes this side.
func (l *loan) CloseWrite() error {
	if l.isReturned() {
		return net.ErrClosed
	}
	l.markSpoilt()
	return closeWrite(l.conn.replyConn())
}

// Close ends the loan.
func (l *loan) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.returned {
		return nil
	}
	l.returned = true
	// Nothing of net/http's may be left on the socket.
	ok := l.isIdle.Load() && !l.spoilt && len(l.request) == 0 && l.conn.socket.SetDeadline(time.Time{}) == nil
	l.reusable <- ok
	return nil
}

func (l *loan) isReturned() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.returned
}

func (l *loan) markSpoilt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spoilt = true
}

// LocalAddr is the connection's.
func (l *loan) LocalAddr() net.Addr { return l.conn.socket.LocalAddr() }

// RemoteAddr is the connection's.
func (l *loan) RemoteAddr() net.Addr { return l.conn.socket.RemoteAddr() }

// SetDeadline sets both deadlines, until the loan is over.
func (l *loan) SetDeadline(t time.Time) error { return l.setDeadline(l.conn.socket.SetDeadline, t) }

// SetReadDeadline sets the deadline of reads, until the loan is over.
func (l *loan) SetReadDeadline(t time.Time) error {
	return l.setDeadline(l.conn.socket.SetReadDeadline, t)
}

// SetWriteDeadline sets the deadline of writes, until the loan is over.
func (l *loan) SetWriteDeadline(t time.Time) error {
	return l.setDeadline(l.conn.socket.SetWriteDeadline, t)
}

func (l *loan) setDeadline(set func(time.Time) error, t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.returned {
		return net.ErrClosed
	}
	return set(t)
}
