package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	// maxRefusals bounds the connections that are being told to come back
	// later; who comes beyond that too is closed without a word.
	maxRefusals = 64
	// refusalTimeout is how long telling one may take.
	refusalTimeout = 500 * time.Millisecond
	// minAcceptPause and acceptPauseMost bound the wait after a failed accept: for
	// want of file descriptors as a rule, which come free when clients go.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
	// fullPause is how long newcomers wait in the kernel after one that was
	// closed because so many are being told already.
	fullPause = 20 * time.Millisecond
	// arrivalBurst connections may come at once before they are spread to
	// Config.NewConnections a second: what the kernel's backlog would hold anyway.
	arrivalBurst = 128
)

// refusalPage is for people: it fits a phone, and says when to try again.
const refusalPage = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Busy</title>` +
	`<h1>One moment</h1><p>More people are here than this shop can hold. Try again in 5 seconds.</p>` + "</html>"

// refusalFields go before it. 5 s: what a page takes to be pressed again, and
// long enough for a crowd to thin.
const refusalFields = "HTTP/1.1 503 Service Unavailable\r\n" +
	"Content-Type: text/html; charset=utf-8\r\n" +
	"Content-Length: 203\r\n" +
	"Cache-Control: no-store\r\n" +
	"Retry-After: 5\r\n"

// Whole replies, ready to send: the last of a connection, and one after which it
// stays, for that costs less than a new connection. To HEAD there is no page.
const (
	refusalHead     = refusalFields + "Connection: close\r\n\r\n"
	refusal         = refusalHead + refusalPage
	refusalKeptHead = refusalFields + "\r\n"
	refusalKept     = refusalKeptHead + refusalPage
)

// refusalFor is the refusal of a HEAD or of another request, the last of its
// connection or not.
func refusalFor(head, last bool) string {
	switch {
	case head && last:
		return refusalHead
	case head:
		return refusalKeptHead
	case last:
		return refusal
	}
	return refusalKept
}

// arrival is a connection that has just been accepted.
type arrival struct {
	conn    net.Conn // nil: fd
	fd      int      // does not block
	address netip.AddrPort
}

// connAcceptor accepts until it and its listener are closed; then its error is
// net.ErrClosed.
type connAcceptor interface {
	acceptConn() (arrival, error)
	io.Closer
}

// netAcceptor accepts as package net does.
type netAcceptor struct{ from net.Listener }

func (n netAcceptor) acceptConn() (arrival, error) {
	inner, err := n.from.Accept()
	if err != nil {
		return arrival{}, err
	}
	return arrival{conn: inner, fd: -1, address: addressOf(inner)}, nil
}

// Close does nothing: the listener is closed by who has opened it.
func (netAcceptor) Close() error { return nil }

// acceptConns takes connections in until the listener is closed.
func (f *Front) acceptConns(ctx context.Context, from connAcceptor, secure bool) error {
	var pause time.Duration
	var told time.Time // when a failure was last logged
	pace := arrivalPacer{rate: f.cfg.NewConnections}
	for n := 1; ; n++ {
		came, err := from.acceptConn()
		switch {
		case err == nil:
			pause = 0
			held := f.admitConn(came, secure)
			// Who would come too fast waits in the kernel, which costs nothing.
			if n%acceptsPerHold == 0 {
				held = max(held, acceptHold(f.gate.currentPressure()))
			}
			sleepContext(ctx, max(held, pace.delayNext(time.Now())))
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return err
		default:
			pause = min(max(pause*2, minAcceptPause), maxAcceptPause)
			if now := time.Now(); now.Sub(told) >= maxAcceptPause {
				told = now
				f.cfg.Logger.Warn("public pages: a connection could not be accepted, trying again", "error", err, "pause", pause)
			}
			sleepContext(ctx, pause)
		}
	}
}

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

// arrivalPacer spreads arrivals.
type arrivalPacer struct {
	rate int // a second; 0: as they come
	due  time.Time
}

// delayNext notes an arrival and gives the pause before the next may be taken in.
func (p *arrivalPacer) delayNext(now time.Time) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	gap := time.Second / time.Duration(p.rate)
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(gap)
	return p.due.Sub(now) - arrivalBurst*gap
}

// admitConn gives a connection its place, or sends it away: with a word, or without
// one if its client comes too often or too many are being told. It gives the time
// for which the next is to wait.
func (f *Front) admitConn(came arrival, secure bool) time.Duration {
	who := f.limits.keyOf(came.address.Addr())
	switch {
	case !f.limits.allowConn(who):
		f.refused.Add(1)
		came.close()
	case f.conns.open.Load() >= int64(f.cfg.MaxConnections):
		f.refused.Add(1)
		if secure {
			came.close() // a word would take a handshake
			return fullPause
		}
		return f.refuseConn(came)
	default:
		f.serveConn(&conn{front: f, socket: came.conn, fd: came.fd, address: came.address, client: who}, secure)
	}
	return 0
}

// serveConn has a connection served.
func (f *Front) serveConn(c *conn, secure bool) {
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
	if secure {
		f.serving.Go(c.handshake)
		return
	}
	f.serving.Go(c.serveOnGoroutine)
}

// addressOf is a client's address, the zero one if it has none.
func addressOf(inner net.Conn) netip.AddrPort {
	if tcp, ok := inner.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// close closes a connection that nobody has taken in.
func (a arrival) close() {
	if a.conn == nil {
		sysClose(a.fd)
		return
	}
	a.conn.Close()
}

// refuseConn tells a client to come back later. If too many are being told, it is
// closed, and those behind it wait in the kernel for a moment: to take them in
// only to close them would cost those who are served.
func (f *Front) refuseConn(came arrival) time.Duration {
	select {
	case f.refusals <- struct{}{}:
		f.serving.Go(func() {
			inner := came.conn
			if inner == nil {
				inner = newFDConn(came.fd, came.address, f.Addr())
			}
			writeRefusal(inner, true)
			inner.Close()
			<-f.refusals
		})
	default:
		came.close()
		return fullPause
	}
	return 0
}

// writeRefusal tells a client to come back later. If nothing of its request has been
// read, that comes first: closing a connection over unread bytes resets it, and
// the client would lose the reply.
func writeRefusal(conn net.Conn, unread bool) {
	if conn.SetDeadline(time.Now().Add(refusalTimeout)) != nil {
		return
	}
	if unread {
		var request [4 << 10]byte
		if _, err := conn.Read(request[:]); err != nil {
			return
		}
	}
	// An error here leaves nothing to do: the client has gone.
	_, _ = conn.Write([]byte(refusal))
}

// refuseViaNetHTTP is the refusal by way of net/http.
func refuseViaNetHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", "5")
	if r.ProtoMajor == 1 { // a new connection with HTTP/2 would cost a handshake
		h.Set("Connection", "close")
	}
	limitRefusal(w, r)
	w.WriteHeader(http.StatusServiceUnavailable)
	// An error here leaves nothing to do: the client has gone.
	_, _ = io.WriteString(w, refusalPage)
}
