package front

import (
	"crypto/tls"
	"net"
	"os"

	"bramble/node/front/admission"
)

// tlsState is what a connection has besides its socket if it speaks TLS.
type tlsState struct {
	conn      *tls.Conn
	transport *tlsTransport
	// unsentRecords is ciphertext that the client has not taken, while there are no record
	// buffers.
	unsentRecords []byte
}

// tlsTransport is the socket as crypto/tls sees it. While the fast path is at work it is
// two pieces of memory (recordBuffers), which the fast path fills and empties itself, so
// that a connection never waits inside crypto/tls, and one read and one write suffice for
// a request. Otherwise it is the socket.
type tlsTransport struct {
	net.Conn
	conn    *conn
	records *recordBuffers // nil: the socket
	// earlyInput was read from the socket before crypto/tls needed it, while there are no
	// record buffers.
	earlyInput []byte
	// isHandshaking: a handshake is under way; mayCompute: it has a permit; hasBegun: it has
	// had one before.
	isHandshaking, mayCompute, hasBegun bool
}

// maxRecordsOut limits the ciphertext that is put together for one write, in bytes: two
// records, into which most pages fit.
const maxRecordsOut = 32 << 10

// maxRecord limits the plaintext of one record, in bytes (RFC 8446 §5.1).
const maxRecord = 16 << 10

// recordExtra limits how much longer than its plaintext a record is, in bytes (RFC 8446
// §5.2).
const recordExtra = 5 + 256

// recordBuffers are what the fast path needs for TLS besides replyBuffers, and as long as
// those.
type recordBuffers struct {
	fd          uintptr
	in          [maxRequest]byte
	inStart     int // in[inStart:inEnd] is what crypto/tls has not read
	inEnd       int
	isExhausted bool // the last read has left nothing in the socket
	out         []byte
	plaintext   [maxRecord]byte // of the next record
}

func newRecordBuffers() any {
	return &recordBuffers{out: make([]byte, 0, maxRecordsOut+maxRecord+recordExtra)}
}

// errNoInput reports to crypto/tls that nothing more has arrived. It is a timeout, after
// which crypto/tls can go on (tls.Conn.SetReadDeadline).
type errNoInput struct{}

func (errNoInput) Error() string   { return "nothing more has arrived" }
func (errNoInput) Timeout() bool   { return true }
func (errNoInput) Temporary() bool { return true }

// Read returns what has arrived to crypto/tls.
func (t *tlsTransport) Read(p []byte) (int, error) {
	switch {
	case t.records != nil:
		return t.records.readSocket(p)
	case len(t.earlyInput) > 0:
		n := copy(p, t.earlyInput)
		if t.earlyInput = t.earlyInput[n:]; len(t.earlyInput) == 0 {
			t.earlyInput = nil
		}
		return n, nil
	case t.isHandshaking:
		return t.readHandshake(p)
	}
	n, err := t.Conn.Read(p)
	if t.conn.http2.isOpen && !t.conn.http2.allowance.Spend(n) {
		t.conn.front.gate.CountShed()
		return 0, admission.ErrFlood
	}
	return n, err
}

// readHandshake reads the client's next part of the handshake. Others may compute
// meanwhile; if too many clients must answer, it evicts the connection of the client that
// has been silent longest.
func (t *tlsTransport) readHandshake(p []byte) (int, error) {
	t.releasePermit()
	s := t.conn.front.https
	s.answering.AddBounded(&t.conn.waitEntry, t.conn.abort, s.maxAnswering)
	n, err := t.Conn.Read(p)
	s.answering.Remove(&t.conn.waitEntry)
	if err == nil {
		err = t.acquirePermit()
	}
	return n, err
}

func (t *tlsTransport) Write(p []byte) (int, error) {
	if t.records != nil {
		t.records.out = append(t.records.out, p...)
		return len(p), nil
	}
	n, err := t.Conn.Write(p)
	t.conn.http2.allowance.Earn(n / admission.BytesPerEarned)
	return n, err
}

// Close removes the connection from the table.
func (t *tlsTransport) Close() error {
	t.conn.closeAndRemove()
	return nil
}

func (t *tlsTransport) releasePermit() {
	if t.mayCompute {
		t.mayCompute = false
		t.conn.front.https.handshakes.Release()
	}
}

func (t *tlsTransport) acquirePermit() error {
	if err := t.conn.front.https.handshakes.Acquire(t.conn.client, t.hasBegun); err != nil {
		return err
	}
	t.mayCompute, t.hasBegun = true, true
	if t.conn.currentState() == stateClosing {
		return os.ErrDeadlineExceeded // it has waited too long, and the sweep has ended it
	}
	return nil
}
