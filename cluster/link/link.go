// Package link is the rack link: HTTP/1.1 between the boards of a rack inside mutually authenticated
// TLS 1.3, with every key derived from the rack key. A caller proves that it holds the rack key before
// TLS begins (the knock), and a request to a board that no longer lives fails within half a peer
// timeout (the stall watch).
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"bramble/cluster/unproven"
)

// Errors of the rack link, to be matched with errors.Is.
var (
	// ErrUnknownPeer: no live board of that name is known.
	ErrUnknownPeer = errors.New("the rack has no live board of that name")
	// ErrPeerSilent: the board gave no sign of life within half a peer
	// timeout, or ended its response early. Another board may answer.
	ErrPeerSilent = errors.New("the board does not answer")
)

// DefaultPeerTimeout bounds how long one client waits in total for boards that
// turn out not to answer. A board at full load must still be able to answer a
// ping in three eighths of it.
const DefaultPeerTimeout = time.Second

const (
	// stallShare: after PeerTimeout/stallShare without a byte the board is pinged.
	stallShare = 8
	// pingShare: the board has PeerTimeout*3/pingShare to answer, so that a dead board
	// costs half a peer timeout and two dead boards cost a whole one.
	pingShare = 8
	// idleTimeout limits how long an unused connection between boards stays open.
	idleTimeout = 90 * time.Second
	// probeInterval is the time, ±25 %, between two pings of a board that is down.
	probeInterval = time.Second
	// headerTimeout bounds how long a caller may take to send a request's header.
	headerTimeout = 5 * time.Second
	// The connections to one board are bounded, and of three kinds. Pings and
	// purge messages have their own, so that pages cannot starve them; so do
	// the ledger's calls, which wait for disks. 64: one site's fetches, whose origin may hang,
	// take 48 at most (cache.Config.MaxFetches).
	maxDataConns    = 64
	maxControlConns = 4
	maxLedgerConns  = 8
	// maxHeaderBytes bounds a request's header between boards.
	maxHeaderBytes = 64 << 10
	// PingPath answers any board of the rack with 204.
	PingPath = "/v1/ping"
)

// Peer is another board and where its link listens.
type Peer struct {
	Name string
	Addr string // host:port of its rack link
}

// Config configures the rack link of one board.
type Config struct {
	Name        string        // this board
	Keys        [][]byte      // rack keys, one at least; the first is presented, all are accepted
	Listen      string        // host:port
	PeerTimeout time.Duration // 0 means DefaultPeerTimeout
	Logger      *slog.Logger  // should drop repetitions: a stranger may knock often
}

// Link carries HTTP/1.1 between the boards of a rack, inside TLS 1.3 in which
// both sides prove that they hold the rack key. It addresses boards by name: a
// board that answers at the right address under another name is refused.
type Link struct {
	id          *linkIdentity
	log         *slog.Logger
	peerTimeout time.Duration
	listener    *knockListener
	data        *http.Transport
	control     *http.Transport
	ledger      *http.Transport

	mu    sync.Mutex // guards peers
	peers map[string]*peerState
}

// peerState is the state of the link to one peer.
type peerState struct {
	Peer
	down     atomic.Bool  // it could not be reached, or did not answer a ping
	probing  atomic.Bool  // a ping is due, because it is down
	inFlight atomic.Int64 // requests whose response body is not closed
	pings    singleflight.Group
}

// New opens the listener. Serve answers.
func New(cfg Config) (*Link, error) {
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
	}
	if l.peerTimeout <= 0 {
		l.peerTimeout = DefaultPeerTimeout
	}
	l.listener = newKnockListener(inner, id, unproven.New(max(unproven.Timeout, l.peerTimeout), l.isPeerAddr, cfg.Logger), cfg.Logger)
	l.data = l.newHTTPTransport(maxDataConns)
	l.control = l.newHTTPTransport(maxControlConns)
	l.ledger = l.newHTTPTransport(maxLedgerConns)
	return l, nil
}

func (l *Link) newHTTPTransport(conns int) *http.Transport {
	return &http.Transport{
		DialTLSContext:         l.dialBoard,
		MaxConnsPerHost:        conns,
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// Addr returns the address that the link listens on.
func (l *Link) Addr() net.Addr { return l.listener.Addr() }

// Serve answers other boards until ctx ends, then waits for running requests for
// at most one peer timeout. A handler learns the caller from PeerName.
func (l *Link) Serve(ctx context.Context, handler http.Handler) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PingPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.Handle("/", handler)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: max(headerTimeout, l.peerTimeout),
		IdleTimeout:       idleTimeout + headerTimeout, // the caller closes first
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l.listener) }()
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

// Close closes the listener and the idle connections to other boards.
func (l *Link) Close() error {
	l.SetPeers(nil) // ends the probes
	err := l.listener.Close()
	l.data.CloseIdleConnections()
	l.control.CloseIdleConnections()
	l.ledger.CloseIdleConnections()
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

// SetPeers replaces the set of boards that requests can be sent to.
func (l *Link) SetPeers(peers []Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := make(map[string]*peerState, len(peers))
	for _, p := range peers {
		state := l.peers[p.Name]
		if state == nil || state.Addr != p.Addr {
			state = &peerState{Peer: p}
		}
		next[p.Name] = state
	}
	l.peers = next
}

func (l *Link) findPeer(board string) *peerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peers[board]
}

