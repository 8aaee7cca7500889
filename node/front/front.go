// Package front is a board's public listener. It accepts connections within its limits
// and answers a plain request for a page that is in memory on a fast path: parsed in
// place (package http1), from bytes prepared beforehand. Every other request goes, byte
// for byte, to net/http, which is the only full HTTP implementation here. DESIGN.md has
// the states of a connection and the reasons.
package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"bramble/node/front/admission"
)

const (
	// maxHeader limits a request's header in bytes: several times what a browser sends with
	// its cookies; 4,096 connections hold 64 MB of it at most.
	maxHeader = 16 << 10
	// drainInterval is the interval between two checks whether all connections have ended.
	drainInterval = 10 * time.Millisecond
)

// Config sets up a public listener.
type Config struct {
	Listen  string // host:port
	Handler http.Handler
	// FastHandler answers from memory; nil: Handler answers everything.
	FastHandler    FastHandler
	HeaderTimeout  time.Duration // to send a request's header
	IdleTimeout    time.Duration // between two requests of a connection; less as the table fills
	WriteTimeout   time.Duration // for one whole exchange after its header
	DrainTimeout   time.Duration // for replies under way when the listener stops
	MaxConnections int           // open at once; a client beyond that gets a short 503
	// NewConnections limits the connections accepted per second; those beyond wait in the
	// kernel's backlog. 0: no limit.
	NewConnections int
	// ClientRequests and NetworkRequests limit the requests per second from one address, and
	// from one /24 or /64; two seconds' worth may arrive at once. A client that sends more
	// gets a short 503, and the connection ends. 0: no limit.
	ClientRequests, NetworkRequests int
	// ClientConnections and NetworkConnections limit the new connections per second in the
	// same way; those beyond are closed without a reply.
	ClientConnections, NetworkConnections int
	Now                                   func() time.Time // the clock of these four limits; nil: time.Now
	TLS                                   *HTTPSConfig     // nil: no https
	Logger                                *slog.Logger
	// Open opens a listener; nil: net.Listen without keep-alive probes. A listener may be
	// shared with a successor process; its socket then keeps accepting after Close.
	Open func(address string) (net.Listener, error)
	// HasSuccessor reports, when Serve stops, whether the listeners are shared. nil: they
	// are not.
	HasSuccessor func() bool
	// MaxRequests limits the requests that Handler works on at once. Four times as many may
	// wait for two seconds, and as many connections may be handed off to net/http; the rest
	// get a short 503. 0: no limit.
	MaxRequests int
	// SiteOf returns the site that has a Host. A site gets no more of MaxRequests, nor of what may wait,
	// than is free. nil: there is one site.
	SiteOf func(host string) string
	// BodyTimeout limits how far a request's body may be behind BodyRate bytes per second; a
	// client that is slower gets a 408. BodyRate 0: only WriteTimeout limits bodies.
	BodyTimeout time.Duration
	BodyRate    int
	// Pressure returns how much the board's other work suffers: 0 for not at all, 1 to shed
	// all requests that memory cannot answer. It is called five times per second. nil: only
	// the scheduling delay counts, which this package measures.
	Pressure func() float64
}

// Front is a public listener.
type Front struct {
	cfg        Config
	listener   net.Listener
	acceptor   connAcceptor
	loops      []*eventLoop // while it serves; none without a fast path
	server     *http.Server
	toNetHTTP  *netHTTPListener
	conns      *connTable
	limits     *admission.ClientLimits
	gate       *admission.Gate
	https      *httpsFront         // nil: no https
	buffers    sync.Pool           // of *replyBuffers, for connections that have input: as many as goroutines run at once
	records    sync.Pool           // of *recordBuffers, likewise
	refusals   *semaphore.Weighted // for connections that are sent a refusal
	serving    sync.WaitGroup      // the goroutines of connections that have one
	isDraining atomic.Bool

	fastReplies, slowReplies atomic.Int64 // replies of the fast path and of net/http
	lent, handedOff          atomic.Int64
	refused                  atomic.Int64
	inFlight                 atomic.Int64
}

