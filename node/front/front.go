// Package front is a board's public listener: it accepts connections within
// their bounds, and answers a plain request for a page that is in memory on a
// lane of its own, from bytes prepared beforehand. Every other request is
// handed over, byte for byte, to net/http, which is the only full HTTP
// implementation here. DESIGN.md has the reasons.
package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxHeader bounds a request's header in bytes: several times what a browser
	// with its cookies sends, and less than 4,096 connections could not all hold.
	maxHeader = 16 << 10
	// drainGrace is how long an idle connection stays open after the stop, so
	// that a request that is on its way still finds it: a round trip on the way
	// to most clients.
	drainGrace = 100 * time.Millisecond
	// newConnGrace is the same for one that has just been made: its client is about to
	// ask, and has heard nothing that would have it ask somewhere else.
	newConnGrace = 2 * time.Second
	// drainInterval is how often it is looked whether all have gone.
	drainInterval = 10 * time.Millisecond
)

// Config sets up a public listener.
type Config struct {
	Listen  string // host:port
	Handler http.Handler
	// FastHandler answers what it can from memory; nil: Handler answers everything.
	FastHandler    FastHandler
	HeaderTimeout  time.Duration // to send a request's header
	IdleTimeout    time.Duration // between two requests of a connection; less as the table fills
	WriteTimeout   time.Duration // for one whole exchange after its header
	DrainTimeout   time.Duration // for replies under way when the listener stops
	MaxConnections int           // open at once; who comes beyond gets a short 503
	// NewConnections is how many connections a second are taken in; those
	// beyond wait in the kernel's backlog. 0: as many as come.
	NewConnections int
	// ClientRequests and NetworkRequests bound the requests a second from one
	// address, and from one /24 or /64; two seconds' worth may come at once. Who
	// asks more gets a short 503, and the connection ends. 0: no bound.
	ClientRequests, NetworkRequests int
	// ClientConnections and NetworkConnections bound the new connections a
	// second in the same way; those beyond are closed without a word.
	ClientConnections, NetworkConnections int
	TLS                                   *HTTPSConfig // nil: no https
	Logger                                *slog.Logger
	// Open opens a listener; nil: net.Listen without keep-alive probes. One that
	// lives on after Close goes on taking connections in for whoever comes next.
	Open func(address string) (net.Listener, error)
	// HasSuccessor says, when Serve is to stop, whether the listeners do that. nil: they do not.
	HasSuccessor func() bool
	// MaxRequests bounds the requests that are with Handler at once. Four times
	// as many may wait for two seconds, and as many connections may be left to
	// net/http; the rest get a short 503. 0: no bound.
	MaxRequests int
	// BodyTimeout is how long a request's body may be behind BodyRate bytes a
	// second; a client that is slower gets a 408. BodyRate 0: no bound but
	// WriteTimeout for all.
	BodyTimeout time.Duration
	BodyRate    int
	// Pressure says how much other work of the board suffers, from 0, fine, to
	// 1, when all requests are shed that memory cannot answer. It is asked a few
	// times a second. nil: only the delay in scheduling counts, which is measured
	// here.
	Pressure func() float64
}

// Front is a public listener.
type Front struct {
	cfg      Config
	listener net.Listener
	acceptor connAcceptor
	loops    []*eventLoop // while it serves, where plain is for them
	server   *http.Server
	handoffs *netHTTPListener
	conns    *connTable
	limits   *clientLimits
	gate     *gate
	https    *httpsFront // nil: no https
	batches  batchPool
	records  recordPool
	refusals chan struct{}  // places for those that are being told to come back
	serving  sync.WaitGroup // the goroutines of connections that have one
	draining atomic.Bool

	fastReplies, slowReplies atomic.Int64 // replies of the lane and of net/http
	lent, handedOff          atomic.Int64
	refused                  atomic.Int64
	inFlight                 atomic.Int64
}

// Counts are a listener's totals and gauges.
type Counts struct {
	Replies   int64 // answered since the start, whatever the status
	Fast      int64 // of these, by the lane
	Lent      int64 // requests that the lane had net/http answer
	HandedOff int64 // connections that it left to net/http
	InFlight  int64 // being answered now by Config.Handler
	Open      int64 // connections now
	Refused   int64 // connections beyond a bound since the start
	Limited   int64 // requests beyond a client's or network's bound since the start
	Shed      int64 // requests that net/http had no room for since the start
	Pressure  float64
	TLS       TLSCounts
}

