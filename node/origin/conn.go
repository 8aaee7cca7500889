package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// strictConn is a connection to an origin that passes to net/http only what the
// scanner has accepted. For https it is above TLS.
type strictConn struct {
	net.Conn
	release func() // lets the dialer open another connection

	mu     sync.Mutex // guards what follows
	scan   replyScanner
	broken error // the scanner's error, if it has refused a byte
	stale  bool  // nothing more may be sent over it
}

// Close closes the connection before another may be opened. net/http itself dials the
// next one as soon as it has decided to close this one.
func (c *strictConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// errStale is net/http's error for an idle connection that must not be reused.
var errStale = errors.New("an idle connection to a server that has just closed another")

// Write sends a request's bytes. If a connection accepts none of them, net/http
// drops it and sends the request over another.
func (c *strictConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	stale := c.stale
	c.mu.Unlock()
	if stale {
		return 0, errStale
	}
	return c.Conn.Write(p)
}

// expectReply prepares the scanner for the reply to a request that is about to be sent.
func (c *strictConn) expectReply(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.scan.expectReply(method); err != nil && c.broken == nil {
		c.broken = err
	}
}

// Read returns what has arrived, up to the first wrong byte. From then on it
// returns an error that matches ErrMalformed.
func (c *strictConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	broken := c.broken
	c.mu.Unlock()
	if broken != nil {
		return 0, broken
	}
	n, err := c.Conn.Read(p) // not under the lock: it blocks on an idle connection
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

// exchange is one request, with the last connection that it was sent over.
type exchange struct{ conn atomic.Pointer[strictConn] }

// withTrace prepares each connection that the request is sent over. That can be
// a second one, if an idle connection turned out to be closed. The second must
// be new: net/http would try every idle connection, and a server that closes on
// this request would get it as often.
func (e *exchange) withTrace(ctx context.Context, method string) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		conn, ok := info.Conn.(*strictConn)
		if !ok {
			return
		}
		if e.conn.Load() != nil && info.Reused {
			conn.mu.Lock()
			defer conn.mu.Unlock()
			conn.stale = true // all further writes fail
			return
		}
		conn.expectReply(method)
		e.conn.Store(conn)
	}})
}

// restoreConnectionField restores a reply's Connection field, which net/http
// removes if it contains close. The field names the hop-by-hop fields that must not
// be forwarded (RFC 9110 §7.6.1). No later request used such a connection.
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

// preferScanError returns the scanner's error, if there is one, instead of the
// error that net/http derived from the bytes before it.
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

// dialer opens strict connections. The connect timeout bounds the dial and the
// TLS handshake together.
type dialer struct {
	timeout  time.Duration
	tls      *tls.Config
	dialConn func(ctx context.Context, network, addr string) (net.Conn, error)
	// openConns bounds the connections of all pools, from the dial until they are closed.
	openConns permits
	// onResult gets the result of each attempt, for the origin's health.
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

// dial opens a connection, with TLS if cfg is not nil. It first waits, for at most the
// connect timeout, until no more than the permitted ones are open. The error matches
// ErrBusy if they stay open.
func (d *dialer) dial(ctx context.Context, network, addr string, cfg *tls.Config) (net.Conn, error) {
	if err := d.openConns.acquire(ctx, d.timeout, false); err != nil {
		return nil, fmt.Errorf("the connections to the origin are all in use: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dialConn(bounded, network, addr)
	if err == nil && cfg != nil {
		client := tls.Client(conn, cfg)
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
		d.openConns.release()
		return nil, err
	}
	return &strictConn{Conn: conn, release: sync.OnceFunc(d.openConns.release)}, nil
}
