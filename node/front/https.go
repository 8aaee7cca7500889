package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"bramble/node/front/admission"
)

const (
	// h2Proto and h1Proto are the protocols that may be negotiated (ALPN, RFC 7301).
	h2Proto, h1Proto = "h2", "http/1.1"
	// challengeProto is negotiated by a CA that checks who owns a name (RFC 8737): the
	// connection ends with the handshake.
	challengeProto = "acme-tls/1"
	// http2Share is the part of all connections, as 1/http2Share, that may speak HTTP/2:
	// one takes twice the memory of one of the fast path when it is idle, and more for each
	// request under way. Beyond it a client gets HTTP/1.1, which it speaks too.
	http2Share = 2
	// answerShare is the part of all connections, as 1/answerShare, that may be in a
	// handshake whose client must answer, and minAnswering is the least such number. One
	// takes 42 kB, most of it a stack that has grown, ten times as much as when it is over.
	// Each of 1,024 has two thirds of a second even if 1,500 begin per second, more than a
	// small board can compute.
	answerShare  = 4
	minAnswering = 64
	// http2Streams limits a connection's requests under way: the least that RFC 9113
	// advises, and a shop's page has fewer pictures.
	http2Streams = 100
	// http2Frame limits a frame that a client may send, in bytes: the least that may be
	// configured. Forms are shorter.
	http2Frame = 16 << 10
	// http2Window limits the unread bytes of requests' bodies, for a stream and for a
	// connection: the least that may be configured, and a form is less.
	http2Window = 64<<10 - 1
	// http2Ping limits the silence of a connection in use before it is sent a PING, and then
	// the time until the answer.
	http2Ping = 15 * time.Second
	// goAwayTime is the time in which a connection ends that net/http has sent a GOAWAY:
	// net/http closes it a second after its last reply, if the client has not.
	goAwayTime = 1500 * time.Millisecond
)

// HTTPSConfig sets up the listener for https.
type HTTPSConfig struct {
	Listen string // host:port
	// Open opens the listener, as Config.Open does.
	Open func(address string) (net.Listener, error)
	// Certificate returns the certificate for a client; an error ends the handshake. It must
	// not wait for the network.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Handshakes limits the handshakes that wait for their first permit; a connection beyond
	// that is closed without a reply. A handshake takes longer than a thousand pages.
	Handshakes int
	// FastHandler answers from memory; nil: Config.FastHandler.
	FastHandler FastHandler
	// StrictTransport is the value of Strict-Transport-Security in replies; "": no such field.
	StrictTransport string
}

// httpsFront is the part of a Front that speaks TLS. Nil: there is none.
type httpsFront struct {
	cfg      HTTPSConfig
	listener net.Listener
	// allProtocols is for most clients; http1Only is for when there are enough connections
	// with HTTP/2. Clients of TLS 1.2 get tls12, which issues no tickets: a ticket of 1.2
	// holds the key to the whole connection, and with the rack key anyone could read that.
	allProtocols, http1Only, tls12 *tls.Config
	challenge                      *tls.Config
	handshakes                     *admission.Handshakes
	http2Conns                     *netHTTPListener // connections that negotiated HTTP/2
	server                         *http.Server
	hsts                           []byte // the line of StrictTransport

	answering    admission.WaitList // connections in a handshake whose client must answer
	maxAnswering int

	http2Open           atomic.Int64 // connections that speak HTTP/2 now
	negotiating         atomic.Int64 // connections whose protocol is not known yet
	maxHTTP2            int64
	handshaken, resumed atomic.Int64
	failed, refused     atomic.Int64
}

