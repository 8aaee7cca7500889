package cardinit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// watchdogTimeout is how long the machine waits for a sign of life. The first
	// boards' watchdog counts to 15 s.
	watchdogTimeout = 15 * time.Second
	// feedInterval is how often it gets one while all is well.
	feedInterval = 3 * time.Second
	// healthTimeout is how long the board's program may take for an answer: it may
	// be busy with a crowd.
	healthTimeout = 2 * time.Second
	// graceAfterStart is how long a program that has just started may be silent.
	graceAfterStart = 90 * time.Second
	// graceAfterHealth is how long one that was well may be silent: with the
	// watchdog's own time this is when a hung board is reset.
	graceAfterHealth = 45 * time.Second
)

// livenessPolicy decides whether the watchdog is petted. Only a board whose program
// answers, or may not have come that far, is alive.
type livenessPolicy struct {
	since time.Time // when silence began to count
	grace time.Duration
}

// shouldFeed is told whether the program has answered, and started is whether it was
// started since the last call; it returns whether the watchdog is to be petted.
func (v *livenessPolicy) shouldFeed(now time.Time, answered, started bool) bool {
	switch {
	case answered:
		v.since, v.grace = now, graceAfterHealth
	case started:
		v.since, v.grace = now, graceAfterStart
	}
	return now.Sub(v.since) < v.grace
}

// healthProbe asks the board's program whether it lives.
type healthProbe struct {
	url    string
	client *http.Client
}

func newHealthProbe(url string) *healthProbe {
	return &healthProbe{url: url, client: &http.Client{Timeout: healthTimeout, Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (h *healthProbe) checkHealth(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url, nil)
	if err != nil {
		return err
	}
	resp, err := h.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", h.url, resp.Status)
	}
	return nil
}

// watchdogFeeder pets the watchdog, in a goroutine of its own, while the board lives.
type watchdogFeeder struct {
	device      io.WriteCloser
	checkHealth func(context.Context) error // the program's answer
	startCount  func() int                  // how often the program was started
	logf        func(format string, args ...any)

	cancel context.CancelFunc
	done   chan struct{}
	ending sync.Once
}

// startWatchdogFeeder begins to pet. It goes on until end.
func startWatchdogFeeder(dog io.WriteCloser, ask func(context.Context) error, starts func() int, say func(string, ...any)) *watchdogFeeder {
	ctx, cancel := context.WithCancel(context.Background())
	g := &watchdogFeeder{device: dog, checkHealth: ask, startCount: starts, logf: say, cancel: cancel, done: make(chan struct{})}
	go g.run(ctx)
	return g
}

// stop stops petting. The watchdog is stopped too, unless it is to go on
// counting: over the start of another kernel, which takes it over. A nil
// guardian has nothing to end, and a second end is none.
func (g *watchdogFeeder) stop(goOn bool) {
	if g == nil {
		return
	}
	g.ending.Do(func() {
		g.cancel()
		<-g.done
		if goOn {
			g.feed() // its time begins anew; it stays open
			return
		}
		_, err := g.device.Write([]byte{'V'})
		if err = errors.Join(err, g.device.Close()); err != nil {
			g.logf("stopping the watchdog: %v", err)
		}
	})
}

func (g *watchdogFeeder) run(ctx context.Context) {
	defer close(g.done)
	v := livenessPolicy{since: time.Now(), grace: graceAfterStart}
	tick := time.NewTicker(feedInterval)
	defer tick.Stop()
	known, starved := 0, false
	for ctx.Err() == nil {
		n := g.startCount()
		err := g.checkHealth(ctx)
		alive := v.shouldFeed(time.Now(), err == nil, n != known)
		known = n
		if alive {
			g.feed()
		} else if !starved {
			g.logf("the board does not answer (%v): the watchdog resets the machine", err)
		}
		starved = !alive
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (g *watchdogFeeder) feed() {
	if _, err := g.device.Write([]byte{0}); err != nil {
		g.logf("petting the watchdog: %v", err)
	}
}
