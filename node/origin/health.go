package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// minRetryDelay is the pause before a server that is down is tried again; it
	// doubles up to probeMost, which is how long a server that has come back may
	// go unnoticed.
	minRetryDelay = time.Second
	maxRetryDelay = 4 * time.Second
	// downAfterFailures is how many regular checks in a row must fail.
	downAfterFailures = 2
	// maxProbeBody is how much of a health page is read, so that its connection
	// can be kept.
	maxProbeBody = 64 << 10
)

// serverHealth is what a board knows of one server. A server is down when it cannot
// be connected to, when it fails its regular checks, or when it was silent to a
// page and then to a question of our own: one slow page says nothing of the
// others. A connection that breaks says nothing either.
type serverHealth struct {
	log  *slog.Logger
	wake chan struct{} // the state has changed; holds one

	mu      sync.Mutex // guards what follows
	downErr error      // nil = up
	suspect bool       // silent to a page
}

func newHealth(log *slog.Logger) *serverHealth {
	return &serverHealth{log: log, wake: make(chan struct{}, 1)}
}

// downReason returns why the server is not to be asked, or nil.
func (h *serverHealth) downReason() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.downErr
}

// markDown takes the server for down. err is of one of the kinds in errors.go.
func (h *serverHealth) markDown(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect = false
	if h.downErr == nil {
		h.log.Warn("an origin is down and is not asked until it is back", "error", err)
		h.wakeWatcher()
	}
	h.downErr = fmt.Errorf("the origin is down: %w", err)
}

// markUp takes the server for up.
func (h *serverHealth) markUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect = false
	if h.downErr != nil {
		h.downErr = nil
		h.log.Info("an origin that was down is back")
		h.wakeWatcher()
	}
}

// markSuspect has the server asked whether it lives.
func (h *serverHealth) markSuspect() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.suspect && h.downErr == nil {
		h.suspect = true
		h.wakeWatcher()
	}
}

// recordDial hears of each connection that was tried.
func (h *serverHealth) recordDial(err error) {
	if err != nil {
		h.markDown(classifyError(err))
	}
}

func (h *serverHealth) wakeWatcher() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// probeSchedule says when a server is asked how it is. It is a server's watch
// without clock and network.
type probeSchedule struct {
	interval   time.Duration // of regular checks, 0 = none
	retryDelay time.Duration // before the next try of a server that is down
	failures   int
}

// next is how long to wait, and false if there is nothing to wait for.
func (s *probeSchedule) next(down, suspect bool) (time.Duration, bool) {
	switch {
	case suspect:
		return 0, true
	case down:
		if s.retryDelay == 0 {
			s.retryDelay = minRetryDelay
		}
		return s.retryDelay, true
	default:
		s.retryDelay = 0
		return s.interval, s.interval > 0
	}
}

// recordProbe notes a probe's outcome and reports whether the server is down now.
func (s *probeSchedule) recordProbe(ok, down, suspect bool) bool {
	if ok {
		s.failures = 0
		return false
	}
	s.failures++
	if down {
		s.retryDelay = min(2*s.retryDelay, maxRetryDelay)
	}
	return down || suspect || s.failures >= downAfterFailures
}

// watchHealth asks the server how it is, when there is reason to, until ctx ends.
func (s *originServer) watchHealth(ctx context.Context) {
	plan := probeSchedule{}
	if s.cfg.HealthPath != "" {
		plan.interval = time.Duration(s.cfg.HealthInterval)
	}
	h := s.health
	for {
		h.mu.Lock()
		down, suspect := h.downErr != nil, h.suspect
		h.mu.Unlock()
		if !s.waitForProbe(ctx, plan.next, down, suspect) {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		if s.permits.size() == 0 {
			h.markUp() // it is not this board that asks it
			continue
		}
		err := s.probe(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrBusy): // no evidence
		case plan.recordProbe(err == nil, down, suspect):
			h.markDown(err)
		case err == nil:
			h.markUp()
		}
	}
}

// waitForProbe waits until a probe is due. It reports false if something else has
// happened.
func (s *originServer) waitForProbe(ctx context.Context, next func(down, suspect bool) (time.Duration, bool), down, suspect bool) bool {
	var due <-chan time.Time
	if wait, any := next(down, suspect); any {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.health.wake:
		return false
	case <-due:
		return true
	}
}

// probe asks the server one question, in a place that counts like any other's.
// Without a page for it any answer will do, even one that makes no sense: it
// is about silence.
func (s *originServer) probe(ctx context.Context) error {
	patience := time.Duration(s.cfg.HealthTimeout)
	if err := s.permits.acquire(ctx, patience, true); err != nil {
		return err
	}
	defer s.permits.release()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	method, path := http.MethodHead, "/"
	if s.cfg.HealthPath != "" {
		method, path = http.MethodGet, s.cfg.HealthPath
	}
	r, err := http.NewRequestWithContext(new(exchange).withTrace(ctx, method), method, s.base.Scheme+"://"+s.base.Host+path, nil)
	if err != nil {
		return fmt.Errorf("asking an origin how it is: %w", err)
	}
	r.Host = s.host
	r.Header.Set("User-Agent", "bramble-health")
	r.Header.Set("Via", "1.1 "+s.via)
	resp, err := s.currentTransport().RoundTrip(r)
	switch {
	case err == nil:
	case s.cfg.HealthPath == "" && !isUnanswered(err):
		return nil
	default:
		return classifyError(err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, maxProbeBody); err != nil && err != io.EOF {
		return classifyError(err)
	}
	if s.cfg.HealthPath != "" && resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answers with status %d: %w", path, resp.StatusCode, ErrDown)
	}
	return nil
}

// isUnanswered reports whether an error means that the server did not react at all.
func isUnanswered(err error) bool {
	var dial dialError
	return errors.As(err, &dial) || isTimeout(err)
}
