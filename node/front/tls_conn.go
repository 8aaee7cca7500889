package front

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
)

// tlsState is what a connection has beside its socket if it speaks TLS.
type tlsState struct {
	tls       *tls.Conn
	transport *tlsTransport
	// unsentRecords is ciphertext that the client has not taken, when no cipher is there.
	unsentRecords []byte
}

// tlsTransport is the socket as crypto/tls sees it. While the lane is at work it is two
// pieces of memory, which the lane fills and empties itself, so that a connection
// never waits inside crypto/tls, and one read and one write will do for a request.
// Otherwise it is the socket.
type tlsTransport struct {
	net.Conn
	conn    *conn
	records *recordBuffers // nil: the socket
	// earlyInput was read of the socket before crypto/tls asked for it, when no cipher
	// is there.
	earlyInput []byte
	// isHandshaking: a handshake is under way; turn: and may compute; begun: it has before.
	isHandshaking, mayCompute, hasBegun bool
}

// maxRecordsOut is how much ciphertext is put together for one write, in bytes: two
// records, into which most pages fit.
const maxRecordsOut = 32 << 10

// maxRecord is what fits one record, in bytes (RFC 8446 §5.1).
const maxRecord = 16 << 10

// recordExtra is what a record is longer than what is in it, in bytes, at most
// (RFC 8446 §5.2).
const recordExtra = 5 + 256

// recordBuffers is what the lane needs beside a batch where there is TLS, and no longer.
type recordBuffers struct {
	fd        uintptr
	in        [maxRequest]byte
	inStart   int // of what crypto/tls has not read of in
	inEnd     int
	isDrained bool // nothing more was there when it was looked last
	out       []byte
	plaintext [maxRecord]byte // what goes into one record
}

// recordPool lends ciphers to connections that have bytes.
type recordPool struct{ pool sync.Pool }

func (c *recordPool) get() *recordBuffers {
	if one, ok := c.pool.Get().(*recordBuffers); ok {
		return one
	}
	return &recordBuffers{out: make([]byte, 0, maxRecordsOut+maxRecord+recordExtra)}
}

func (c *recordPool) put(one *recordBuffers) {
	one.inStart, one.inEnd, one.isDrained, one.out = 0, 0, false, one.out[:0]
	c.pool.Put(one)
}

// errDrained is what crypto/tls is told when nothing more has come. It is a time-out,
// after which it can go on (tls.Conn.SetReadDeadline).
type errDrained struct{}

func (errDrained) Error() string   { return "nothing more has come" }
func (errDrained) Timeout() bool   { return true }
func (errDrained) Temporary() bool { return true }

// Read gives crypto/tls what has come.
func (w *tlsTransport) Read(p []byte) (int, error) {
	switch {
	case w.records != nil:
		return w.records.readSocket(p)
	case len(w.earlyInput) > 0:
		n := copy(p, w.earlyInput)
		if w.earlyInput = w.earlyInput[n:]; len(w.earlyInput) == 0 {
			w.earlyInput = nil
		}
		return n, nil
	case w.isHandshaking:
		w.releaseSlot()
		answered := w.conn.front.https.awaitAnswer(w.conn)
		n, err := w.Conn.Read(p)
		answered()
		if err == nil {
			err = w.acquireSlot()
		}
		return n, err
	}
	n, err := w.Conn.Read(p)
	if w.conn.countsAsHTTP2 && !w.conn.allowance.spend(n) {
		w.conn.front.gate.shed.Add(1)
		return 0, errFlood
	}
	return n, err
}

// Write takes ciphertext.
func (w *tlsTransport) Write(p []byte) (int, error) {
	if w.records != nil {
		w.records.out = append(w.records.out, p...)
		return len(p), nil
	}
	n, err := w.Conn.Write(p)
	w.conn.allowance.earn(n / http2TakenPerByte)
	return n, err
}

// Close gives the place in the table back.
func (w *tlsTransport) Close() error {
	w.conn.closeAndRemove()
	return nil
}

// releaseSlot lets others compute while this one waits for its client.
func (w *tlsTransport) releaseSlot() {
	if w.mayCompute {
		w.mayCompute = false
		w.conn.front.https.handshakes.release()
	}
}

func (w *tlsTransport) acquireSlot() error {
	if err := w.conn.front.https.handshakes.acquire(w.conn.client, w.hasBegun); err != nil {
		return err
	}
	w.mayCompute, w.hasBegun = true, true
	if stateOf(w.conn.state.Load()) == stateClosing {
		return os.ErrDeadlineExceeded // it has waited too long, and nobody is there
	}
	return nil
}

