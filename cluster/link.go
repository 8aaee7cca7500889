package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// Kinds of error on the rack link.
var (
	// ErrUnknownPeer: no live board of that name is known.
	ErrUnknownPeer = errors.New("no such board in the rack now")
	// ErrPeerSilent: the board gave no sign of life within half a peer
	// timeout, or broke the connection; ask another.
	ErrPeerSilent = errors.New("the board does not answer")
)

// DefaultPeerTimeout is what a client waits at most, over all boards that are
// asked on its behalf, for boards that turn out not to answer. A board at full
// load must still be able to answer a ping in three eighths of it.
const DefaultPeerTimeout = time.Second

const (
	// stallShare: after PeerTimeout/stallShare without a byte a board is pinged.
	stallShare = 8
	// pingShare: and has PeerTimeout*3/pingShare for the answer, so that a
	// dead board costs half a peer timeout and two dead ones a whole.
	pingShare = 8
	// linkIdle is how long a connection between boards is kept unused.
	linkIdle = 90 * time.Second
	// linkHeaderTime bounds how long a caller may take to send a request's fields.
	linkHeaderTime = 5 * time.Second
	// The connections to one board are bounded, and of three kinds: pulses and
	// pings have their own, so that pages cannot starve them, and so have
	// orders, which wait for disks.
	maxDataConns    = 32
	maxControlConns = 4
	maxOrderConns   = 8
	// maxLinkHeader bounds a request's fields between boards, in bytes.
	maxLinkHeader = 64 << 10
	// PingPath answers 204 to any board of the rack.
	PingPath = "/v1/ping"
)

// Peer is another board, as the link needs it.
type Peer struct {
	Name string
	Addr string // host:port of its rack link
}

// LinkConfig sets up a board's end of the rack link.
type LinkConfig struct {
	Name        string        // this board
	Keys        [][]byte      // rack keys of RackKeySize bytes; the first is shown, all are accepted
	Listen      string        // host:port
	PeerTimeout time.Duration // 0 means DefaultPeerTimeout
	Logger      *slog.Logger  // a quiet one: a stranger may knock often
}

// Link carries HTTP/1.1 between the boards of a rack, inside TLS 1.3 in which
// both sides prove that they hold the rack key. It knows boards by name: who
// answers at the right address under a wrong name is not talked to.
type Link struct {
	id          *identity
	log         *slog.Logger
	peerTimeout time.Duration
	listener    *knockListener
	data        *http.Transport
	control     *http.Transport
	orders      *http.Transport

	mu     sync.Mutex // guards byName, byHost
	byName map[string]*linkPeer
	byHost map[string]*linkPeer
}

// linkPeer is what the link remembers of one board.
type linkPeer struct {
	Peer
	down     atomic.Bool  // it did not answer when last asked
	inFlight atomic.Int64 // requests whose reply's body is not closed

	mu   sync.Mutex // guards ping
	ping *pingCall
}

type pingCall struct {
	done chan struct{}
	err  error
}

// NewLink opens the listener; nothing is answered before Serve.
func NewLink(cfg LinkConfig) (*Link, error) {
	id, err := newIdentity(cfg.Name, cfg.Keys)
	if err != nil {
		return nil, err
	}
	inner, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("rack link: %w", err)
	}
	l := &Link{
		id:          id,
		log:         cfg.Logger,
		peerTimeout: cfg.PeerTimeout,
		listener:    newKnockListener(inner, id.knocks, cfg.Logger),
		byName:      map[string]*linkPeer{},
		byHost:      map[string]*linkPeer{},
	}
	if l.peerTimeout <= 0 {
		l.peerTimeout = DefaultPeerTimeout
	}
	l.data = l.transport(maxDataConns)
	l.control = l.transport(maxControlConns)
	l.orders = l.transport(maxOrderConns)
	return l, nil
}

func (l *Link) transport(conns int) *http.Transport {
	return &http.Transport{
		DialTLSContext:         l.dial,
		MaxConnsPerHost:        conns,
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        linkIdle,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxLinkHeader,
	}
}

// Addr is where the link listens.
func (l *Link) Addr() net.Addr { return l.listener.Addr() }

// PeerTimeout is what a client waits at most for boards that do not answer.
func (l *Link) PeerTimeout() time.Duration { return l.peerTimeout }

// Serve answers other boards until ctx ends, then lets running requests end
// for at most one peer timeout. PeerName tells a handler who asks.
func (l *Link) Serve(ctx context.Context, handler http.Handler) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PingPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.Handle("/", handler)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: linkHeaderTime,
		IdleTimeout:       linkIdle + linkHeaderTime, // the caller closes first
		MaxHeaderBytes:    maxLinkHeader,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(tls.NewListener(l.listener, l.id.server())) }()
	select {
	case err := <-served:
		return fmt.Errorf("rack link: %w", err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.peerTimeout)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		server.Close()
	}
	<-served
	return nil
}

// Close frees the listener and the connections to other boards.
func (l *Link) Close() error {
	err := l.listener.Close()
	l.data.CloseIdleConnections()
	l.control.CloseIdleConnections()
	l.orders.CloseIdleConnections()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("rack link: closing: %w", err)
	}
	return nil
}

