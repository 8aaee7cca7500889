package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/node/config"
)

// Kinds of failure of an origin; each becomes a plain page of its own.
var (
	errOriginDown = errors.New("the origin cannot be reached or breaks off")
	errOriginSlow = errors.New("the origin takes too long")
	errOriginBusy = errors.New("the origin has more to do than it may be given")
)

// maxOriginHeader bounds the fields of an origin's reply, in bytes.
const maxOriginHeader = 64 << 10

// countedOrigin counts what an origin is asked and notes whether it answers.
// Any reply but 502, 503 and 504 counts as life.
type countedOrigin struct {
	cache.Upstream
	asked  atomic.Int64
	failed atomic.Int64
	down   atomic.Bool // the last request failed
}

// Fetch asks the origin and counts.
func (o *countedOrigin) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	o.asked.Add(1)
	resp, err := o.Upstream.Fetch(ctx, r)
	switch {
	case err == nil:
		bad := resp.StatusCode >= http.StatusBadGateway && resp.StatusCode <= http.StatusGatewayTimeout
		o.down.Store(bad)
		if bad {
			o.failed.Add(1)
		}
		resp.Header.Del(headerRefused) // only a board may say this
	case ctx.Err() == nil:
		o.down.Store(!errors.Is(err, errOriginBusy))
		o.failed.Add(1)
	}
	return resp, err
}

// shopOrigin is the built-in shop as an origin: a page is made in memory. Shop
// pages are a few kilobytes, so there is nothing to stream.
type shopOrigin struct{ shop http.Handler }

// Fetch lets the shop answer.
func (o shopOrigin) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	page := &pageWriter{header: http.Header{}}
	o.shop.ServeHTTP(page, r.WithContext(ctx))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if page.status == 0 {
		page.status = http.StatusOK
	}
	if page.header.Get("Date") == "" {
		page.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	return &http.Response{
		StatusCode:    page.status,
		Status:        http.StatusText(page.status),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        page.header,
		Body:          io.NopCloser(bytes.NewReader(page.body.Bytes())),
		ContentLength: int64(page.body.Len()),
		Request:       r,
	}, nil
}

// pageWriter keeps what a handler writes.
type pageWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header returns the fields that will be sent.
func (p *pageWriter) Header() http.Header { return p.header }

// WriteHeader notes the first status.
func (p *pageWriter) WriteHeader(status int) {
	if p.status == 0 {
		p.status = status
	}
}

// Write appends to the body.
func (p *pageWriter) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.body.Write(b)
}

// httpOrigin is another web server, asked by at most a bounded number of
// requests at once.
type httpOrigin struct {
	base      *url.URL
	transport *http.Transport
	slots     chan struct{}
	queue     time.Duration
	idle      time.Duration
}

func newHTTPOrigin(cfg config.Origin) (*httpOrigin, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("[origin] url: %w", err)
	}
	dialer := &net.Dialer{Timeout: time.Duration(cfg.ConnectTimeout)}
	return &httpOrigin{
		base: base,
		transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    time.Duration(cfg.ConnectTimeout),
			ResponseHeaderTimeout:  time.Duration(cfg.ReplyTimeout),
			MaxIdleConns:           cfg.MaxConcurrent,
			MaxIdleConnsPerHost:    cfg.MaxConcurrent,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: maxOriginHeader,
			DisableCompression:     true, // the client's Accept-Encoding is passed on as it is
		},
		slots: make(chan struct{}, cfg.MaxConcurrent),
		queue: time.Duration(cfg.QueueTimeout),
		idle:  time.Duration(cfg.IdleTimeout),
	}, nil
}

// Fetch asks the origin, after a bounded wait for a free place.
func (o *httpOrigin) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	if err := o.enter(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	out := r.WithContext(ctx)
	target := *r.URL
	target.Scheme, target.Host = o.base.Scheme, o.base.Host
	out.URL, out.Host, out.RequestURI = &target, o.base.Host, ""
	if _, given := out.Header["User-Agent"]; !given {
		out.Header = r.Header.Clone()
		out.Header["User-Agent"] = nil // keep Go from adding its own
	}
	resp, err := o.transport.RoundTrip(out)
	if err != nil {
		cancel(nil)
		o.leave()
		return nil, originError(err)
	}
	resp.Body = newIdleBody(resp.Body, o.idle, cancel, o.leave)
	return resp, nil
}

func (o *httpOrigin) enter(ctx context.Context) error {
	select {
	case o.slots <- struct{}{}:
		return nil
	default:
	}
	wait := time.NewTimer(o.queue)
	defer wait.Stop()
	select {
	case o.slots <- struct{}{}:
		return nil
	case <-wait.C:
		return fmt.Errorf("origin: %d requests under way and %v waited: %w", cap(o.slots), o.queue, errOriginBusy)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *httpOrigin) leave() { <-o.slots }

// originError says of which kind a transport's error is.
func originError(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("origin: %w", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("origin: %w: %w", errOriginSlow, err)
	default:
		return fmt.Errorf("origin: %w: %w", errOriginDown, err)
	}
}

// idleBody ends a reply whose sender falls silent. Only the time spent inside
// Read counts: a client that reads slowly is not the origin's fault.
type idleBody struct {
	inner  io.ReadCloser
	timer  *time.Timer
	idle   time.Duration
	cancel context.CancelCauseFunc
	leave  func()
	silent atomic.Bool
	closed atomic.Bool
}

func newIdleBody(inner io.ReadCloser, idle time.Duration, cancel context.CancelCauseFunc, leave func()) *idleBody {
	b := &idleBody{inner: inner, idle: idle, cancel: cancel, leave: leave}
	b.timer = time.AfterFunc(idle, func() {
		b.silent.Store(true)
		cancel(errOriginSlow)
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
		err = fmt.Errorf("origin: nothing came for %v inside a reply: %w", b.idle, errOriginSlow)
	default:
		err = originError(err)
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