// Counts are a listener's totals and gauges.
type Counts struct {
	Replies   int64 // sent since the start, whatever the status
	Fast      int64 // of these, by the fast path
	Lent      int64 // requests that the fast path lent to net/http
	HandedOff int64 // connections that it handed off to net/http
	InFlight  int64 // requests that Config.Handler works on now
	Open      int64 // connections now
	Refused   int64 // connections beyond a limit since the start
	Limited   int64 // requests beyond a client's or network's limit since the start
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
		cfg: cfg, listener: inner, toNetHTTP: newNetHTTPListener(inner.Addr()), conns: new(connTable),
		limits: admission.NewClientLimits(admission.Rates{
			ClientRequests: cfg.ClientRequests, NetworkRequests: cfg.NetworkRequests,
			ClientConnections: cfg.ClientConnections, NetworkConnections: cfg.NetworkConnections, Now: cfg.Now,
		}),
		refusals: semaphore.NewWeighted(maxRefusals),
		buffers:  sync.Pool{New: func() any { return new(replyBuffers) }},
		records:  sync.Pool{New: newRecordBuffers},
	}
	f.gate = admission.NewGate(cfg.MaxRequests, cfg.SiteOf, f.evictSlowestHTTP2)
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

// openListener opens without keep-alive probes: the idle time is far shorter than
// theirs, and to set them up takes three system calls for each connection.
func openListener(address string) (net.Listener, error) {
	return (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", address)
}

// Addr returns the listener's address, with the port that was chosen if 0 was configured.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// SetDraining makes every reply from now on its connection's last, or ends that. Requests
// are still answered, so no client sees an error.
func (f *Front) SetDraining(draining bool) { f.isDraining.Store(draining) }

// Counts returns the figures of this moment.
func (f *Front) Counts() Counts {
	fast := f.fastReplies.Load()
	return Counts{
		TLS: f.https.counts(), Replies: fast + f.slowReplies.Load(), Fast: fast, Lent: f.lent.Load(), HandedOff: f.handedOff.Load(),
		InFlight: f.inFlight.Load(), Open: f.conns.open.Load(),
		Refused: f.refused.Load(), Limited: f.limits.Refused(),
		Shed: f.gate.Shed(), Pressure: f.gate.Pressure(),
	}
}

// Serve answers until ctx ends, then closes the listener, lets replies under way end for
// at most Config.DrainTimeout, and returns.
func (f *Front) Serve(ctx context.Context) error {
	if err := f.startEventLoops(); err != nil {
		f.Close()
		return fmt.Errorf("public pages: %w", err)
	}
	accepted, served := make(chan error, 2), make(chan error, 1)
	accepting := 1
	go func() { accepted <- f.acceptConns(ctx, f.acceptor, false) }()
	stopHTTP2 := func(time.Duration) {}
	if f.https != nil {
		accepting++
		go func() { accepted <- f.acceptConns(ctx, netAcceptor{f.https.listener}, true) }()
		stopHTTP2 = f.https.serveHTTP2()
	}
	go func() { served <- f.server.Serve(f.toNetHTTP) }()
	sweeping, stopSweeping := context.WithCancel(context.WithoutCancel(ctx))
	swept := make(chan struct{})
	go func() {
		f.sweepConns(sweeping)
		close(swept)
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
	stopSweeping()
	<-swept
	var stopping sync.WaitGroup
	stopping.Go(func() { stopHTTP2(f.cfg.DrainTimeout) })
	f.drainConns()
	stopping.Wait()
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

// sweepConns ends overdue connections, and measures the pressure, until ctx ends.
func (f *Front) sweepConns(ctx context.Context) {
	interval := f.cfg.sweepInterval()
	sweepTicker, pressureTicker := time.NewTicker(interval), time.NewTicker(admission.PressureInterval)
	defer sweepTicker.Stop()
	defer pressureTicker.Stop()
	var delays admission.DelayMeter
	for {
		select {
		case <-ctx.Done():
			return
		case <-pressureTicker.C:
			measured := delays.Pressure()
			if f.cfg.Pressure != nil {
				measured = max(measured, f.cfg.Pressure())
			}
			f.gate.RecordPressure(measured)
		case <-sweepTicker.C:
			f.conns.sweep(f.cfg.timeouts(interval, f.conns.open.Load()))
		}
	}
}

// sweepInterval returns an eighth of the shortest timeout, within its limits.
func (cfg *Config) sweepInterval() time.Duration {
	shortest := min(cfg.HeaderTimeout, cfg.IdleTimeout, cfg.WriteTimeout)
	return min(max(shortest/8, minSweepInterval), maxSweepInterval)
}

// drainConns waits until all connections have ended: busy ones with the reply under way,
// which says "Connection: close", idle ones after drainGrace.
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
		f.conns.sweep(f.cfg.drainTimeouts(f.conns.open.Load(), waited))
	}
}

// Close closes the listeners of a Front that is not serving.
func (f *Front) Close() error {
	if f.https != nil {
		f.https.listener.Close()
	}
	f.acceptor.Close()
	return f.listener.Close()
}
