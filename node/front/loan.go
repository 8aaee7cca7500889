package front

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"bramble/node/front/admission"
)

// loan is a borrowed connection: net/http sees it for one request that the fast path has
// read to its end, and then it comes back. net/http never gets a byte after that request.
// The connection comes back only if net/http itself reports that the reply has gone out
// whole and that the connection may be used again.
type loan struct {
	conn     *conn
	permit   *admission.Permit
	reusable chan bool   // receives one value: whether the fast path may go on
	isIdle   atomic.Bool // net/http has finished and would wait for another request

	mu       sync.Mutex // guards what follows
	request  []byte
	returned bool // the fast path has it back
	spoilt   bool // a write failed or this side was closed
}

func newLoan(c *conn, permit *admission.Permit, request []byte) *loan {
	return &loan{conn: c, permit: permit, request: request, reusable: make(chan bool, 1)}
}

// Read returns the request. After that it waits until the client has closed its side,
// which net/http watches for while it works, or for a deadline. Once net/http waits for
// another request it returns io.EOF.
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

// awaitClientEnd waits until the client has closed its side, and reads nothing.
func (l *loan) awaitClientEnd() error {
	hasEnded := hasClientEnded
	if l.conn.tls != nil {
		hasEnded = hasTLSClientEnded
	}
	err := l.conn.raw.Read(hasEnded)
	if err == nil {
		err = io.EOF
	}
	return err
}

func (l *loan) Write(p []byte) (int, error) {
	if l.isReturned() {
		return 0, net.ErrClosed
	}
	n, err := l.permit.Write(l.conn.replyConn(), l.conn.front.cfg.WriteTimeout, p)
	if err != nil {
		l.markSpoilt()
	}
	return n, err
}

func (l *loan) CloseWrite() error {
	if l.isReturned() {
		return net.ErrClosed
	}
	l.markSpoilt()
	return closeWrite(l.conn.replyConn())
}

func (l *loan) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.returned {
		return nil
	}
	l.returned = true
	// No deadline of net/http's may be left on the socket.
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

func (l *loan) LocalAddr() net.Addr  { return l.conn.socket.LocalAddr() }
func (l *loan) RemoteAddr() net.Addr { return l.conn.socket.RemoteAddr() }

func (l *loan) SetDeadline(t time.Time) error { return l.setDeadline(l.conn.socket.SetDeadline, t) }

func (l *loan) SetReadDeadline(t time.Time) error {
	return l.setDeadline(l.conn.socket.SetReadDeadline, t)
}

func (l *loan) SetWriteDeadline(t time.Time) error {
	return l.setDeadline(l.conn.socket.SetWriteDeadline, t)
}

// setDeadline sets a deadline unless the loan is over.
func (l *loan) setDeadline(set func(time.Time) error, t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.returned {
		return net.ErrClosed
	}
	return set(t)
}
