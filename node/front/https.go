package front

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// h2Proto and h1Proto are what may be agreed on (ALPN, RFC 7301).
	h2Proto, h1Proto = "h2", "http/1.1"
	// challengeProto is agreed on by a CA that wants to know whose name it is
	// (RFC 8737): the handshake is all.
	challengeProto = "acme-tls/1"
	// http2Share is the part of all connections that may speak HTTP/2, as 1/h2Share:
	// one takes twice the memory of one of the lane when it is idle, and more for
	// each request under way. Beyond it a client gets HTTP/1.1, which it speaks too.
	http2Share = 2
	// answerShare is the part of all connections, as 1/answerShare, that may be in a
	// handshake whose client is to answer, and answerLeast how many at least. One takes
	// 42 kB, most of it a stack that has grown, ten times as much as when it is over.
	// Of 1,024 each has two thirds of a second even if 1,500 a second begin, which no
	// small board can do.
	answerShare  = 4
	minAnswering = 64
	// http2Streams is how many requests a connection may have under way: the least
	// that RFC 9113 advises, and a shop's page has fewer pictures.
	http2Streams = 100
	// http2Frame is the largest frame that a client may send, in bytes: the least
	// that may be said. Forms are shorter.
	http2Frame = 16 << 10
	// http2Window is how much of requests' bodies is taken in unread, in bytes, for a
	// stream and for a connection: the least that may be said, and a form is less.
	http2Window = 64<<10 - 1
	// http2Ping is how long a connection may be silent while it is in use before it
	// is asked for a sign of life, and then how long that may take.
	http2Ping = 15 * time.Second
)

// HTTPSConfig sets up the listener for https.
type HTTPSConfig struct {
	Listen string // host:port
	// Open opens the listener, as Config.Open does.
	Open func(address string) (net.Listener, error)
	// Certificate gives the certificate for a client; an error ends the handshake.
	// It must not wait for the network.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Handshakes is how many may wait for their turn; who comes beyond is closed
	// without a word. To make one takes longer than a thousand pages.
	Handshakes int
	// FastHandler answers what it can from memory; nil: as Config.Hits.
	FastHandler FastHandler
	// StrictTransport is what replies say in Strict-Transport-Security; "": no such field.
	StrictTransport string
}

// httpsFront is the part of a Front that speaks TLS. Nil: there is none.
type httpsFront struct {
	cfg      HTTPSConfig
	listener net.Listener
	// allProtocols offers all; plain is for when there are enough connections with HTTP/2.
	// Clients of TLS 1.2 get legacy, which gives no tickets: one of 1.2 holds the key to
	// all that was said, and who learns the rack key could read it.
	allProtocols, http1Only, tls12 *tls.Config
	challenge                      *tls.Config
	handshakes                     *handshakeLimiter
	http2Conns                     *netHTTPListener // connections that agreed on HTTP/2
	server                         *http.Server
	hsts                           []byte // the line of StrictTransport

	mu           sync.Mutex // guards answering
	answering    list.List  // *conn in a handshake whose client is to answer, the longest first
	maxAnswering int

	http2Open           atomic.Int64 // connections that speak HTTP/2 now
	handshaking         atomic.Int64 // handshakes under way whose client has said something
	maxHTTP2            int64
	handshaken, resumed atomic.Int64
	failed, refused     atomic.Int64
}

// newHTTPS opens the listener.
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
		handshakes:   newHandshakeLimiter(max(runtime.GOMAXPROCS(0)/2, 1), cfg.Handshakes),
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
			// One record for a page in place of four: the first bytes are of no use
			// to a browser without the rest of the head.
			DynamicRecordSizingDisabled: true,
		}
	}
	s.allProtocols, s.http1Only = offer(h2Proto, h1Proto), offer(h1Proto)
	s.tls12, s.challenge = offer(h1Proto), offer(challengeProto)
	s.tls12.SessionTicketsDisabled, s.challenge.SessionTicketsDisabled = true, true
	s.allProtocols.GetConfigForClient = s.chooseConfig
	s.server = f.newHTTPServer()
	// Requests that net/http answers by itself (431, 400) are nowhere counted: a hundred
	// a connection, 8 KB each, for as long as their client opens no window.
	s.server.WriteTimeout = min(refusalStreamTimeout, f.cfg.WriteTimeout)
	s.server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: http2Streams, MaxReadFrameSize: http2Frame,
		MaxReceiveBufferPerConnection: http2Window, MaxReceiveBufferPerStream: http2Window,
		SendPingTimeout: http2Ping, PingTimeout: http2Ping, WriteByteTimeout: f.cfg.WriteTimeout,
	}
	return s, nil
}

