package front

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxRefusing bounds the connections that are being told to come back
	// later; who comes beyond that too is closed without a word.
	maxRefusing = 64
	// refuseTime is how long telling one may take.
	refuseTime = 500 * time.Millisecond
)

// refusal is a whole reply, ready to send. 5 s: what a page takes to be
// pressed again, and long enough for a crowd to thin.
const refusal = "HTTP/1.1 503 Service Unavailable\r\n" +
	"Content-Type: text/html; charset=utf-8\r\n" +
	"Content-Length: 203\r\n" +
	"Cache-Control: no-store\r\n" +
	"Retry-After: 5\r\n" +
	"Connection: close\r\n\r\n" +
	`<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Busy</title>` +
	`<h1>One moment</h1><p>More people are here than this shop can hold. Try again in 5 seconds.</p>` + "</html>"

// limitListener holds the number of open connections to a bound.
type limitListener struct {
	net.Listener
	limit    int64
	open     atomic.Int64
	refused  atomic.Int64
	refusing chan struct{}
	wg       sync.WaitGroup
}

func newLimitListener(inner net.Listener, limit int) *limitListener {
	return &limitListener{Listener: inner, limit: int64(limit), refusing: make(chan struct{}, maxRefusing)}
}

// Accept returns the next connection that fits the bound.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.limit {
			return &countedConn{Conn: conn, open: &l.open}, nil
		}
		l.open.Add(-1)
		l.refused.Add(1)
		select {
		case l.refusing <- struct{}{}:
			l.wg.Go(func() {
				refuse(conn)
				<-l.refusing
			})
		default:
			conn.Close()
		}
	}
}

// Close stops accepting and waits for refusals under way.
func (l *limitListener) Close() error {
	err := l.Listener.Close()
	l.wg.Wait()
	return err
}

// refuse reads what the client has sent before it answers: closing a
// connection over unread bytes resets it, and the client would lose the reply.
func refuse(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(refuseTime)) != nil {
		return
	}
	var request [4 << 10]byte
	if _, err := conn.Read(request[:]); err != nil {
		return
	}
	// An error here leaves nothing to do: the client has gone.
	_, _ = conn.Write([]byte(refusal))
}

// countedConn gives its place back once.
type countedConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.open.Add(-1) })
	return err
}
