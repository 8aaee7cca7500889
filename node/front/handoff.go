package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"

	"bramble/node/front/admission"
)

// netHTTPListener is the listener by which net/http gets connections from the fast path.
type netHTTPListener struct {
	conns chan net.Conn   // never closed
	ctx   context.Context // ends with the listener
	close context.CancelFunc
	addr  net.Addr
}

func newNetHTTPListener(addr net.Addr) *netHTTPListener {
	ctx, cancel := context.WithCancel(context.Background())
	return &netHTTPListener{conns: make(chan net.Conn), ctx: ctx, close: cancel, addr: addr}
}

// deliver passes a connection to net/http. It reports false if the listener is closed.
func (l *netHTTPListener) deliver(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.ctx.Done():
		return false
	}
}

func (l *netHTTPListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *netHTTPListener) Close() error {
	l.close()
	return nil
}

func (l *netHTTPListener) Addr() net.Addr { return l.addr }

// trackConnState follows what net/http does with a connection.
func trackConnState(inner net.Conn, state http.ConnState) {
	switch from := inner.(type) {
	case *tls.Conn:
		if transport, ok := from.NetConn().(*tlsTransport); ok {
			transport.conn.trackConnState(state)
		}
	case *handoff:
		from.conn.trackConnState(state)
		if state == http.StateIdle {
			from.conn.front.gate.SilentClients().Add(&from.conn.waitEntry, from.conn.abort)
		}
	case *loan:
		if state == http.StateIdle {
			from.isIdle.Store(true)
		}
	}
}

// trackConnState enters the state of a connection that is net/http's for good. A
// connection that the sweep has ended is closed, which net/http notices.
func (c *conn) trackConnState(state http.ConnState) {
	switch {
	case state == http.StateActive:
		c.http2.unflushedReplies.Store(0)
		c.enter(stateNetHTTP)
	case state == http.StateIdle && c.http2.isOpen:
		c.enter(stateHTTP2Idle)
	case state == http.StateIdle:
		c.enter(stateNetHTTPIdle)
	}
}

// handoff is a connection that net/http serves for good.
type handoff struct {
	net.Conn
	conn         *conn
	pendingInput []byte      // what the fast path has read
	isCounted    atomic.Bool // by the gate, until it is closed
	permit       atomic.Pointer[admission.Permit]
}

// Read returns what the fast path has read first.
func (h *handoff) Read(p []byte) (int, error) {
	if len(h.pendingInput) == 0 {
		return h.Conn.Read(p)
	}
	n := copy(p, h.pendingInput)
	if h.pendingInput = h.pendingInput[n:]; len(h.pendingInput) == 0 {
		h.pendingInput = nil
	}
	return n, nil
}

func (h *handoff) Write(p []byte) (int, error) {
	return h.permit.Load().Write(h.Conn, h.conn.front.cfg.WriteTimeout, p)
}

func (h *handoff) CloseWrite() error { return closeWrite(h.Conn) }

// Close removes the connection from the table.
func (h *handoff) Close() error {
	h.conn.front.gate.SilentClients().Remove(&h.conn.waitEntry)
	if h.isCounted.CompareAndSwap(true, false) {
		h.conn.front.gate.ReleaseHandoff()
	}
	if h.conn.tls != nil {
		h.Conn.Close() // sends close_notify
	}
	h.conn.closeAndRemove()
	return nil
}

func closeWrite(c net.Conn) error {
	if tcp, ok := c.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return net.ErrClosed
}
