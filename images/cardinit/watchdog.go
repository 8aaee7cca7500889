package cardinit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// watchdogTimeout is the time without feeding after which the watchdog resets
	// the machine. The first boards' watchdog counts to 15 s.
	watchdogTimeout = 15 * time.Second
	// feedInterval is the pause between two health checks, after which the watchdog is fed.
	feedInterval = 3 * time.Second
	// healthTimeout limits one health check: the board's program may be busy with a
	// crowd.
	healthTimeout = 2 * time.Second
	// graceAfterStart is the time for which a program that has just started may fail its
	// health checks.
	graceAfterStart = 90 * time.Second
	// graceAfterHealth is the time for which a program that was healthy may fail them. A hung
	// board is reset after this and watchdogTimeout.
	graceAfterHealth = 45 * time.Second
)

// livenessPolicy decides whether the watchdog is fed: while the board's program
// passes its health checks, or is within a grace time.
type livenessPolicy struct {
	since time.Time // the last healthy check, or start
	grace time.Duration
}

// shouldFeed takes the result of a health check, and whether the program was
// started since the last call. It reports whether to feed the watchdog.
func (l *livenessPolicy) shouldFeed(now time.Time, healthy, started bool) bool {
	switch {
	case healthy:
		l.since, l.grace = now, graceAfterHealth
	case started:
		l.since, l.grace = now, graceAfterStart
	}
	return now.Sub(l.since) < l.grace
}

// newHealthCheck returns a function that returns nil if the board's program answers 200.
func newHealthCheck(url string) func(context.Context) error {
	client := &http.Client{Timeout: healthTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		// The board is on this machine and is sent no secret. A resumed session on one curve
		// costs no signature, which would be most of a first Pi's work.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}, ClientSessionCache: tls.NewLRUClientSessionCache(1)},
	}}
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}
}

// watchdogFeeder feeds the hardware watchdog from its own goroutine while the board
// is alive.
type watchdogFeeder struct {
	device      io.WriteCloser
	checkHealth func(context.Context) error
	startCount  func() int64 // the number of the program's starts
	logf        func(format string, args ...any)

	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once // stop
}

// startWatchdogFeeder starts feeding. It goes on until stop.
func startWatchdogFeeder(device io.WriteCloser, checkHealth func(context.Context) error, startCount func() int64, logf func(string, ...any)) *watchdogFeeder {
	ctx, cancel := context.WithCancel(context.Background())
	f := &watchdogFeeder{device: device, checkHealth: checkHealth, startCount: startCount, logf: logf, cancel: cancel, done: make(chan struct{})}
	go f.run(ctx)
	return f
}

// stop stops feeding. With keepArmed the watchdog goes on counting, through the
// start of another kernel, which takes it over; else stop disarms it. Calls after
// the first, and on a nil feeder, do nothing.
func (w *watchdogFeeder) stop(keepArmed bool) {
	if w == nil {
		return
	}
	w.once.Do(func() {
		w.cancel()
		<-w.done
		if keepArmed {
			w.feed() // restarts its countdown; the device stays open
			return
		}
		_, err := w.device.Write([]byte{'V'}) // the magic close
		if err = errors.Join(err, w.device.Close()); err != nil {
			w.logf("stopping the watchdog: %v", err)
		}
	})
}

func (w *watchdogFeeder) run(ctx context.Context) {
	defer close(w.done)
	policy := livenessPolicy{since: time.Now(), grace: graceAfterStart}
	seenStarts, starving := int64(0), false
	for ctx.Err() == nil {
		starts := w.startCount()
		err := w.checkHealth(ctx)
		alive := policy.shouldFeed(time.Now(), err == nil, starts != seenStarts)
		seenStarts = starts
		if alive {
			w.feed()
		} else if !starving {
			w.logf("the board does not answer (%v): the watchdog resets the machine", err)
		}
		starving = !alive
		sleep(ctx, feedInterval)
	}
}

func (w *watchdogFeeder) feed() {
	if _, err := w.device.Write([]byte{0}); err != nil {
		w.logf("feeding the watchdog: %v", err)
	}
}
