package front

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
)

// secured is what a connection has beside its socket if it speaks TLS.
type secured struct {
	tls  *tls.Conn
	wire *wire
	// unsent is ciphertext that the client has not taken, when no cipher is there.
	unsent []byte
}

// wire is the socket as crypto/tls sees it. While the lane is at work it is two
// pieces of memory, which the lane fills and empties itself, so that a connection
// never waits inside crypto/tls, and one read and one write will do for a request.
// Otherwise it is the socket.
type wire struct {
	net.Conn
	conn   *conn
	cipher *cipher // nil: the socket
	// early was read of the socket before crypto/tls asked for it, when no cipher
	// is there.
	early []byte
	// shaking: a handshake is under way; turn: and may compute; begun: it has before.
	shaking, turn, begun bool
}

// cipherOut is how much ciphertext is put together for one write, in bytes: two
// records, into which most pages fit.
const cipherOut = 32 << 10

// maxRecord is what fits one record, in bytes (RFC 8446 §5.1).
const maxRecord = 16 << 10

// recordExtra is what a record is longer than what is in it, in bytes, at most
// (RFC 8446 §5.2).
const recordExtra = 5 + 256

// cipher is what the lane needs beside a batch where there is TLS, and no longer.
type cipher struct {
	fd   uintptr
	in   [maxRequest]byte
	from int // of what crypto/tls has not read of in
	to   int
	dry  bool // nothing more was there when it was looked last
	out  []byte
	text [maxRecord]byte // what goes into one record
}

// ciphers lends ciphers to connections that have bytes.
type ciphers struct{ pool sync.Pool }

func (c *ciphers) get() *cipher {
	if one, ok := c.pool.Get().(*cipher); ok {
		return one
	}
	return &cipher{out: make([]byte, 0, cipherOut+maxRecord+recordExtra)}
}

func (c *ciphers) put(one *cipher) {
	one.from, one.to, one.dry, one.out = 0, 0, false, one.out[:0]
	c.pool.Put(one)
}

// errDry is what crypto/tls is told when nothing more has come. It is a time-out,
// after which it can go on (tls.Conn.SetReadDeadline).
type errDry struct{}

func (errDry) Error() string   { return "nothing more has come" }
func (errDry) Timeout() bool   { return true }
func (errDry) Temporary() bool { return true }

// Read gives crypto/tls what has come.
func (w *wire) Read(p []byte) (int, error) {
	switch {
	case w.cipher != nil:
		return w.cipher.read(p)
	case len(w.early) > 0:
		n := copy(p, w.early)
		if w.early = w.early[n:]; len(w.early) == 0 {
			w.early = nil
		}
		return n, nil
	case w.shaking:
		w.yield()
		answered := w.conn.front.secure.awaits(w.conn)
		n, err := w.Conn.Read(p)
		answered()
		if err == nil {
			err = w.resume()
		}
		return n, err
	}
	n, err := w.Conn.Read(p)
	if w.conn.h2 && !w.conn.allowance.spend(n) {
		w.conn.front.gate.shed.Add(1)
		return 0, errFlood
	}
	return n, err
}

// Write takes ciphertext.
func (w *wire) Write(p []byte) (int, error) {
	if w.cipher != nil {
		w.cipher.out = append(w.cipher.out, p...)
		return len(p), nil
	}
	n, err := w.Conn.Write(p)
	w.conn.allowance.earn(n / h2Taken)
	return n, err
}

// Close gives the place in the table back.
func (w *wire) Close() error {
	w.conn.leave()
	return nil
}

// yield lets others compute while this one waits for its client.
func (w *wire) yield() {
	if w.turn {
		w.turn = false
		w.conn.front.secure.turns.leave()
	}
}

func (w *wire) resume() error {
	if err := w.conn.front.secure.turns.take(w.conn.client, w.begun); err != nil {
		return err
	}
	w.turn, w.begun = true, true
	if phaseOf(w.conn.word.Load()) == phaseClosing {
		return os.ErrDeadlineExceeded // it has waited too long, and nobody is there
	}
	return nil
}

