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
	// h2Share is the part of all connections that may speak HTTP/2, as 1/h2Share:
	// one takes twice the memory of one of the lane when it is idle, and more for
	// each request under way. Beyond it a client gets HTTP/1.1, which it speaks too.
	h2Share = 2
	// answerShare is the part of all connections, as 1/answerShare, that may be in a
	// handshake whose client is to answer, and answerLeast how many at least. One takes
	// 42 kB, most of it a stack that has grown, ten times as much as when it is over.
	// Of 1,024 each has two thirds of a second even if 1,500 a second begin, which no
	// small board can do.
	answerShare = 4
	answerLeast = 64
	// h2Streams is how many requests a connection may have under way: the least
	// that RFC 9113 advises, and a shop's page has fewer pictures.
	h2Streams = 100
	// h2Frame is the largest frame that a client may send, in bytes: the least
	// that may be said. Forms are shorter.
	h2Frame = 16 << 10
	// h2Window is how much of requests' bodies is taken in unread, in bytes, for a
	// stream and for a connection: the least that may be said, and a form is less.
	h2Window = 64<<10 - 1
	// h2Ping is how long a connection may be silent while it is in use before it
	// is asked for a sign of life, and then how long that may take.
	h2Ping = 15 * time.Second
)

// TLS sets up the listener for https.
type TLS struct {
	Listen string // host:port
	// Open opens the listener, as Config.Open does.
	Open func(address string) (net.Listener, error)
	// Certificate gives the certificate for a client; an error ends the handshake.
	// It must not wait for the network.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Handshakes is how many may wait for their turn; who comes beyond is closed
	// without a word. To make one takes longer than a thousand pages.
	Handshakes int
	// Hits answers what it can from memory; nil: as Config.Hits.
	Hits Hits
	// StrictTransport is what replies say in Strict-Transport-Security; "": no such field.
	StrictTransport string
}

// secureFront is the part of a Front that speaks TLS. Nil: there is none.
type secureFront struct {
	cfg      TLS
	listener net.Listener
	// full offers all; plain is for when there are enough connections with HTTP/2.
	// Clients of TLS 1.2 get legacy, which gives no tickets: one of 1.2 holds the key to
	// all that was said, and who learns the rack key could read it.
	full, plain, legacy *tls.Config
	challenge           *tls.Config
	turns               *turns
	handed              *handed // connections that agreed on HTTP/2
	server              *http.Server
	strict              []byte // the line of StrictTransport

	mu         sync.Mutex // guards answering
	answering  list.List  // *conn in a handshake whose client is to answer, the longest first
	answerMost int

	h2              atomic.Int64 // connections that speak HTTP/2 now
	greeting        atomic.Int64 // handshakes under way whose client has said something
	h2Most          int64
	shaken, resumed atomic.Int64
	failed, refused atomic.Int64
}

// newSecure opens the listener.
func (f *Front) newSecure(cfg *TLS) (*secureFront, error) {
	open := cfg.Open
	if open == nil {
		open = listen
	}
	inner, err := open(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("public pages by TLS: %w", err)
	}
	s := &secureFront{
		cfg: *cfg, listener: inner, handed: newHanded(inner.Addr()),
		turns:      newTurns(max(runtime.GOMAXPROCS(0)/2, 1), cfg.Handshakes),
		h2Most:     int64(max(f.cfg.MaxConnections/h2Share, 1)),
		answerMost: max(f.cfg.MaxConnections/answerShare, answerLeast),
	}
	if s.cfg.Hits == nil {
		s.cfg.Hits = f.cfg.Hits
	}
	if cfg.StrictTransport != "" {
		s.strict = []byte("Strict-Transport-Security: " + cfg.StrictTransport + "\r\n")
	}
	offer := func(protos ...string) *tls.Config {
		return &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: cfg.Certificate, NextProtos: protos,
			// One record for a page in place of four: the first bytes are of no use
			// to a browser without the rest of the head.
			DynamicRecordSizingDisabled: true,
		}
	}
	s.full, s.plain = offer(h2Proto, h1Proto), offer(h1Proto)
	s.legacy, s.challenge = offer(h1Proto), offer(challengeProto)
	s.legacy.SessionTicketsDisabled, s.challenge.SessionTicketsDisabled = true, true
	s.full.GetConfigForClient = s.offer
	s.server = f.newServer()
	// Requests that net/http answers by itself (431, 400) are nowhere counted: a hundred
	// a connection, 8 KB each, for as long as their client opens no window.
	s.server.WriteTimeout = min(hurryTime, f.cfg.WriteTimeout)
	s.server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: h2Streams, MaxReadFrameSize: h2Frame,
		MaxReceiveBufferPerConnection: h2Window, MaxReceiveBufferPerStream: h2Window,
		SendPingTimeout: h2Ping, PingTimeout: h2Ping, WriteByteTimeout: f.cfg.WriteTimeout,
	}
	return s, nil
}

