package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"bramble/node/front/admission"
)

const (
	// minAcceptPause and maxAcceptPause limit the pause after a failed accept. As a rule
	// file descriptors are lacking, which come free when clients leave.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
	// fullPause is the pause after a client was closed because too many are being refused
	// already. New clients wait in the kernel meanwhile.
	fullPause = 20 * time.Millisecond
)

// arrival is a connection that has just been accepted.
type arrival struct {
	conn    net.Conn // nil: it is fd
	fd      int      // does not block
	address netip.AddrPort
}

// close closes a connection that is not served.
func (a arrival) close() {
	if a.conn == nil {
		sysClose(a.fd)
		return
	}
	a.conn.Close()
}

// connAcceptor accepts until it and its listener are closed; then its error is
// net.ErrClosed.
type connAcceptor interface {
	acceptConn() (arrival, error)
	io.Closer
}

// netAcceptor accepts as package net does.
type netAcceptor struct{ listener net.Listener }

func (n netAcceptor) acceptConn() (arrival, error) {
	inner, err := n.listener.Accept()
	if err != nil {
		return arrival{}, err
	}
	return arrival{conn: inner, fd: -1, address: addressOf(inner)}, nil
}

// Close does nothing: the listener's owner closes it.
func (netAcceptor) Close() error { return nil }

// addressOf returns a client's address, or the zero address if it has none.
func addressOf(inner net.Conn) netip.AddrPort {
	if tcp, ok := inner.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// acceptConns accepts connections until the listener is closed.
func (f *Front) acceptConns(ctx context.Context, acceptor connAcceptor, overTLS bool) error {
	var pause time.Duration
	var logged time.Time // when a failure was last logged
	pacer := admission.ArrivalPacer{Rate: f.cfg.NewConnections}
	for n := 1; ; n++ {
		accepted, err := acceptor.acceptConn()
		switch {
		case err == nil:
			pause = 0
			hold := f.admitConn(accepted, overTLS)
			// Clients that would arrive too fast wait in the kernel, which costs nothing.
			if n%admission.AcceptsPerHold == 0 {
				hold = max(hold, admission.AcceptHold(f.gate.Pressure()))
			}
			sleepContext(ctx, max(hold, pacer.DelayNext(time.Now())))
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return err
		default:
			pause = min(max(pause*2, minAcceptPause), maxAcceptPause)
			if now := time.Now(); now.Sub(logged) >= maxAcceptPause {
				logged = now
				f.cfg.Logger.Warn("public pages: a connection could not be accepted, trying again", "error", err, "pause", pause)
			}
			sleepContext(ctx, pause)
		}
	}
}

// sleepContext sleeps until ctx ends at the latest.
func sleepContext(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// admitConn serves or refuses a connection. A client that connects too often is closed
// without a reply. It returns the pause before the next accept.
func (f *Front) admitConn(accepted arrival, overTLS bool) time.Duration {
	client := f.limits.KeyOf(accepted.address.Addr())
	switch {
	case !f.limits.AllowConn(client):
		f.refused.Add(1)
		accepted.close()
	case f.conns.open.Load() >= int64(f.cfg.MaxConnections):
		f.refused.Add(1)
		if overTLS {
			accepted.close() // a reply would take a handshake
			return fullPause
		}
		return f.refuseConn(accepted)
	default:
		f.serveConn(&conn{front: f, socket: accepted.conn, fd: accepted.fd, address: accepted.address, client: client}, overTLS)
	}
	return 0
}

// serveConn starts to serve a connection, on an event loop if it is a bare descriptor.
func (f *Front) serveConn(c *conn, overTLS bool) {
	if c.socket == nil {
		c.loop = f.loops[c.fd%len(f.loops)]
		f.conns.add(c)
		if !c.loop.attach(c, c.fd) {
			c.closeAndRemove()
		}
		return
	}
	if f.cfg.FastHandler != nil {
		c.raw = rawConnOf(c.socket)
	}
	f.conns.add(c)
	if overTLS {
		f.https.negotiating.Add(1)
		f.serving.Go(c.handshake)
		return
	}
	f.serving.Go(c.serveOnGoroutine)
}

// refuseConn sends a client a refusal. If too many clients are being refused already, it
// only closes the connection, and those behind it wait in the kernel for a moment:
// accepting them to close them at once would cost the clients that are served.
func (f *Front) refuseConn(accepted arrival) time.Duration {
	if !f.refusals.TryAcquire(1) {
		accepted.close()
		return fullPause
	}
	f.serving.Go(func() {
		defer f.refusals.Release(1)
		inner := accepted.conn
		if inner == nil {
			inner = newFDConn(accepted.fd, accepted.address, f.Addr())
		}
		writeRefusal(inner, true)
		inner.Close()
	})
	return 0
}
