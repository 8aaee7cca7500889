package front

import (
	"crypto/tls"
	"errors"
	"io"

	"bramble/node/front/admission"
)

// handshake makes the TLS handshake and then serves the connection with the negotiated
// protocol. The sweep ends it if that takes longer than a request's header may.
func (c *conn) handshake() {
	s := c.front.https
	defer s.negotiating.Add(-1)
	// For a client that has sent something a board that stops waits as for half a request.
	if !c.awaitFirstByte() || !c.enter(stateHandshake) {
		c.closeAndRemove()
		return
	}
	hello, err := c.readClientHello()
	if err != nil {
		s.countFailure(err)
		c.closeAndRemove()
		return
	}
	transport := &tlsTransport{Conn: c.socket, conn: c, isHandshaking: true, earlyInput: hello}
	inner := tls.Server(transport, s.allProtocols)
	if err = transport.acquirePermit(); err == nil {
		err = inner.Handshake()
	}
	transport.releasePermit()
	transport.isHandshaking = false
	if err != nil {
		s.countFailure(err)
		c.closeAndRemove()
		return
	}
	c.tls = &tlsState{conn: inner, transport: transport}
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
		c.http2.isOpen = true
		if !c.enter(stateNetHTTP) || !s.http2Conns.deliver(inner) {
			c.closeAndRemove()
		}
	default:
		if !c.enter(stateNew) {
			c.closeAndRemove()
			return
		}
		// On a new goroutine: this one's stack has grown.
		c.front.serving.Go(c.serveOnGoroutine)
	}
}

// helloBuffer is the memory that a ClientHello gets at first, in bytes: enough for most
// of a browser's, and not much for one that is never completed.
const helloBuffer = 512

// readClientHello reads until a ClientHello is complete, or cannot be one. Until then a
// client has no permit, and none of a handshake's memory.
func (c *conn) readClientHello() (hello []byte, err error) {
	hello = make([]byte, 0, helloBuffer)
	for !isCompleteClientHello(hello) {
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

// A ClientHello begins with a record's type, version and length, and in it a message's
// type and length.
const (
	recordHeaderSize  = 5
	messageHeaderSize = 4
	recordHandshake   = 22
	clientHello       = 1
)

// isCompleteClientHello reports whether a ClientHello is complete (RFC 8446 §4, §5.1), or
// crypto/tls can already report an error in it.
func isCompleteClientHello(in []byte) bool {
	if len(in) > maxRecord {
		return true // no client sends that much
	}
	var header [messageHeaderSize]byte // of the message, which may come in several records
	for got := 0; len(in) >= recordHeaderSize; {
		size := int(in[3])<<8 | int(in[4])
		if in[0] != recordHandshake || size == 0 || size > maxRecord {
			return true
		}
		part := in[recordHeaderSize:min(recordHeaderSize+size, len(in))]
		copy(header[min(got, messageHeaderSize):], part)
		got += len(part)
		if got >= messageHeaderSize && (header[0] != clientHello || got-messageHeaderSize >= int(header[1])<<16|int(header[2])<<8|int(header[3])) {
			return true
		}
		in = in[recordHeaderSize+len(part):]
	}
	return false
}

// wrongPort answers a request without TLS: a person has typed the address without https.
const wrongPort = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
	"This port is for https: type https:// in front of the address.\n"

func (h *httpsFront) countFailure(err error) {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader) {
		// It fits the socket's buffer, and whether it arrives does not matter.
		_, _ = io.WriteString(record.Conn, wrongPort)
	}
	if errors.Is(err, admission.ErrBusy) {
		h.refused.Add(1)
		return
	}
	h.failed.Add(1)
}

func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}