// New opens the listener; connections wait in the kernel until Serve.
func New(cfg Config) (*Front, error) {
	if cfg.Open == nil {
		cfg.Open = openListener
	}
	inner, err := cfg.Open(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("public pages: %w", err)
	}
	f := &Front{
		cfg: cfg, listener: inner, handoffs: newNetHTTPListener(inner.Addr()), conns: new(connTable), limits: newClientLimits(cfg),
		refusals: make(chan struct{}, maxRefusals), gate: newGate(cfg.MaxRequests),
	}
	f.gate.evict = f.evictSlowestHTTP2
	f.server = f.newHTTPServer()
	if f.acceptor, err = f.newAcceptor(); err != nil {
		inner.Close()
		return nil, fmt.Errorf("public pages: %w", err)
	}
	if cfg.TLS != nil {
		if f.https, err = f.newHTTPS(cfg.TLS); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// newHTTPServer is net/http's part, for connections with TLS and without.
func (f *Front) newHTTPServer() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(f.serveHTTP),
		ReadHeaderTimeout: f.cfg.HeaderTimeout,
		ReadTimeout:       f.cfg.HeaderTimeout + f.cfg.WriteTimeout,
		WriteTimeout:      f.cfg.WriteTimeout,
		IdleTimeout:       f.cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(f.cfg.Logger.Handler(), slog.LevelDebug),
		ConnState:         trackConnState,
		ConnContext:       connContext,
	}
}