// awaitAnswer notes that a client is to answer within a handshake, until what it gives is
// called. If there are too many, the one ends whose client has been silent longest.
func (s *httpsFront) awaitAnswer(c *conn) (answered func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.answering.PushBack(c)
	if s.answering.Len() > s.maxAnswering {
		s.answering.Remove(s.answering.Front()).(*conn).abort()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answering.Remove(own) // it may be out already
	}
}

// helloBuffer is how much memory a ClientHello gets at first, in bytes: most of a
// browser's, and not much for one that never comes to its end.
const helloBuffer = 512

// readClientHello reads until a ClientHello is whole, or is none. Until then a client has no
// turn, and nothing of what a handshake takes.
func (c *conn) readClientHello() (hello []byte, err error) {
	hello = make([]byte, 0, helloBuffer)
	for !isWholeClientHello(hello) {
		if len(hello) == cap(hello) {
			hello = append(hello, make([]byte, len(hello))...)[:len(hello)]
		}
		n, err := c.socket.Read(hello[len(hello):cap(hello)])
		if hello = hello[:len(hello)+n]; err != nil {
			return nil, err
		}
	}
	return hello, nil
}

// isWholeClientHello reports whether a ClientHello is all there (RFC 8446 §4, §5.1), or
// crypto/tls would say what is wrong with it without another byte.
func isWholeClientHello(in []byte) bool {
	if len(in) > maxRecord {
		return true // no client has as much to say
	}
	var head [messageHead]byte // of the message, which may come in several records
	for got := 0; len(in) >= recordHead; {
		size := int(in[3])<<8 | int(in[4])
		if in[0] != recordHandshake || size == 0 || size > maxRecord {
			return true
		}
		part := in[recordHead:min(recordHead+size, len(in))]
		copy(head[min(got, messageHead):], part)
		got += len(part)
		if got >= messageHead && (head[0] != clientHello || got-messageHead >= int(head[1])<<16|int(head[2])<<8|int(head[3])) {
			return true
		}
		in = in[recordHead+len(part):]
	}
	return false
}

// What a ClientHello begins with: a record's type, version and length, and in it a
// message's type and length.
const (
	recordHead      = 5
	messageHead     = 4
	recordHandshake = 22
	clientHello     = 1
)

// handshake makes the handshake and then has the connection served by whom it agreed
// on. The sweep ends it if that takes longer than a request's header may.
func (c *conn) handshake() {
	s := c.front.https
	// Who has said nothing yet is not waited for when the board stops; who has, is.
	if !c.awaitFirstByte() || !c.enterState(stateReading) {
		c.closeAndRemove()
		return
	}
	s.handshaking.Add(1)
	defer s.handshaking.Add(-1)
	hello, err := c.readClientHello()
	if err != nil {
		s.countFailure(err)
		c.closeAndRemove()
		return
	}
	w := &tlsTransport{Conn: c.socket, conn: c, isHandshaking: true, earlyInput: hello}
	inner := tls.Server(w, s.allProtocols)
	if err = w.acquireSlot(); err == nil {
		err = inner.Handshake()
	}
	w.releaseSlot()
	w.isHandshaking = false
	if err != nil {
		s.countFailure(err)
		c.closeAndRemove()
		return
	}
	c.tls = &tlsState{tls: inner, transport: w}
	state := inner.ConnectionState()
	s.handshaken.Add(1)
	if state.DidResume {
		s.resumed.Add(1)
	}
	switch state.NegotiatedProtocol {
	case challengeProto:
		inner.Close()
	case h2Proto:
		s.http2Open.Add(1)
		c.countsAsHTTP2 = true
		if !c.enterState(stateNetHTTP) || !s.http2Conns.deliver(inner) {
			c.closeAndRemove()
		}
	default:
		if !c.enterState(stateNew) {
			c.closeAndRemove()
			return
		}
		// On a new goroutine: this one's stack has grown.
		c.front.serving.Go(c.serveOnGoroutine)
	}
}

// wrongPort is for a person who has typed the address without https.
const wrongPort = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
	"This port speaks https: write https:// before the address.\n"

// countFailure counts a handshake that did not succeed.
func (s *httpsFront) countFailure(err error) {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader) {
		// It fits the socket's buffer, and whether it arrives is of no interest.
		_, _ = io.WriteString(record.Conn, wrongPort)
	}
	if errors.Is(err, errBusy) {
		s.refused.Add(1)
		return
	}
	s.failed.Add(1)
}

// looksLikeHTTP reports whether a record's header is the beginning of a request.
func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// replyConn is where replies go that somebody else than the lane makes.
func (c *conn) replyConn() net.Conn {
	if c.tls != nil {
		return c.tls.tls
	}
	return c.socket
}

// hasPendingOutput reports whether the client has yet to take something.
func (c *conn) hasPendingOutput() bool {
	return len(c.pendingOutput) > 0 || c.tls != nil && len(c.tls.unsentRecords) > 0
}
