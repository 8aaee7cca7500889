package cardinit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/beevik/ntp"
)

const (
	// clockTimeout limits how long the start of the board's program waits for the time.
	clockTimeout = 10 * time.Second
	// minRetryDelay is the first delay between rounds while the clock is not set. Each
	// round doubles it, up to maxRetryDelay.
	minRetryDelay = 2 * time.Second
	maxRetryDelay = 2 * time.Minute
	// pollInterval is the interval between rounds once the clock is set. A crystal of
	// 50 ppm is off by 50 ms after it.
	pollInterval = 17 * time.Minute
	// queryTimeout bounds one query of a server.
	queryTimeout = 3 * time.Second
	// maxSpread is the largest difference between two servers that agree.
	maxSpread = time.Second
	// stepThreshold is the error from which a clock that is set is stepped and not
	// slewed. The kernel slews by 0.5 ms per second, so half a second takes 17 minutes.
	stepThreshold = 500 * time.Millisecond
	// maxServers bounds the servers of one round.
	maxServers = 4
	// saveTimeInterval is the interval at which the time is saved to the card. After a
	// power cut a clock that is hours behind is no worse than one that is minutes
	// behind, and each write costs some 50 KB with the journal.
	saveTimeInterval = 6 * time.Hour
)

// defaultTimeServers returns the servers that Debian's own packages use.
func defaultTimeServers() []string {
	return []string{"0.debian.pool.ntp.org", "1.debian.pool.ntp.org", "2.debian.pool.ntp.org", "3.debian.pool.ntp.org"}
}

// clockSync sets the machine's clock from time servers, and keeps it right.
type clockSync struct {
	system  System
	paths   Paths
	logf    func(format string, args ...any)
	servers func() []string // the servers to query now
	query   func(server string) (time.Duration, error)
	set     chan struct{} // closed when the clock is set

	isSet bool // of the goroutine of run
}

func newClockSync(system System, p Paths, servers func() []string, logf func(string, ...any)) *clockSync {
	return &clockSync{system: system, paths: p, logf: logf, servers: servers, query: querySNTP, set: make(chan struct{})}
}

// restoreSaved sets the clock to the time of the last shutdown, because nothing else
// can have happened before it. That does not count as set.
func (c *clockSync) restoreSaved() {
	text, err := os.ReadFile(c.paths.SavedFile("clock"))
	if err != nil {
		return
	}
	saved, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil || saved.Before(earliestTime()) || saved.After(latestTime()) || !time.Now().Before(saved) {
		return
	}
	if err := c.system.SetClock(saved); err != nil {
		c.logf("clock: %v", err)
	}
}

// run synchronises the clock until ctx ends.
func (c *clockSync) run(ctx context.Context) {
	delay := minRetryDelay
	savedAt := time.Now() // by the monotonic clock
	for ctx.Err() == nil {
		switch err := c.syncOnce(ctx); {
		case err == nil:
			delay = pollInterval
		case !c.isSet:
			delay = min(2*delay, maxRetryDelay)
		}
		if c.isSet && time.Since(savedAt) >= saveTimeInterval {
			c.saveTime()
			savedAt = time.Now()
		}
		sleep(ctx, delay)
	}
	c.saveTime()
}

// syncOnce queries the servers once and corrects the clock.
func (c *clockSync) syncOnce(ctx context.Context) error {
	servers := c.servers()
	servers = servers[:min(len(servers), maxServers)]
	samples := make([]timeSample, len(servers))
	var queries sync.WaitGroup
	for i, s := range servers {
		queries.Go(func() {
			if offset, err := c.query(s); err == nil {
				samples[i] = timeSample{s, offset}
			}
		})
	}
	queries.Wait()
	samples = slices.DeleteFunc(samples, func(s timeSample) bool { return s.server == "" })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	best, err := chooseSample(samples, len(servers))
	if err != nil {
		return err
	}
	change, err := chooseChange(time.Now(), best.offset, c.isSet)
	if err != nil {
		return err
	}
	switch change {
	case stepClock:
		err = c.system.SetClock(time.Now().Add(best.offset))
	case slewClock:
		err = c.system.Slew(best.offset)
	}
	if err != nil {
		return err
	}
	if c.isSet {
		if change == stepClock {
			c.logf("clock stepped by %v, from %s", best.offset.Round(time.Millisecond), best.server)
		}
		return nil
	}
	c.isSet = true
	// The file is in memory, where a full disk is no concern.
	_ = replaceFile(c.paths.StateFile(clockStateFile), []byte("set by "+best.server+"\n"))
	c.saveTime()
	c.logf("clock set by %s", best.server)
	close(c.set)
	return nil
}

// saveTime saves the time for restoreSaved.
func (c *clockSync) saveTime() {
	if c.isSet {
		// Without a writable card nothing can be saved.
		_ = replaceFile(c.paths.SavedFile("clock"), []byte(time.Now().UTC().Format(time.RFC3339)+"\n"))
	}
}

// timeSample is the reply of one server.
type timeSample struct {
	server string
	offset time.Duration // of the server's clock against this one
}

// errNoTime means that no time server has answered.
var errNoTime = errors.New("no time server answers")

// chooseSample chooses the reply to use: if one server was queried, its reply; if
// several, the median of the largest group within maxSpread, which needs at least two.
func chooseSample(samples []timeSample, queried int) (timeSample, error) {
	if len(samples) == 0 {
		return timeSample{}, errNoTime
	}
	if queried == 1 {
		return samples[0], nil
	}
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b timeSample) int { return cmp.Compare(a.offset, b.offset) })
	var best []timeSample
	for i := range sorted {
		group := sorted[i:]
		for len(group) > 0 && group[len(group)-1].offset-group[0].offset > maxSpread {
			group = group[:len(group)-1]
		}
		if len(group) > len(best) {
			best = group
		}
	}
	if len(best) < 2 {
		return timeSample{}, fmt.Errorf("no two of %d time servers agree", len(samples))
	}
	return best[len(best)/2], nil
}

// earliestTime is before any time at which this program can run. latestTime is
// beyond the range of a 32-bit kernel.
func earliestTime() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
func latestTime() time.Time   { return time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC) }

// clockChange is how the clock is corrected.
type clockChange int

const (
	leaveClock clockChange = iota
	slewClock
	stepClock
)

// chooseChange decides how to correct a clock that is off by offset. It refuses an
// impossible time.
func chooseChange(now time.Time, offset time.Duration, isSet bool) (clockChange, error) {
	to := now.Add(offset)
	switch {
	case to.Before(earliestTime()) || to.After(latestTime()):
		return leaveClock, fmt.Errorf("time servers report %s, which is impossible", to.UTC().Format(time.DateTime))
	case !isSet || offset.Abs() >= stepThreshold:
		return stepClock, nil
	case offset.Abs() < time.Millisecond:
		return leaveClock, nil
	}
	return slewClock, nil
}

// querySNTP is one SNTP exchange (RFC 4330). The library checks stratum, leap
// warning, root distance, and that the reply belongs to this request.
func querySNTP(server string) (time.Duration, error) {
	r, err := ntp.QueryWithOptions(server, ntp.QueryOptions{Timeout: queryTimeout})
	if err != nil {
		return 0, err
	}
	if err := r.Validate(); err != nil {
		return 0, fmt.Errorf("%s: %w", server, err)
	}
	return r.ClockOffset, nil
}