// PeerName returns the board that sent a request over the link.
func PeerName(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return r.TLS.PeerCertificates[0].Subject.CommonName
}

// SetPeers replaces the boards that can be asked.
func (l *Link) SetPeers(peers []Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	byName := make(map[string]*linkPeer, len(peers))
	byHost := make(map[string]*linkPeer, len(peers))
	for _, p := range peers {
		known := l.byName[p.Name]
		if known == nil || known.Addr != p.Addr {
			known = &linkPeer{Peer: p}
		}
		byName[p.Name], byHost[linkHost(p.Name)] = known, known
	}
	l.byName, l.byHost = byName, byHost
}

func (l *Link) peer(board string) *linkPeer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byName[board]
}

// Up reports whether a board is known and answered when last asked.
func (l *Link) Up(board string) bool {
	p := l.peer(board)
	return p != nil && !p.down.Load()
}

// InFlight is how many requests a board has not fully answered yet: what
// the ring's bounded load goes by.
func (l *Link) InFlight(board string) int {
	p := l.peer(board)
	if p == nil {
		return 0
	}
	return int(p.inFlight.Load())
}

// dial reaches the board that a URL's host stands for: knock, then TLS.
func (l *Link) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("rack link: address %q: %w", addr, err)
	}
	l.mu.Lock()
	p := l.byHost[host]
	l.mu.Unlock()
	if p == nil {
		return nil, ErrUnknownPeer
	}
	ctx, cancel := context.WithTimeout(ctx, l.peerTimeout/2)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Addr)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", p.Name, err)
	}
	secure, err := l.greet(ctx, conn, p.Name)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("calling %s at %s: %w", p.Name, p.Addr, err)
	}
	return secure, nil
}

func (l *Link) greet(ctx context.Context, conn net.Conn, board string) (net.Conn, error) {
	knock, err := appendKnock(nil, l.id.knocks[0])
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetWriteDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := conn.Write(knock); err != nil {
		return nil, err
	}
	if err := conn.SetWriteDeadline(time.Time{}); err != nil {
		return nil, err
	}
	secure := tls.Client(conn, l.id.client(board))
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secure, nil
}

// Do sends a request to a board; r.URL's path and query count, its host does
// not. It waits as long as the board lives: when nothing has come for an eighth
// of the peer timeout the board is pinged, and if it does not answer that
// either, Do, or the read of the body that was waiting, returns ErrPeerSilent.
func (l *Link) Do(ctx context.Context, board string, r *http.Request) (*http.Response, error) {
	return l.do(ctx, l.data, board, r)
}

// Control is Do over the connections that are kept free for pulses, pings and
// what one board has another do.
func (l *Link) Control(ctx context.Context, board string, r *http.Request) (*http.Response, error) {
	return l.do(ctx, l.control, board, r)
}

// Order is Do over the connections of the ledger, whose answers wait for disks.
// sent reports whether the request can have reached the board: if not, it was
// surely not carried out.
func (l *Link) Order(ctx context.Context, board string, r *http.Request) (resp *http.Response, sent bool, err error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	resp, err = l.do(ctx, l.orders, board, r)
	return resp, connected.Load(), err
}

func (l *Link) do(ctx context.Context, via *http.Transport, board string, r *http.Request) (*http.Response, error) {
	p := l.peer(board)
	if p == nil {
		return nil, fmt.Errorf("%s: %w", board, ErrUnknownPeer)
	}
	watched, cancel := context.WithCancelCause(ctx)
	p.inFlight.Add(1)
	w := &watch{link: l, peer: p, asked: ctx, ctx: watched, cancel: cancel, stall: l.peerTimeout / stallShare}
	w.start()
	resp, err := via.RoundTrip(addressed(watched, r, board))
	if err != nil {
		err = w.explain(err)
		w.stop()
		return nil, err
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, watch: w}
	return resp, nil
}

// addressed is a copy of r that is sent to a board.
func addressed(ctx context.Context, r *http.Request, board string) *http.Request {
	out := r.WithContext(ctx)
	url := *r.URL
	url.Scheme, url.Host = "https", linkHost(board)
	out.URL, out.Host = &url, ""
	return out
}

// Ping asks a board for a sign of life, for at most three eighths of the peer
// timeout. Callers that ask at the same time share one answer.
func (l *Link) Ping(board string) error {
	p := l.peer(board)
	if p == nil {
		return fmt.Errorf("%s: %w", board, ErrUnknownPeer)
	}
	return l.pingPeer(p)
}

func (l *Link) pingPeer(p *linkPeer) error {
	p.mu.Lock()
	if call := p.ping; call != nil {
		p.mu.Unlock()
		<-call.done // bounded by the caller that runs it
		return call.err
	}
	call := &pingCall{done: make(chan struct{})}
	p.ping = call
	p.mu.Unlock()

	call.err = l.pingOnce(p)
	p.down.Store(call.err != nil)

	p.mu.Lock()
	p.ping = nil
	p.mu.Unlock()
	close(call.done)
	return call.err
}

func (l *Link) pingOnce(p *linkPeer) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.peerTimeout*3/pingShare)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+linkHost(p.Name)+PingPath, nil)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	resp, err := l.control.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("ping: %s: %w: %w", p.Name, ErrPeerSilent, err)
	}
	return resp.Body.Close()
}
