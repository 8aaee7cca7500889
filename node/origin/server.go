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

// keepIdle is how long a connection to an origin is kept unused.
const keepIdle = 90 * time.Second

// server is one web server, asked by a bounded number of requests at once.
// Sites that name the same one share it.
type server struct {
	cfg    config.Origin
	base   *url.URL
	host   string // Host of the questions that are the rack's own
	via    string
	health *health
	places places
	dialer dialer

	asked  atomic.Int64
	failed atomic.Int64
	sick   atomic.Bool // the last answer was 502, 503 or 504, or none

	mu        sync.Mutex // guards what follows
	limit     int
	transport *http.Transport
}

func newServer(cfg config.Origin, host, via string, log *slog.Logger) (*server, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("[origin] url: %w", err)
	}
	s := &server{cfg: cfg, base: base, host: host, via: via, health: newHealth(log.With("origin", cfg.URL))}
	s.dialer = dialer{
		timeout: time.Duration(cfg.ConnectTimeout),
		tls:     &tls.Config{MinVersion: tls.VersionTLS12},
		told:    s.health.dialled,
	}
	s.transport = s.newTransport(1)
	return s, nil
}

// newTransport makes a pool of at most n connections: a server that gives each
// connection a process is promised as many connections as requests.
func (s *server) newTransport(n int) *http.Transport {
	return &http.Transport{
		DialContext:            s.dialer.plain,
		DialTLSContext:         s.dialer.secure,
		ResponseHeaderTimeout:  time.Duration(s.cfg.ReplyTimeout),
		MaxConnsPerHost:        n,
		MaxIdleConnsPerHost:    n,
		IdleConnTimeout:        keepIdle,
		MaxResponseHeaderBytes: maxReplyHead,
		DisableCompression:     true, // the client's Accept-Encoding is passed on as it is
	}
}

// setLimit gives this board another number of places and connections.
func (s *server) setLimit(n int) {
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
	s.places.setLimit(n)
}

func (s *server) pool() *http.Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport
}

// retire closes a connection's pool behind it if it is not the present one.
func (s *server) retire(t *http.Transport) {
	if t != s.pool() {
		t.CloseIdleConnections()
	}
}

// fetch asks the server, after a bounded wait for a free place.
func (s *server) fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	if why := s.health.down(); why != nil {
		s.failed.Add(1)
		return nil, why
	}
	if err := s.places.take(ctx, time.Duration(s.cfg.QueueTimeout), false); err != nil {
		if ctx.Err() == nil {
			s.failed.Add(1)
		}
		return nil, err
	}
	if why := s.health.down(); why != nil { // found out while this one waited
		s.places.leave()
		s.failed.Add(1)
		return nil, why
	}
	s.asked.Add(1)
	resp, err := s.send(ctx, r)
	switch {
	case err == nil:
		bad := resp.StatusCode >= http.StatusBadGateway && resp.StatusCode <= http.StatusGatewayTimeout
		s.sick.Store(bad)
		if bad {
			s.failed.Add(1)
		}
	case ctx.Err() == nil:
		s.sick.Store(true)
		s.failed.Add(1)
	}
	return resp, err
}

// send makes the request in the place that was taken, which the reply's body
// gives back.
func (s *server) send(ctx context.Context, r *http.Request) (*http.Response, error) {
	asked := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	ex := new(exchange)
	out := r.WithContext(ex.trace(ctx, r.Method))
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
	transport := s.pool()
	leave := func() {
		s.places.leave()
		s.retire(transport)
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		cancel(nil)
		leave()
		var dial dialError
		if asked.Err() == nil && timedOut(err) && !errors.As(err, &dial) {
			s.health.silent()
		}
		return nil, kindOf(ex.explain(err))
	}
	ex.putBack(resp)
	resp.Body = newIdleBody(resp.Body, time.Duration(s.cfg.IdleTimeout), cancel, leave, ex)
	return resp, nil
}

// idleBody ends a reply whose sender falls silent. Only the time spent inside
// Read counts: a client that reads slowly is not the origin's fault.
type idleBody struct {
	inner  io.ReadCloser
	timer  *time.Timer
	idle   time.Duration
	cancel context.CancelCauseFunc
	leave  func()
	*exchange
	silent atomic.Bool
	closed atomic.Bool
}

func newIdleBody(inner io.ReadCloser, idle time.Duration, cancel context.CancelCauseFunc, leave func(), ex *exchange) *idleBody {
	b := &idleBody{inner: inner, idle: idle, cancel: cancel, leave: leave, exchange: ex}
	b.timer = time.AfterFunc(idle, func() {
		b.silent.Store(true)
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
	case b.silent.Load():
		err = fmt.Errorf("origin: nothing came for %v inside a reply: %w", b.idle, ErrSlow)
	default:
		err = kindOf(b.explain(err))
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
	b.leave()
	return err
}