// chooseConfig is what a client may choose of.
func (s *httpsFront) chooseConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	switch {
	case len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProto:
		return s.challenge, nil
	case !slices.Contains(hello.SupportedVersions, tls.VersionTLS13):
		return s.tls12, nil
	case s.http2Open.Load() >= s.maxHTTP2:
		return s.http1Only, nil
	}
	return nil, nil // full
}

// TLSCounts are totals and a gauge of the listener for https.
type TLSCounts struct {
	Handshakes int64 // that succeeded
	Resumed    int64 // of these, without a signature
	Failed     int64 // by their client's doing, as a rule
	Refused    int64 // for want of a turn
	HTTP2      int64 // connections now
}

func (s *httpsFront) tlsCounts() TLSCounts {
	if s == nil {
		return TLSCounts{}
	}
	return TLSCounts{
		Handshakes: s.handshaken.Load(), Resumed: s.resumed.Load(), Failed: s.failed.Load(), Refused: s.refused.Load(), HTTP2: s.http2Open.Load(),
	}
}

// overTLS is the context key of a connection that speaks TLS.
type overTLS struct{}

// markTLS has a request and its reply know that they travel by TLS.
func (s *httpsFront) markTLS(w http.ResponseWriter, r *http.Request, over *tlsState) {
	if r.TLS == nil {
		state := over.tls.ConnectionState()
		r.TLS = &state
	}
	if s.cfg.StrictTransport != "" {
		w.Header().Set("Strict-Transport-Security", s.cfg.StrictTransport)
	}
}

// SetTicketKeys replaces the keys of session tickets: new ones are made with the
// first, those of all are taken. It does nothing without TLS.
func (f *Front) SetTicketKeys(keys [][32]byte) {
	if f.https != nil {
		f.https.allProtocols.SetSessionTicketKeys(keys)
		f.https.http1Only.SetSessionTicketKeys(keys)
	}
}

// SecureAddr is where the listener for https is; nil without TLS.
func (f *Front) SecureAddr() net.Addr {
	if f.https == nil {
		return nil
	}
	return f.https.listener.Addr()
}

// serveHTTP2 has net/http answer what speaks HTTP/2 until stop is called, which lets
// handshakes and requests under way end, for at most limit. Nobody comes any more then.
func (s *httpsFront) serveHTTP2() (stop func(limit time.Duration)) {
	served := make(chan struct{})
	go func() {
		// It ends when it is told to, with nothing to say.
		_ = s.server.Serve(s.http2Conns)
		close(served)
	}()
	return func(limit time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		for s.handshaking.Load() > 0 && ctx.Err() == nil { // one may have agreed on HTTP/2
			sleepContext(ctx, drainInterval)
		}
		if s.server.Shutdown(ctx) != nil {
			s.server.Close()
		}
		<-served
	}
}

// errBusy ends a handshake for which there is no turn in sight.
var errBusy = errors.New("too many clients want to begin at once")

// handshakeLimiter are places to compute in: a handshake takes an ARM11 25 to 65 ms, and with many at once everything else would wait for all of them.
type handshakeLimiter struct {
	slots      chan struct{}
	waiting    atomic.Int64 // that have not begun
	maxWaiting int64

	mu        sync.Mutex     // guards of
	waitingOf map[uint32]int // how many of them each client has (client.address)
}

func newHandshakeLimiter(places, most int) *handshakeLimiter {
	return &handshakeLimiter{slots: make(chan struct{}, places), maxWaiting: int64(most), waitingOf: make(map[uint32]int)}
}

// acquire waits for a place. It fails if as many wait as may, or as many of one client's
// as there is still room for: one address has half of it at most, two a third each, so
// that there is some for whoever comes from elsewhere. It does not fail if begun is set,
// for then most has been done. Those do not keep newcomers out: a client decides itself
// in how many pieces what is left of its handshake comes.
func (t *handshakeLimiter) acquire(who clientKey, begun bool) error {
	select {
	case t.slots <- struct{}{}:
		return nil
	default:
	}
	if !begun {
		if !t.joinQueue(who) {
			return errBusy
		}
		defer t.leaveQueue(who)
	}
	t.slots <- struct{}{}
	return nil
}

func (t *handshakeLimiter) joinQueue(who clientKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int64(t.waitingOf[who.address]) >= t.maxWaiting-t.waiting.Load() {
		return false
	}
	t.waitingOf[who.address]++
	t.waiting.Add(1)
	return true
}

func (t *handshakeLimiter) leaveQueue(who clientKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting.Add(-1)
	if t.waitingOf[who.address]--; t.waitingOf[who.address] == 0 {
		delete(t.waitingOf, who.address)
	}
}

// release gives the place back.
func (t *handshakeLimiter) release() { <-t.slots }
