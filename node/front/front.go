// Package front is a board's public listener: it accepts connections within
// their bounds, hands requests to one handler, and lets go of both without
// cutting anything off. Full HTTP is net/http's business; nothing here reads a
// request.
package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// maxHeader bounds a request's header in bytes: several times what a browser
// with its cookies sends, and less than 4,096 connections could not all hold.
const maxHeader = 16 << 10

// Config sets up a public listener. All times are bounds that net/http keeps.
type Config struct {
	Listen         string // host:port
	Handler        http.Handler
	HeaderTimeout  time.Duration // to send a request's header
	IdleTimeout    time.Duration // between two requests of a connection
	WriteTimeout   time.Duration // for one whole exchange after its header
	DrainTimeout   time.Duration // for replies under way when the listener stops
	MaxConnections int           // open at once; who comes beyond gets a short 503
	Logger         *slog.Logger
}

// Front is a public listener.
type Front struct {
	cfg      Config
	listener *limitListener
	server   *http.Server
	draining atomic.Bool
	replies  atomic.Int64
	inFlight atomic.Int64
}

// Counts are a listener's totals and gauges.
type Counts struct {
	Replies  int64 // answered since the start, whatever the status
	InFlight int64 // being answered now
	Open     int64 // connections now
	Refused  int64 // connections beyond the bound since the start
}

// New opens the listener; connections wait in the kernel until Serve.
func New(cfg Config) (*Front, error) {
	inner, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("public pages: %w", err)
	}
	f := &Front{cfg: cfg, listener: newLimitListener(inner, cfg.MaxConnections)}
	f.server = &http.Server{
		Handler:           http.HandlerFunc(f.serve),
		ReadHeaderTimeout: cfg.HeaderTimeout,
		ReadTimeout:       cfg.HeaderTimeout + cfg.WriteTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return f, nil
}

func (f *Front) serve(w http.ResponseWriter, r *http.Request) {
	f.inFlight.Add(1)
	defer func() {
		f.inFlight.Add(-1)
		f.replies.Add(1)
	}()
	if f.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	f.cfg.Handler.ServeHTTP(w, r)
}

// Addr is where the listener is, with the port that was chosen if 0 was asked for.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// SetDraining makes every reply from now on its connection's last, or ends
// that. Requests are answered all the same, so no client sees an error.
func (f *Front) SetDraining(draining bool) { f.draining.Store(draining) }

// Counts returns the figures of this moment.
func (f *Front) Counts() Counts {
	return Counts{
		Replies:  f.replies.Load(),
		InFlight: f.inFlight.Load(),
		Open:     f.listener.open.Load(),
		Refused:  f.listener.refused.Load(),
	}
}

// Serve answers until ctx ends, then closes the listener, lets replies under
// way end for at most Config.DrainTimeout, and returns.
func (f *Front) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(f.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("public pages: %w", err)
	case <-ctx.Done():
	}
	f.SetDraining(true)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.DrainTimeout)
	defer cancel()
	if err := f.server.Shutdown(closing); err != nil {
		f.cfg.Logger.Warn("public pages: some replies did not end in time and were cut off",
			"waited", f.cfg.DrainTimeout, "open", f.listener.open.Load())
		f.server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("public pages: %w", err)
	}
	return nil
}

// Close frees the listener of a Front that is not serving.
func (f *Front) Close() error { return f.listener.Close() }