// awaits notes that a client is to answer within a handshake, until what it gives is
// called. If there are too many, the one ends whose client has been silent longest.
func (s *secureFront) awaits(c *conn) (answered func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.answering.PushBack(c)
	if s.answering.Len() > s.answerMost {
		s.answering.Remove(s.answering.Front()).(*conn).end()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answering.Remove(own) // it may be out already
	}
}

// helloFirst is how much memory a ClientHello gets at first, in bytes: most of a
// browser's, and not much for one that never comes to its end.
const helloFirst = 512

// gather reads until a ClientHello is whole, or is none. Until then a client has no
// turn, and nothing of what a handshake takes.
func (c *conn) gather() (hello []byte, err error) {
	hello = make([]byte, 0, helloFirst)
	for !helloWhole(hello) {
		if len(hello) == cap(hello) {
			hello = append(hello, make([]byte, len(hello))...)[:len(hello)]
		}
		n, err := c.tcp.Read(hello[len(hello):cap(hello)])
		if hello = hello[:len(hello)+n]; err != nil {
			return nil, err
		}
	}
	return hello, nil
}

// helloWhole reports whether a ClientHello is all there (RFC 8446 §4, §5.1), or
// crypto/tls would say what is wrong with it without another byte.
func helloWhole(in []byte) bool {
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

// greet makes the handshake and then has the connection served by whom it agreed
// on. The sweep ends it if that takes longer than a request's header may.
func (c *conn) greet() {
	s := c.front.secure
	// Who has said nothing yet is not waited for when the board stops; who has, is.
	if !c.awaitFirst() || !c.enter(phaseHeader) {
		c.leave()
		return
	}
	s.greeting.Add(1)
	defer s.greeting.Add(-1)
	hello, err := c.gather()
	if err != nil {
		s.lose(err)
		c.leave()
		return
	}
	w := &wire{Conn: c.tcp, conn: c, shaking: true, early: hello}
	inner := tls.Server(w, s.full)
	if err = w.resume(); err == nil {
		err = inner.Handshake()
	}
	w.yield()
	w.shaking = false
	if err != nil {
		s.lose(err)
		c.leave()
		return
	}
	c.secure = &secured{tls: inner, wire: w}
	state := inner.ConnectionState()
	s.shaken.Add(1)
	if state.DidResume {
		s.resumed.Add(1)
	}
	switch state.NegotiatedProtocol {
	case challengeProto:
		inner.Close()
	case h2Proto:
		s.h2.Add(1)
		c.h2 = true
		if !c.enter(phaseAway) || !s.handed.deliver(inner) {
			c.leave()
		}
	default:
		if !c.enter(phaseNew) {
			c.leave()
			return
		}
		// On a new goroutine: this one's stack has grown.
		c.front.serving.Go(c.serve)
	}
}

// wrongPort is for a person who has typed the address without https.
const wrongPort = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
	"This port speaks https: write https:// before the address.\n"

// lose counts a handshake that did not succeed.
func (s *secureFront) lose(err error) {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && plainHTTP(record.RecordHeader) {
		// It fits the socket's buffer, and whether it arrives is of no interest.
		_, _ = io.WriteString(record.Conn, wrongPort)
	}
	if errors.Is(err, errBusy) {
		s.refused.Add(1)
		return
	}
	s.failed.Add(1)
}

// plainHTTP reports whether a record's header is the beginning of a request.
func plainHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// stream is where replies go that somebody else than the lane makes.
func (c *conn) stream() net.Conn {
	if c.secure != nil {
		return c.secure.tls
	}
	return c.tcp
}

// owes reports whether the client has yet to take something.
func (c *conn) owes() bool { return len(c.owed) > 0 || c.secure != nil && len(c.secure.unsent) > 0 }
