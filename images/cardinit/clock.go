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
	// clockTimeout is how long the start of the board waits for the time.
	clockTimeout = 10 * time.Second
	// minRetryDelay is how soon servers are asked again while the clock is not set;
	// each time twice as long, up to slowAsk.
	minRetryDelay = 2 * time.Second
	maxRetryDelay = 2 * time.Minute
	// pollInterval is how often a clock that is set is compared: a crystal of 50 ppm
	// is off by 50 ms then.
	pollInterval = 17 * time.Minute
	// queryTimeout is how long a server may take.
	queryTimeout = 3 * time.Second
	// maxSpread is how far two servers may be apart and still agree.
	maxSpread = time.Second
	// stepThreshold is the error from which a clock that is set is stepped and not
	// slewed. The kernel slews by 0.5 ms a second, so half a second takes 17 minutes.
	stepThreshold = 500 * time.Millisecond
	// maxServers is how many are asked in one round.
	maxServers = 4
	// saveTimeInterval is how often the time is written to the card: a clock that is
	// some hours behind after a power cut is no better and no worse than one that
	// is some minutes behind, and each writing costs some 50 KB with the journal.
	saveTimeInterval = 6 * time.Hour
)

// defaultTimeServers are those that Debian's own packages ask.
func defaultTimeServers() []string {
	return []string{"0.debian.pool.ntp.org", "1.debian.pool.ntp.org", "2.debian.pool.ntp.org", "3.debian.pool.ntp.org"}
}

// timeSample is one server's word.
type timeSample struct {
	server string
	offset time.Duration // of the server's clock against this one
}

// errNoTime says that no time can be had of the servers.
var errNoTime = errors.New("no time server answers")

// chooseSample is the rule for what to believe. Of one server that was asked, its
// word; of several, two must be within maxSpread of each other, and the middle
// of the largest group that agrees counts.
func chooseSample(samples []timeSample, asked int) (timeSample, error) {
	if len(samples) == 0 {
		return timeSample{}, errNoTime
	}
	if asked == 1 {
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
		return timeSample{}, fmt.Errorf("of %d time servers no two agree", len(samples))
	}
	return best[len(best)/2], nil
}

// earliestTime is before any time at which this program can run; latest is beyond
// what a kernel of 32 bits counts to.
func earliestTime() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
func latestTime() time.Time   { return time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC) }

// clockChange is what is done to the clock.
type clockChange int

const (
	leaveClock clockChange = iota
	slewClock
	stepClock
)

// chooseChange is the rule for a clock that is off by that much. A time that
// cannot be is not taken.
func chooseChange(now time.Time, offset time.Duration, set bool) (clockChange, error) {
	to := now.Add(offset)
	switch {
	case to.Before(earliestTime()) || to.After(latestTime()):
		return leaveClock, fmt.Errorf("time servers say that it is %s, which cannot be", to.UTC().Format(time.DateTime))
	case !set || offset.Abs() >= stepThreshold:
		return stepClock, nil
	case offset.Abs() < time.Millisecond:
		return leaveClock, nil
	}
	return slewClock, nil
}

// clockSync sets the machine's clock, and keeps it.
type clockSync struct {
	system  System
	paths   Paths
	logf    func(format string, args ...any)
	servers func() []string // whom to ask now
	query   func(server string) (time.Duration, error)
	set     chan struct{} // closed when it is set

	isSet bool // run's own
}

func newClockSync(m System, p Paths, servers func() []string, say func(string, ...any)) *clockSync {
	return &clockSync{system: m, paths: p, logf: say, servers: servers, query: querySNTP, set: make(chan struct{})}
}

// querySNTP is one SNTP exchange (RFC 4330). The library checks stratum, leap
// warning, root distance and that the reply is to this very request.
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

// restoreSaved has the clock go on from the time of the last shutdown, as nothing
// else may happen before it. That does not count as set.
func (c *clockSync) restoreSaved() {
	text, err := os.ReadFile(c.paths.SavedFile("clock"))
	if err != nil {
		return
	}
	was, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil || was.Before(earliestTime()) || was.After(latestTime()) || !time.Now().Before(was) {
		return
	}
	if err := c.system.SetClock(was); err != nil {
		c.logf("clock: %v", err)
	}
}

// saveTime writes the time down for recall.
func (c *clockSync) saveTime() {
	if c.isSet {
		// Without a card that can be written there is nothing to be kept.
		_ = replaceFile(c.paths.SavedFile("clock"), []byte(time.Now().UTC().Format(time.RFC3339)+"\n"))
	}
}

// run asks until ctx ends.
func (c *clockSync) run(ctx context.Context) {
	pause := minRetryDelay
	kept := time.Now() // counts by the monotonic clock
	for ctx.Err() == nil {
		switch err := c.syncOnce(ctx); {
		case err == nil:
			pause = pollInterval
		case !c.isSet:
			pause = min(2*pause, maxRetryDelay)
		}
		if c.isSet && time.Since(kept) >= saveTimeInterval {
			c.saveTime()
			kept = time.Now()
		}
		sleep(ctx, pause)
	}
	c.saveTime()
}

// syncOnce asks the servers once.
func (c *clockSync) syncOnce(ctx context.Context) error {
	servers := c.servers()
	servers = servers[:min(len(servers), maxServers)]
	samples := make([]timeSample, len(servers))
	var asking sync.WaitGroup
	for i, s := range servers {
		asking.Go(func() {
			if offset, err := c.query(s); err == nil {
				samples[i] = timeSample{s, offset}
			}
		})
	}
	asking.Wait()
	samples = slices.DeleteFunc(samples, func(s timeSample) bool { return s.server == "" })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	found, err := chooseSample(samples, len(servers))
	if err != nil {
		return err
	}
	what, err := chooseChange(time.Now(), found.offset, c.isSet)
	if err != nil {
		return err
	}
	switch what {
	case stepClock:
		err = c.system.SetClock(time.Now().Add(found.offset))
	case slewClock:
		err = c.system.Slew(found.offset)
	}
	if err != nil {
		return err
	}
	if c.isSet {
		if what == stepClock {
			c.logf("clock stepped by %v, as %s says", found.offset.Round(time.Millisecond), found.server)
		}
		return nil
	}
	c.isSet = true
	// In memory, where a full disk is not to be feared.
	_ = replaceFile(c.paths.StateFile(clockStateFile), []byte("set by "+found.server+"\n"))
	c.saveTime()
	c.logf("clock set by %s", found.server)
	close(c.set)
	return nil
}