func (f *Front) newHTTPS(cfg *HTTPSConfig) (*httpsFront, error) {
	open := cfg.Open
	if open == nil {
		open = openListener
	}
	inner, err := open(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("public pages by TLS: %w", err)
	}
	s := &httpsFront{
		cfg: *cfg, listener: inner, http2Conns: newNetHTTPListener(inner.Addr()),
		handshakes:   admission.NewHandshakes(max(runtime.GOMAXPROCS(0)/2, 1), cfg.Handshakes),
		maxHTTP2:     int64(max(f.cfg.MaxConnections/http2Share, 1)),
		maxAnswering: max(f.cfg.MaxConnections/answerShare, minAnswering),
	}
	if s.cfg.FastHandler == nil {
		s.cfg.FastHandler = f.cfg.FastHandler
	}
	if cfg.StrictTransport != "" {
		s.hsts = []byte("Strict-Transport-Security: " + cfg.StrictTransport + "\r\n")
	}
	offer := func(protos ...string) *tls.Config {
		return &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: cfg.Certificate, NextProtos: protos,
			// One record for a page instead of four: the first bytes are of no use to a browser
			// without the rest of the head.
			DynamicRecordSizingDisabled: true,
		}
	}
	s.allProtocols, s.http1Only = offer(h2Proto, h1Proto), offer(h1Proto)
	s.tls12, s.challenge = offer(h1Proto), offer(challengeProto)
	s.tls12.SessionTicketsDisabled, s.challenge.SessionTicketsDisabled = true, true
	s.allProtocols.GetConfigForClient = s.chooseConfig
	s.server = f.newHTTPServer()
	// Requests that net/http answers by itself (431, 400) are counted nowhere: a hundred per
	// connection, 8 KB each, for as long as their client opens no window.
	s.server.WriteTimeout = min(refusalStreamTimeout, f.cfg.WriteTimeout)
	s.server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: http2Streams, MaxReadFrameSize: http2Frame,
		MaxReceiveBufferPerConnection: http2Window, MaxReceiveBufferPerStream: http2Window,
		SendPingTimeout: http2Ping, PingTimeout: http2Ping, WriteByteTimeout: f.cfg.WriteTimeout,
	}
	return s, nil
}

// chooseConfig returns the configuration for a client; nil: allProtocols.
func (h *httpsFront) chooseConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	switch {
	case len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProto:
		return h.challenge, nil
	case !slices.Contains(hello.SupportedVersions, tls.VersionTLS13):
		return h.tls12, nil
	case h.http2Open.Load() >= h.maxHTTP2:
		return h.http1Only, nil
	}
	return nil, nil
}

// TLSCounts are totals and a gauge of the listener for https.
type TLSCounts struct {
	Handshakes int64 // that succeeded
	Resumed    int64 // of these, without a signature
	Failed     int64 // as a rule because of the client
	Refused    int64 // for lack of a permit
	HTTP2      int64 // connections now
}

func (h *httpsFront) counts() TLSCounts {
	if h == nil {
		return TLSCounts{}
	}
	return TLSCounts{
		Handshakes: h.handshaken.Load(), Resumed: h.resumed.Load(), Failed: h.failed.Load(), Refused: h.refused.Load(), HTTP2: h.http2Open.Load(),
	}
}

// overTLSKey is the context key of a connection that speaks TLS.
type overTLSKey struct{}

// markTLS marks a request and its reply as sent over TLS.
func (h *httpsFront) markTLS(w http.ResponseWriter, r *http.Request, over *tlsState) {
	if r.TLS == nil {
		state := over.conn.ConnectionState()
		r.TLS = &state
	}
	if h.cfg.StrictTransport != "" {
		w.Header().Set("Strict-Transport-Security", h.cfg.StrictTransport)
	}
}

// SetTicketKeys replaces the keys of session tickets: new tickets are made with the
// first, those of all are accepted. It does nothing without TLS.
func (f *Front) SetTicketKeys(keys [][32]byte) {
	if f.https != nil {
		f.https.allProtocols.SetSessionTicketKeys(keys)
		f.https.http1Only.SetSessionTicketKeys(keys)
	}
}

// serveHTTP2 has net/http answer connections with HTTP/2 until stop is called, when no more
// are accepted. As long as one may still negotiate HTTP/2, net/http goes on: it would not
// serve it after the first GOAWAY. Then each gets a GOAWAY, before which none is closed, so
// that its client knows which requests to send again. stop returns after timeout at most.
func (h *httpsFront) serveHTTP2() (stop func(timeout time.Duration)) {
	served := make(chan struct{})
	go func() {
		// It ends when it is stopped, which is no error.
		_ = h.server.Serve(h.http2Conns)
		close(served)
	}()
	return func(timeout time.Duration) {
		began := time.Now()
		for h.negotiating.Load() > 0 && time.Since(began) < timeout-goAwayTime {
			time.Sleep(drainInterval)
		}
		if h.http2Open.Load() > 0 { // the first request of the last one may be on its way
			time.Sleep(min(drainGrace, timeout))
		}
		for h.sendGoAways() != nil && time.Since(began) < timeout {
		}
		h.server.Close()
		<-served
	}
}

// sendGoAways has net/http send a GOAWAY to each connection that has had none. It fails if
// some have not ended after drainGrace, of which net/http may not have known the last.
func (h *httpsFront) sendGoAways() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainGrace)
	defer cancel()
	return h.server.Shutdown(ctx)
}
