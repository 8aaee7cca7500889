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
	// minRetryDelay is the first pause before a server that is down is probed
	// again. It doubles up to maxRetryDelay, the longest time for which a
	// recovered server goes unnoticed.
	minRetryDelay = time.Second
	maxRetryDelay = 4 * time.Second
	// downAfterFailures is the number of regular checks in a row that must fail.
	downAfterFailures = 2
	// maxProbeBody limits the bytes that are read of a health page. The connection
	// can be reused only if the page was read to its end.
	maxProbeBody = 64 << 10
)

// serverHealth is one board's view of one server. A server is down when it
// cannot be connected to, when its regular checks fail, or when it neither
// answers a request nor the probe that follows: one slow page is no evidence
// about the others. Nor is a connection that breaks.
type serverHealth struct {
	log  *slog.Logger
	wake chan struct{} // buffered for one: the state has changed

	mu      sync.Mutex // guards what follows
	downErr error      // nil = up
	suspect bool       // it has not answered a request
}

// downReason returns why no requests are sent to the server, or nil.
func (h *serverHealth) downReason() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.downErr
}

// markDown records that the server is down. err matches one of the errors in errors.go.
func (h *serverHealth) markDown(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect = false
	if h.downErr == nil {
		h.log.Warn("an origin is down: no requests are sent to it until a probe succeeds", "error", err)
		h.wakeWatcher()
	}
	h.downErr = fmt.Errorf("the origin is down: %w", err)
}

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

// markSuspect makes watchHealth probe the server at once.
func (h *serverHealth) markSuspect() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.suspect && h.downErr == nil {
		h.suspect = true
		h.wakeWatcher()
	}
}

func (h *serverHealth) recordDial(err error) {
	if err != nil {
		h.markDown(classifyError(err))
	}
}

// wakeWatcher makes watchHealth read the state again.
func (h *serverHealth) wakeWatcher() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// probeSchedule decides when a server is probed. It is the part of watchHealth that
// needs neither clock nor network.
type probeSchedule struct {
	interval   time.Duration // of regular checks, 0 = none
	retryDelay time.Duration // before the next probe of a server that is down
	failures   int
}

// next returns the time until the next probe, and false if none is due.
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

// recordProbe records a probe's result and reports whether the server is down now.
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

// watchHealth probes the server by its schedule, until ctx ends.
func (s *originServer) watchHealth(ctx context.Context) {
	schedule := probeSchedule{}
	if s.cfg.HealthPath != "" {
		schedule.interval = time.Duration(s.cfg.HealthInterval)
	}
	h := s.health
	for {
		h.mu.Lock()
		down, suspect := h.downErr != nil, h.suspect
		h.mu.Unlock()
		if !s.waitForProbe(ctx, &schedule, down, suspect) {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		if s.permits.size() == 0 {
			h.markUp() // this board has no permit: other boards send the requests
			continue
		}
		err := s.probe(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrBusy): // no evidence either way
		case schedule.recordProbe(err == nil, down, suspect):
			h.markDown(err)
		case err == nil:
			h.markUp()
		}
	}
}

// waitForProbe waits until a probe is due. It returns false if the state has
// changed or ctx has ended.
func (s *originServer) waitForProbe(ctx context.Context, schedule *probeSchedule, down, suspect bool) bool {
	var due <-chan time.Time
	if wait, ok := schedule.next(down, suspect); ok {
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

// probe sends the server one request, under a permit like any other's. Without
// a health page any reply is enough, even a malformed one: the server is alive.
func (s *originServer) probe(ctx context.Context) error {
	timeout := time.Duration(s.cfg.HealthTimeout)
	if err := s.permits.acquire(ctx, timeout, true); err != nil {
		return err
	}
	transport := s.currentTransport()
	defer s.releasePermit(transport)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	method, path := http.MethodHead, "/"
	if s.cfg.HealthPath != "" {
		method, path = http.MethodGet, s.cfg.HealthPath
	}
	r, err := http.NewRequestWithContext(new(exchange).withTrace(ctx, method), method, s.base.Scheme+"://"+s.base.Host+path, nil)
	if err != nil {
		return fmt.Errorf("probing an origin: %w", err)
	}
	r.Host = s.host
	r.Header.Set("User-Agent", "bramble-health")
	r.Header.Set("Via", "1.1 "+s.via)
	resp, err := transport.RoundTrip(r)
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

// isUnanswered reports whether an error means that the server did not react at all, or
// was not asked.
func isUnanswered(err error) bool {
	var dial dialError
	return errors.As(err, &dial) || isTimeout(err) || errors.Is(err, ErrBusy)
}