// isPeerAddr reports whether a board of the current set is at addr.
func (l *Link) isPeerAddr(addr netip.Addr) bool {
	return l.findPeerBy(func(p Peer) bool {
		at, err := netip.ParseAddrPort(p.Addr)
		return err == nil && at.Addr() == addr
	}) != nil
}

func (l *Link) findPeerBy(match func(Peer) bool) *peerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.peers {
		if match(p.Peer) {
			return p
		}
	}
	return nil
}

// Up reports whether a board is known, and could be reached and answered pings when that was last tried. A board
// that is not up is pinged about once a second until it is.
func (l *Link) Up(board string) bool {
	p := l.findPeer(board)
	return p != nil && !p.down.Load()
}

// InFlight returns the number of requests that a board has not fully answered
// yet. The ring's bounded load uses it.
func (l *Link) InFlight(board string) int {
	p := l.findPeer(board)
	if p == nil {
		return 0
	}
	return int(p.inFlight.Load())
}

// dialBoard connects to the board that a URL's host stands for: knock, then TLS.
func (l *Link) dialBoard(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("rack link: address %q: %w", addr, err)
	}
	p := l.findPeerBy(func(p Peer) bool { return boardHost(p.Name) == host })
	if p == nil {
		return nil, ErrUnknownPeer
	}
	ctx, cancel := context.WithTimeout(ctx, l.peerTimeout/2)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w: %w", p.Name, ErrPeerSilent, err)
	}
	tlsConn, err := l.openTLS(ctx, conn, p.Name)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connecting to %s at %s: %w: %w", p.Name, p.Addr, ErrPeerSilent, err)
	}
	return tlsConn, nil
}

func (l *Link) openTLS(ctx context.Context, conn net.Conn, board string) (net.Conn, error) {
	knock, err := appendKnock(nil, l.id.knockKeys[0])
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
	tlsConn := tls.Client(conn, l.id.clientConfig(board))
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return tlsConn, nil
}

// Do sends a request to a board. It uses the path and the query of r.URL, not its
// host. Do waits as long as the board is alive: when nothing has arrived for an eighth
// of the peer timeout it pings the board, and if the board does not answer the ping,
// Do, or the pending read of the body, returns ErrPeerSilent.
func (l *Link) Do(ctx context.Context, board string, r *http.Request) (*http.Response, error) {
	return l.roundTrip(ctx, l.data, board, r)
}

// Control is Do over the connections that are reserved for pings, purge messages
// and commands from one board to another.
func (l *Link) Control(ctx context.Context, board string, r *http.Request) (*http.Response, error) {
	return l.roundTrip(ctx, l.control, board, r)
}

// CallLedger is Do over the connections for the ledger's calls, whose responses wait for
// disks. sent reports whether the request may have reached the board. If it is false, the
// board certainly did not carry the request out.
func (l *Link) CallLedger(ctx context.Context, board string, r *http.Request) (resp *http.Response, sent bool, err error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	resp, err = l.roundTrip(ctx, l.ledger, board, r)
	return resp, connected.Load(), err
}

func (l *Link) roundTrip(ctx context.Context, via *http.Transport, board string, r *http.Request) (*http.Response, error) {
	p := l.findPeer(board)
	if p == nil {
		return nil, fmt.Errorf("%s: %w", board, ErrUnknownPeer)
	}
	watched, cancel := context.WithCancelCause(ctx)
	p.inFlight.Add(1)
	w := &stallWatch{link: l, peer: p, caller: ctx, ctx: watched, cancel: cancel, stall: l.peerTimeout / stallShare}
	w.start()
	resp, err := via.RoundTrip(addressRequest(watched, r, board))
	if err != nil {
		err = w.classifyError(err)
		w.stop()
		return nil, err
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, watch: w}
	return resp, nil
}

func addressRequest(ctx context.Context, r *http.Request, board string) *http.Request {
	out := r.WithContext(ctx)
	url := *r.URL
	url.Scheme, url.Host = "https", boardHost(board)
	out.URL, out.Host = &url, ""
	return out
}

// markDown marks a peer as down, and has it pinged until it answers or is no peer any more: no request goes to
// it, so nothing else would learn that it is back.
func (l *Link) markDown(p *peerState) {
	p.down.Store(true)
	if !p.probing.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(probeInterval*3/4+rand.N(probeInterval/2), func() {
		p.probing.Store(false)
		if l.findPeer(p.Name) == p && p.down.Load() {
			_ = l.pingPeer(p) // it remembers the result
		}
	})
}

// pingPeer pings a peer, for at most three eighths of the peer timeout, and remembers whether it
// answered. Concurrent callers share one ping.
func (l *Link) pingPeer(p *peerState) error {
	_, err, _ := p.pings.Do("", func() (any, error) {
		err := l.pingOnce(p)
		if err != nil {
			l.markDown(p)
		} else {
			p.down.Store(false)
		}
		return nil, err
	})
	return err
}

func (l *Link) pingOnce(p *peerState) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.peerTimeout*3/pingShare)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+boardHost(p.Name)+PingPath, nil)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	resp, err := l.control.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("ping: %s: %w: %w", p.Name, ErrPeerSilent, err)
	}
	return resp.Body.Close()
}