// openListener opens without keep-alive probes: the idle time is far shorter than
// theirs, and to set them up takes three system calls for each connection.
func openListener(address string) (net.Listener, error) {
	return (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", address)
}

// unlimited is the context key of a connection whose requests have not been held
// against its client's limits yet: those that the lane lends have.
type unlimited struct{}

// admitted is the context key of a request that is through the gate.
type admitted struct{}

func connContext(ctx context.Context, inner net.Conn) context.Context {
	c := (*conn)(nil)
	switch one := inner.(type) {
	case *handoff:
		c = one.conn
		ctx = context.WithValue(ctx, unlimited{}, one)
	case *loan:
		c = one.conn
		ctx = context.WithValue(ctx, admitted{}, true)
	case *tls.Conn:
		if w, ok := one.NetConn().(*tlsTransport); ok {
			c = w.conn
			ctx = context.WithValue(ctx, unlimited{}, &handoff{conn: c}) // of which only the client counts
		}
	}
	if c != nil && c.tls != nil {
		ctx = context.WithValue(ctx, overTLS{}, c.tls)
	}
	return ctx
}

// serveHTTP is net/http's part.
func (f *Front) serveHTTP(w http.ResponseWriter, r *http.Request) {
	defer f.slowReplies.Add(1)
	from, _ := r.Context().Value(unlimited{}).(*handoff)
	if r.ProtoMajor == 2 && from != nil {
		reply := f.beginHTTP2(w, from.conn)
		defer reply.end(r)
		w, r = reply, from.conn.countBody(r)
	}
	if from != nil && !f.limits.allowRequest(from.conn.client) {
		refuseViaNetHTTP(w, r)
		return
	}
	if r.Context().Value(admitted{}) != nil {
		f.callHandler(w, r)
		return
	}
	if f.gate.shouldShed(kindOfMethod(r.Method)) {
		refuseViaNetHTTP(w, r)
		return
	}
	f.admitRequest(w, r, from)
}

// admitRequest takes in what a request brings and has it answered once it is through the gate.
func (f *Front) admitRequest(w http.ResponseWriter, r *http.Request, from *handoff) {
	if mustCloseAfter(r) {
		w.Header().Set("Connection", "close")
	}
	got, whole, err := f.receiveBody(w, r, from)
	if err != nil {
		refuseBody(w, r, err)
		return
	}
	if !whole {
		if !f.gate.acquireUpload() {
			refuseViaNetHTTP(w, r)
			return
		}
		defer f.gate.releaseUpload()
	}
	place, _ := f.gate.acquire(r.Context().Done())
	if place == nil {
		refuseViaNetHTTP(w, r)
		return
	}
	defer place.release()
	if from != nil {
		from.slot.Store(place) // what is written there is this reply until the next
	}
	if r.ProtoMajor == 1 && f.gate.isCrowded() {
		w.Header().Set("Connection", "close") // makes room for another
	}
	reply, is := w.(*http2Reply)
	if is {
		reply.slot = place
	}
	f.callHandler(w, got)
	if is {
		reply.flushTail()
	}
}

// callHandler has the handler answer.
func (f *Front) callHandler(w http.ResponseWriter, r *http.Request) {
	f.inFlight.Add(1)
	defer f.inFlight.Add(-1)
	if over, ok := r.Context().Value(overTLS{}).(*tlsState); ok {
		f.https.markTLS(w, r, over)
	}
	if f.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	f.cfg.Handler.ServeHTTP(w, r)
}

// setRules sets the rules of this moment for requests without TLS.
func (f *Front) setRules(r *answerRules) {
	r.fast, r.overTLS, r.hsts, r.draining = f.cfg.FastHandler, false, nil, f.draining.Load()
	r.limits, r.gate = f.limits, f.gate
}

// setConnRules sets the rules for a connection's requests at this moment.
func (f *Front) setConnRules(c *conn, r *answerRules) {
	f.setRules(r)
	r.client, r.at = c.client, 0
	if c.tls != nil {
		r.fast, r.overTLS, r.hsts = f.https.cfg.FastHandler, true, f.https.hsts
	}
}

// Addr is where the listener is, with the port that was chosen if 0 was asked for.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// SetDraining makes every reply from now on its connection's last, or ends
// that. Requests are answered all the same, so no client sees an error.
func (f *Front) SetDraining(draining bool) { f.draining.Store(draining) }

// Counts returns the figures of this moment.
func (f *Front) Counts() Counts {
	fast := f.fastReplies.Load()
	return Counts{
		TLS: f.https.tlsCounts(), Replies: fast + f.slowReplies.Load(), Fast: fast, Lent: f.lent.Load(), HandedOff: f.handedOff.Load(),
		InFlight: f.inFlight.Load(), Open: f.conns.open.Load(),
		Refused: f.refused.Load(), Limited: f.limits.refused.Load(),
		Shed: f.gate.shed.Load(), Pressure: f.gate.currentPressure(),
	}
}

// Serve answers until ctx ends, then closes the listener, lets replies under
// way end for at most Config.DrainTimeout, and returns.
func (f *Front) Serve(ctx context.Context) error {
	if err := f.startEventLoops(); err != nil {
		f.Close()
		return fmt.Errorf("public pages: %w", err)
	}
	accepted, served := make(chan error, 2), make(chan error, 1)
	accepting := 1
	go func() { accepted <- f.acceptConns(ctx, f.acceptor, false) }()
	stopSecure := func(time.Duration) {}
	if f.https != nil {
		accepting++
		go func() { accepted <- f.acceptConns(ctx, netAcceptor{f.https.listener}, true) }()
		stopSecure = f.https.serveHTTP2()
	}
	go func() { served <- f.server.Serve(f.handoffs) }()
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	go func() {
		f.superviseConns(watching)
		close(watched)
	}()

	var failed error
	select {
	case failed = <-accepted:
	case <-ctx.Done():
	}
	f.SetDraining(true)
	if failed == nil && (f.cfg.HasSuccessor == nil || !f.cfg.HasSuccessor()) {
		f.drainBacklog()
	}
	f.Close()
	if failed != nil {
		accepting--
	}
	for range accepting {
		<-accepted
	}
	unwatch()
	<-watched
	var leaving sync.WaitGroup
	leaving.Go(func() { stopSecure(f.cfg.DrainTimeout) })
	f.drainConns()
	leaving.Wait()
	f.server.Close() // nothing is left there
	f.stopEventLoops()
	f.serving.Wait()
	if err := <-served; failed == nil && !errors.Is(err, http.ErrServerClosed) {
		failed = err
	}
	if failed != nil {
		return fmt.Errorf("public pages: %w", failed)
	}
	return nil
}

// superviseConns ends connections whose time is over, and feels the pressure, until ctx ends.
func (f *Front) superviseConns(ctx context.Context) {
	every := f.cfg.sweepInterval()
	ticker, feeler := time.NewTicker(every), time.NewTicker(pressureInterval)
	defer ticker.Stop()
	defer feeler.Stop()
	var delays delayMeter
	for {
		select {
		case <-ctx.Done():
			return
		case <-feeler.C:
			measured := delayPressure(delays.measure())
			if f.cfg.Pressure != nil {
				measured = max(measured, f.cfg.Pressure())
			}
			f.gate.recordPressure(measured)
		case <-ticker.C:
			f.conns.sweep(f.cfg.timeouts(every, f.conns.open.Load(), false))
		}
	}
}

// sweepInterval is a part of the shortest of the times that it watches over.
func (cfg *Config) sweepInterval() time.Duration {
	shortest := min(cfg.HeaderTimeout, cfg.IdleTimeout, cfg.WriteTimeout)
	return min(max(shortest/8, minSweepInterval), maxSweepInterval)
}

// drainConns waits until all connections have ended: busy ones with the reply under
// way, which says so, idle ones after a moment.
func (f *Front) drainConns() {
	ticker := time.NewTicker(drainInterval)
	defer ticker.Stop()
	for began := time.Now(); f.conns.open.Load() > 0; <-ticker.C {
		waited := time.Since(began)
		if waited >= f.cfg.DrainTimeout {
			f.cfg.Logger.Warn("public pages: some replies did not end in time and were cut off",
				"waited", f.cfg.DrainTimeout, "open", f.conns.open.Load())
			f.conns.abortAll()
			return
		}
		f.conns.sweep(f.cfg.timeouts(drainInterval, f.conns.open.Load(), true))
	}
}

// Close frees the listeners of a Front that is not serving.
func (f *Front) Close() error {
	if f.https != nil {
		f.https.listener.Close()
	}
	f.acceptor.Close()
	return f.listener.Close()
}
