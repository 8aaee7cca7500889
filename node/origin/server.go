package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"bramble/node/config"
)

// idleConnTimeout limits how long an unused connection to an origin stays open.
const idleConnTimeout = 90 * time.Second

// originServer is one web server with its permits, health and connections. Sites
// that name the same server share it.
type originServer struct {
	cfg     config.OriginSettings
	base    *url.URL
	host    string // Host of the rack's own probes
	via     string
	health  *serverHealth
	permits permits
	dialer  dialer

	requests atomic.Int64
	failures atomic.Int64

	mu        sync.Mutex // guards what follows
	limit     int
	transport *http.Transport
}

// newServer returns a server without permits.
func newServer(cfg config.OriginSettings, host, via string, log *slog.Logger) (*originServer, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("[origin] url: %w", err)
	}
	s := &originServer{cfg: cfg, base: base, host: host, via: via, permits: newPermits(0), health: &serverHealth{log: log.With("origin", cfg.URL), wake: make(chan struct{}, 1)}}
	s.dialer = dialer{
		timeout:   time.Duration(cfg.ConnectTimeout),
		dialConn:  new(net.Dialer).DialContext,
		tls:       &tls.Config{MinVersion: tls.VersionTLS12},
		onResult:  s.health.recordDial,
		openConns: newPermits(1),
	}
	s.transport = s.newTransport(1)
	return s, nil
}

// newTransport returns a pool of at most n connections: a server that runs one process
// per connection limits connections as well as requests.
func (s *originServer) newTransport(n int) *http.Transport {
	return &http.Transport{
		DialContext:            s.dialer.dialTCP,
		DialTLSContext:         s.dialer.dialTLS,
		ResponseHeaderTimeout:  time.Duration(s.cfg.ReplyTimeout),
		MaxConnsPerHost:        n,
		MaxIdleConnsPerHost:    n,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxReplyHead,
		DisableCompression:     true, // the client's Accept-Encoding is forwarded as it is
	}
}

// setLimit changes the number of permits and connections of this board. Without permits
// it has one connection, for a request that already has a permit.
func (s *originServer) setLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == s.limit {
		return
	}
	s.limit = n
	old := s.transport
	s.transport = s.newTransport(max(n, 1)) // 0 would be no limit
	old.CloseIdleConnections()
	s.dialer.openConns.SetLimit(max(n, 1))
	s.permits.SetLimit(n)
}

// currentTransport returns the pool for new requests.
func (s *originServer) currentTransport() *http.Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport
}

// releasePermit releases the permit of a request that used the pool. If the pool has been
// replaced, or this board has no permits left, it first closes the pool's idle connections.
func (s *originServer) releasePermit(t *http.Transport) {
	if t != s.currentTransport() || s.permits.size() == 0 {
		t.CloseIdleConnections()
	}
	s.permits.release()
}

// fetch sends a request to the server, after a bounded wait for a permit.
func (s *originServer) fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	if err := s.health.downReason(); err != nil {
		s.failures.Add(1)
		return nil, err
	}
	if err := s.permits.acquire(ctx, time.Duration(s.cfg.QueueTimeout), false); err != nil {
		if ctx.Err() == nil {
			s.failures.Add(1)
		}
		return nil, err
	}
	if err := s.health.downReason(); err != nil { // the server went down while this request waited
		s.permits.release()
		s.failures.Add(1)
		return nil, err
	}
	s.requests.Add(1)
	resp, err := s.roundTrip(ctx, r)
	if err != nil && ctx.Err() != nil {
		return nil, err // the client has gone
	}
	isProper := err == nil && !isGatewayError(resp.StatusCode)
	if !isProper {
		s.failures.Add(1)
	}
	if !errors.Is(err, ErrBusy) {
		s.health.noteReply(isProper)
	}
	return resp, err
}

// isGatewayError reports whether a status says that there is no working server behind the one that answers.
func isGatewayError(status int) bool {
	return status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout
}

// roundTrip sends the request. The reply's body releases the permit that the
// caller has acquired.
func (s *originServer) roundTrip(ctx context.Context, r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	ex := new(exchange)
	out := r.WithContext(ex.withTrace(ctx, r.Method))
	target := *r.URL
	target.Scheme, target.Host = s.base.Scheme, s.base.Host
	out.URL, out.Host, out.RequestURI = &target, r.URL.Host, ""
	out.Close = false // Close is about the client's own connection
	out.Header = r.Header.Clone()
	if out.Header == nil {
		out.Header = http.Header{}
	}
	if _, given := out.Header["User-Agent"]; !given {
		out.Header["User-Agent"] = nil // so that net/http does not add its own
	}
	out.Header.Add("Via", "1.1 "+s.via)
	transport := s.currentTransport()
	release := func() { s.releasePermit(transport) }
	resp, err := transport.RoundTrip(out)
	if err != nil {
		cancel(nil)
		release()
		return nil, classifyError(ex.preferScanError(err))
	}
	ex.restoreConnectionField(resp)
	resp.Body = newIdleBody(resp.Body, time.Duration(s.cfg.IdleTimeout), cancel, release, ex)
	return resp, nil
}

// idleBody ends a reply whose server stops sending. Only time inside Read counts,
// so a client that reads slowly does no harm.
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

func newIdleBody(inner io.ReadCloser, idle time.Duration, cancel context.CancelCauseFunc, release func(), ex *exchange) *idleBody {
	b := &idleBody{inner: inner, idle: idle, cancel: cancel, release: release, exchange: ex}
	b.timer = time.AfterFunc(idle, func() {
		b.idleTimedOut.Store(true)
		cancel(ErrSlow)
	})
	b.timer.Stop()
	return b
}

// Read reads what has arrived, and waits for at most the idle time.
func (b *idleBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.inner.Read(p)
	b.timer.Stop()
	switch {
	case err == nil || err == io.EOF:
	case b.idleTimedOut.Load():
		err = fmt.Errorf("origin: nothing arrived for %v within a reply: %w", b.idle, ErrSlow)
	default:
		err = classifyError(b.preferScanError(err))
	}
	return n, err
}

// Close releases the permit.
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
