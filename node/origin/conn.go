package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// strictConn is a connection to an origin that gives net/http only what the
// scanner has accepted. For https it lies above TLS.
type strictConn struct {
	net.Conn

	mu     sync.Mutex // guards what follows
	scan   replyScanner
	broken error
	stale  bool // nothing more may be sent over it
}

// errStale is what net/http is told of a kept connection that is not to be used.
var errStale = errors.New("a kept connection of a server that has just closed another")

// Write sends a request's bytes. net/http gives up a connection that takes none
// of them, and sends the request over another.
func (c *strictConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	stale := c.stale
	c.mu.Unlock()
	if stale {
		return 0, errStale
	}
	return c.Conn.Write(p)
}

// markStale has the connection take nothing more.
func (c *strictConn) markStale() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = true
}

// expectReply says that a request is about to be sent over the connection.
func (c *strictConn) expectReply(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.scan.expectReply(method); err != nil && c.broken == nil {
		c.broken = err
	}
}

// Read gives what has come up to the first byte that is wrong, then an error
// that matches ErrMalformed for ever.
func (c *strictConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	broken := c.broken
	c.mu.Unlock()
	if broken != nil {
		return 0, broken
	}
	n, err := c.Conn.Read(p) // not under the lock: on an idle connection it waits
	c.mu.Lock()
	defer c.mu.Unlock()
	good, bad := c.scan.feed(p[:n])
	if bad == nil {
		return n, err
	}
	c.broken = bad
	if good > 0 {
		return good, nil
	}
	return 0, bad
}

// exchange is one request and the connection that it went over at last.
type exchange struct{ conn atomic.Pointer[strictConn] }

// withTrace marks each connection that the request is sent on, a second one after a
// kept connection turned out to be closed included. That one must be new:
// net/http would go on through all that are kept, and a server that closes on
// what is asked would be asked it as often.
func (e *exchange) withTrace(ctx context.Context, method string) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		conn, ok := info.Conn.(*strictConn)
		if !ok {
			return
		}
		if e.conn.Load() != nil && info.Reused {
			conn.markStale()
			return
		}
		conn.expectReply(method)
		e.conn.Store(conn)
	}})
}

// restoreConnectionField gives a reply the Connection field that net/http takes out where it
// says close, and with it the names of the fields that must go no further
// (RFC 9110 §7.6.1). No other request was sent over such a connection since.
func (e *exchange) restoreConnectionField(resp *http.Response) {
	conn := e.conn.Load()
	if conn == nil || !resp.Close || resp.Header["Connection"] != nil {
		return
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if len(conn.scan.listed) > 0 {
		resp.Header["Connection"] = conn.scan.listed
	}
}

// preferScanError puts what the scanner refused in the place of what net/http made of
// the piece before it.
func (e *exchange) preferScanError(err error) error {
	conn := e.conn.Load()
	if conn == nil || err == nil || err == io.EOF {
		return err
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.broken != nil {
		return conn.broken
	}
	return err
}

// dialer opens strict connections. Each step has the connect timeout.
type dialer struct {
	timeout time.Duration
	tls     *tls.Config
	// onResult hears of each attempt, for the origin's health.
	onResult func(error)
}

func (d *dialer) dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.dial(ctx, network, addr, nil)
}

func (d *dialer) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	cfg := d.tls.Clone()
	cfg.ServerName, cfg.NextProtos = host, []string{"http/1.1"}
	return d.dial(ctx, network, addr, cfg)
}

func (d *dialer) dial(ctx context.Context, network, addr string, secure *tls.Config) (net.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(bounded, network, addr)
	if err == nil && secure != nil {
		client := tls.Client(conn, secure)
		if err = client.HandshakeContext(bounded); err != nil {
			conn.Close()
		}
		conn = client
	}
	if err != nil {
		err = dialError{err}
	}
	if ctx.Err() == nil {
		d.onResult(err)
	}
	if err != nil {
		return nil, err
	}
	return &strictConn{Conn: conn}, nil
}
