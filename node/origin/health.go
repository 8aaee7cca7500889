package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
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
// answers a request properly nor the probe that follows: one page that fails is no
// evidence about the others.
type serverHealth struct {
	log  *slog.Logger
	wake chan struct{} // buffered for one: the state has changed

	answers atomic.Int64 // proper replies to requests

	mu      sync.Mutex // guards what follows
	downErr error      // nil = up
	isAsked bool       // it is down, but reacts, so it still gets requests
	suspect bool       // it has not answered a request properly
}

// isDown reports whether the server is down.
func (h *serverHealth) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.downErr != nil
}

// downReason returns why no requests are sent to the server, or nil.
func (h *serverHealth) downReason() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isAsked {
		return nil
	}
	return h.downErr
}

// markDown records that the server is down. err matches one of the errors in errors.go.
func (h *serverHealth) markDown(err error, isAsked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect = false
	if h.downErr == nil || h.isAsked != isAsked {
		h.log.Warn("an origin is down until a probe succeeds", "gets_requests", isAsked, "error", err)
		h.wakeWatcher()
	}
	h.downErr, h.isAsked = fmt.Errorf("the origin is down: %w", err), isAsked
}

// noteReply records how a request ended. A proper reply ends a suspicion; any other end makes
// watchHealth probe the server.
func (h *serverHealth) noteReply(isProper bool) {
	if isProper {
		h.answers.Add(1)
		if h.downReason() == nil {
			h.markUp()
		}
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.suspect && h.downErr == nil {
		h.suspect = true
		h.wakeWatcher()
	}
}

func (h *serverHealth) markUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect = false
	if h.downErr != nil {
		h.downErr, h.isAsked = nil, false
		h.log.Info("an origin that was down is back")
		h.wakeWatcher()
	}
}

func (h *serverHealth) recordDial(err error) {
	if err != nil {
		h.markDown(classifyError(err), false)
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
	var probedAt time.Time
	for {
		h.mu.Lock()
		down, suspect, answers := h.downErr != nil, h.suspect, h.answers.Load()
		h.mu.Unlock()
		wait, isDue := schedule.next(down, suspect)
		if suspect { // a visitor must not cause a probe with each request
			wait = time.Until(probedAt.Add(minRetryDelay))
		}
		if !s.waitForProbe(ctx, wait, isDue) {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		if s.permits.size() == 0 {
			h.markUp() // this board has no permit: other boards send the requests
			continue
		}
		probedAt = time.Now()
		err := s.probe(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrBusy): // no evidence either way
		case err != nil && (suspect || s.cfg.HealthPath == "") && h.answers.Load() > answers: // it answers others
		case schedule.recordProbe(err == nil, down, suspect):
			h.markDown(err, s.cfg.HealthPath == "" && !isUnanswered(err))
		case err == nil:
			h.markUp()
		}
	}
}

// waitForProbe waits until a probe is due. It returns false if the state has
// changed or ctx has ended.
func (s *originServer) waitForProbe(ctx context.Context, wait time.Duration, isDue bool) bool {
	var due <-chan time.Time
	if isDue {
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
// a health page any proper reply is enough that is not a gateway's error.
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
	ex := new(exchange)
	r, err := http.NewRequestWithContext(ex.withTrace(ctx, method), method, s.base.Scheme+"://"+s.base.Host+path, nil)
	if err != nil {
		return fmt.Errorf("probing an origin: %w", err)
	}
	r.Host = s.host
	r.Header.Set("User-Agent", "bramble-health")
	r.Header.Set("Via", "1.1 "+s.via)
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return classifyError(ex.preferScanError(err))
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, maxProbeBody); err != nil && err != io.EOF {
		return classifyError(err)
	}
	if s.cfg.HealthPath != "" && resp.StatusCode >= http.StatusBadRequest || isGatewayError(resp.StatusCode) {
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
