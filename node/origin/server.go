package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"bramble/node/config"
)

// idleConnTimeout is how long a connection to an origin is kept unused.
const idleConnTimeout = 90 * time.Second

// originServer is one web server, asked by a bounded number of requests at once.
// Sites that name the same one share it.
type originServer struct {
	cfg     config.OriginSettings
	base    *url.URL
	host    string // Host of the questions that are the rack's own
	via     string
	health  *serverHealth
	permits permits
	dialer  dialer

	requests atomic.Int64
	failures atomic.Int64
	failing  atomic.Bool // the last answer was 502, 503 or 504, or none

	mu        sync.Mutex // guards what follows
	limit     int
	transport *http.Transport
}

func newServer(cfg config.OriginSettings, host, via string, log *slog.Logger) (*originServer, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("[origin] url: %w", err)
	}
	s := &originServer{cfg: cfg, base: base, host: host, via: via, health: newHealth(log.With("origin", cfg.URL))}
	s.dialer = dialer{
		timeout:  time.Duration(cfg.ConnectTimeout),
		tls:      &tls.Config{MinVersion: tls.VersionTLS12},
		onResult: s.health.recordDial,
	}
	s.transport = s.newTransport(1)
	return s, nil
}

// newTransport makes a pool of at most n connections: a server that gives each
// connection a process is promised as many connections as requests.
func (s *originServer) newTransport(n int) *http.Transport {
	return &http.Transport{
		DialContext:            s.dialer.dialTCP,
		DialTLSContext:         s.dialer.dialTLS,
		ResponseHeaderTimeout:  time.Duration(s.cfg.ReplyTimeout),
		MaxConnsPerHost:        n,
		MaxIdleConnsPerHost:    n,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxReplyHead,
		DisableCompression:     true, // the client's Accept-Encoding is passed on as it is
	}
}

// setLimit gives this board another number of places and connections.
func (s *originServer) setLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == s.limit {
		return
	}
	s.limit = n
	old := s.transport
	if n > 0 {
		s.transport = s.newTransport(n)
	}
	old.CloseIdleConnections()
	s.permits.setLimit(n)
}

func (s *originServer) currentTransport() *http.Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport
}

// closeIfReplaced closes a connection's pool behind it if it is not the present one.
func (s *originServer) closeIfReplaced(t *http.Transport) {
	if t != s.currentTransport() {
		t.CloseIdleConnections()
	}
}

// fetch asks the server, after a bounded wait for a free place.
func (s *originServer) fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	if why := s.health.downReason(); why != nil {
		s.failures.Add(1)
		return nil, why
	}
	if err := s.permits.acquire(ctx, time.Duration(s.cfg.QueueTimeout), false); err != nil {
		if ctx.Err() == nil {
			s.failures.Add(1)
		}
		return nil, err
	}
	if why := s.health.downReason(); why != nil { // found out while this one waited
		s.permits.release()
		s.failures.Add(1)
		return nil, why
	}
	s.requests.Add(1)
	resp, err := s.roundTrip(ctx, r)
	switch {
	case err == nil:
		bad := resp.StatusCode >= http.StatusBadGateway && resp.StatusCode <= http.StatusGatewayTimeout
		s.failing.Store(bad)
		if bad {
			s.failures.Add(1)
		}
	case ctx.Err() == nil:
		s.failing.Store(true)
		s.failures.Add(1)
	}
	return resp, err
}

// roundTrip makes the request in the place that was taken, which the reply's body
// gives back.
func (s *originServer) roundTrip(ctx context.Context, r *http.Request) (*http.Response, error) {
	asked := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	ex := new(exchange)
	out := r.WithContext(ex.withTrace(ctx, r.Method))
	target := *r.URL
	target.Scheme, target.Host = s.base.Scheme, s.base.Host
	out.URL, out.Host, out.RequestURI = &target, r.URL.Host, ""
	out.Close = false // the client's wish for its own connection
	out.Header = r.Header.Clone()
	if out.Header == nil {
		out.Header = http.Header{}
	}
	if _, given := out.Header["User-Agent"]; !given {
		out.Header["User-Agent"] = nil // keep Go from adding its own
	}
	out.Header.Add("Via", "1.1 "+s.via)
	transport := s.currentTransport()
	leave := func() {
		s.permits.release()
		s.closeIfReplaced(transport)
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		cancel(nil)
		leave()
		var dial dialError
		if asked.Err() == nil && isTimeout(err) && !errors.As(err, &dial) {
			s.health.markSuspect()
		}
		return nil, classifyError(ex.preferScanError(err))
	}
	ex.restoreConnectionField(resp)
	resp.Body = newIdleBody(resp.Body, time.Duration(s.cfg.IdleTimeout), cancel, leave, ex)
	return resp, nil
}

// idleBody ends a reply whose sender falls silent. Only the time spent inside
// Read counts: a client that reads slowly is not the origin's fault.
type idleBody struct {
	inner   io.ReadCloser
	timer   *time.Timer
	idle    time.Duration
	cancel  context.CancelCauseFunc
	release func()
	*exchange
	idleTimedOut atomic.Bool
	closed       atomic.Bool
}

func newIdleBody(inner io.ReadCloser, idle time.Duration, cancel context.CancelCauseFunc, leave func(), ex *exchange) *idleBody {
	b := &idleBody{inner: inner, idle: idle, cancel: cancel, release: leave, exchange: ex}
	b.timer = time.AfterFunc(idle, func() {
		b.idleTimedOut.Store(true)
		cancel(ErrSlow)
	})
	b.timer.Stop()
	return b
}

// Read reads what has come, waiting for at most the idle time.
func (b *idleBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.inner.Read(p)
	b.timer.Stop()
	switch {
	case err == nil || err == io.EOF:
	case b.idleTimedOut.Load():
		err = fmt.Errorf("origin: nothing came for %v inside a reply: %w", b.idle, ErrSlow)
	default:
		err = classifyError(b.preferScanError(err))
	}
	return n, err
}

// Close gives the place at the origin free.
func (b *idleBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.timer.Stop()
	err := b.inner.Close()
	b.cancel(nil)
	b.release()
	return err
}