// offer is what a client may choose of.
func (s *secureFront) offer(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	switch {
	case len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProto:
		return s.challenge, nil
	case !slices.Contains(hello.SupportedVersions, tls.VersionTLS13):
		return s.legacy, nil
	case s.h2.Load() >= s.h2Most:
		return s.plain, nil
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

func (s *secureFront) counts() TLSCounts {
	if s == nil {
		return TLSCounts{}
	}
	return TLSCounts{
		Handshakes: s.shaken.Load(), Resumed: s.resumed.Load(), Failed: s.failed.Load(), Refused: s.refused.Load(), HTTP2: s.h2.Load(),
	}
}

// overTLS is the context key of a connection that speaks TLS.
type overTLS struct{}

// mark has a request and its reply know that they travel by TLS.
func (s *secureFront) mark(w http.ResponseWriter, r *http.Request, over *secured) {
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
	if f.secure != nil {
		f.secure.full.SetSessionTicketKeys(keys)
		f.secure.plain.SetSessionTicketKeys(keys)
	}
}

// SecureAddr is where the listener for https is; nil without TLS.
func (f *Front) SecureAddr() net.Addr {
	if f.secure == nil {
		return nil
	}
	return f.secure.listener.Addr()
}

// serve has net/http answer what speaks HTTP/2 until stop is called, which lets
// handshakes and requests under way end, for at most limit. Nobody comes any more then.
func (s *secureFront) serve() (stop func(limit time.Duration)) {
	served := make(chan struct{})
	go func() {
		// It ends when it is told to, with nothing to say.
		_ = s.server.Serve(s.handed)
		close(served)
	}()
	return func(limit time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		for s.greeting.Load() > 0 && ctx.Err() == nil { // one may have agreed on HTTP/2
			wait(ctx, drainEvery)
		}
		if s.server.Shutdown(ctx) != nil {
			s.server.Close()
		}
		<-served
	}
}

// errBusy ends a handshake for which there is no turn in sight.
var errBusy = errors.New("too many clients want to begin at once")

// turns are places to compute in: a handshake takes an ARM11 25 to 65 ms, and with many at once everything else would wait for all of them.
type turns struct {
	places  chan struct{}
	waiting atomic.Int64 // that have not begun
	most    int64

	mu sync.Mutex     // guards of
	of map[uint32]int // how many of them each client has (client.address)
}

func newTurns(places, most int) *turns {
	return &turns{places: make(chan struct{}, places), most: int64(most), of: make(map[uint32]int)}
}

// take waits for a place. It fails if as many wait as may, or as many of one client's
// as there is still room for: one address has half of it at most, two a third each, so
// that there is some for whoever comes from elsewhere. It does not fail if begun is set,
// for then most has been done. Those do not keep newcomers out: a client decides itself
// in how many pieces what is left of its handshake comes.
func (t *turns) take(who client, begun bool) error {
	select {
	case t.places <- struct{}{}:
		return nil
	default:
	}
	if !begun {
		if !t.queue(who) {
			return errBusy
		}
		defer t.dequeue(who)
	}
	t.places <- struct{}{}
	return nil
}

func (t *turns) queue(who client) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int64(t.of[who.address]) >= t.most-t.waiting.Load() {
		return false
	}
	t.of[who.address]++
	t.waiting.Add(1)
	return true
}

func (t *turns) dequeue(who client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting.Add(-1)
	if t.of[who.address]--; t.of[who.address] == 0 {
		delete(t.of, who.address)
	}
}

// leave gives the place back.
func (t *turns) leave() { <-t.places }
