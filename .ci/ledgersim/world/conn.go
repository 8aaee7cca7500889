package main

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn is one end of a stream between two boards.
type conn struct {
	board *boardRun
	peer  *conn
	in    *pipe
	out   *pipe
}

func newConns(n *network, dialer, acceptor *boardRun, acceptorName string) (near, far *conn) {
	out, back := link{dialer.name, acceptorName}, link{acceptorName, dialer.name}
	a, b := newPipe(n, out), newPipe(n, back)
	near, far = &conn{board: dialer, in: b, out: a}, &conn{board: acceptor, in: a, out: b}
	near.peer, far.peer = far, near
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, near, far)
	return near, far
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close implements net.Conn. The other end still reads what is on its way.
func (c *conn) Close() error {
	c.in.close(true)
	c.out.close(false)
	return nil
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline implements net.Conn: a write never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return boardAddr(c.board.name) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return boardAddr(c.peer.board.name) }

type boardAddr string

// Network implements net.Addr.
func (boardAddr) Network() string { return "rack" }

func (b boardAddr) String() string { return string(b) }

// pipe is one direction of a stream. What is written arrives in order, after the link's
// delay. It waits while the link is cut or held, as TCP does.
type pipe struct {
	net  *network
	link link

	mu       sync.Mutex // guards all below
	packets  []packet
	isClosed bool // no more is written
	isDeaf   bool // the reader has closed
	deadline time.Time
	changed  chan struct{}
}

type packet struct {
	at time.Time // when it arrives
	b  []byte
}

func newPipe(n *network, l link) *pipe { return &pipe{net: n, link: l, changed: make(chan struct{})} }

// notifyLocked wakes the reader. p.mu is held.
func (p *pipe) notifyLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) write(b []byte) (int, error) {
	delay, _ := p.net.drawLatency(p.link)
	at := time.Now().Add(delay)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed || p.isDeaf {
		return 0, net.ErrClosed
	}
	if n := len(p.packets); n > 0 && p.packets[n-1].at.After(at) {
		at = p.packets[n-1].at
	}
	p.packets = append(p.packets, packet{at, append([]byte(nil), b...)})
	p.notifyLocked()
	return len(b), nil
}

func (p *pipe) close(byReader bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if byReader {
		p.isDeaf = true
	} else {
		p.isClosed = true
	}
	p.notifyLocked()
}

func (p *pipe) setDeadline(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	p.notifyLocked()
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		n, wait, err := p.tryRead(b)
		if wait == nil {
			return n, err
		}
		wait()
	}
}

// tryRead reads what has arrived. If nothing has, wait waits for a reason to try again.
func (p *pipe) tryRead(b []byte) (n int, wait func(), err error) {
	state, released := p.net.stateOf(p.link)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	until := p.deadline
	switch {
	case p.isDeaf:
		return 0, nil, net.ErrClosed
	case !p.deadline.IsZero() && !now.Before(p.deadline):
		return 0, nil, os.ErrDeadlineExceeded
	case state.isCut || state.isHeld || state.stalls:
	case len(p.packets) > 0 && !now.Before(p.packets[0].at):
		first := &p.packets[0]
		n := copy(b, first.b)
		if first.b = first.b[n:]; len(first.b) == 0 {
			p.packets = p.packets[1:]
		}
		return n, nil, nil
	case len(p.packets) > 0:
		if until.IsZero() || p.packets[0].at.Before(until) {
			until = p.packets[0].at
		}
	case p.isClosed:
		return 0, nil, io.EOF
	}
	changed := p.changed
	return 0, func() {
		var timer <-chan time.Time
		if !until.IsZero() {
			t := time.NewTimer(until.Sub(now))
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-changed:
		case <-released:
		case <-timer:
		}
	}, nil
}
