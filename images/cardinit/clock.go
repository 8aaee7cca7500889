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
	// clockWait is how long the start of the board waits for the time.
	clockWait = 10 * time.Second
	// firstAsk is how soon servers are asked again while the clock is not set;
	// each time twice as long, up to slowAsk.
	firstAsk = 2 * time.Second
	slowAsk  = 2 * time.Minute
	// askEvery is how often a clock that is set is compared: a crystal of 50 ppm
	// is off by 50 ms then.
	askEvery = 17 * time.Minute
	// askWait is how long a server may take.
	askWait = 3 * time.Second
	// maxSpread is how far two servers may be apart and still agree.
	maxSpread = time.Second
	// stepFrom is the error from which a clock that is set is stepped and not
	// slewed. The kernel slews by 0.5 ms a second, so half a second takes 17 minutes.
	stepFrom = 500 * time.Millisecond
	// maxServers is how many are asked in one round.
	maxServers = 4
	// keepClock is how often the time is written to the card: a clock that is
	// some hours behind after a power cut is no better and no worse than one that
	// is some minutes behind, and each writing costs some 50 KB with the journal.
	keepClock = 6 * time.Hour
)

// defaultServers are those that Debian's own packages ask.
func defaultServers() []string {
	return []string{"0.debian.pool.ntp.org", "1.debian.pool.ntp.org", "2.debian.pool.ntp.org", "3.debian.pool.ntp.org"}
}

// sample is one server's word.
type sample struct {
	server string
	offset time.Duration // of the server's clock against this one
}

// errNoTime says that no time can be had of the servers.
var errNoTime = errors.New("no time server answers")

// judgeTime is the rule for what to believe. Of one server that was asked, its
// word; of several, two must be within maxSpread of each other, and the middle
// of the largest group that agrees counts.
func judgeTime(samples []sample, asked int) (sample, error) {
	if len(samples) == 0 {
		return sample{}, errNoTime
	}
	if asked == 1 {
		return samples[0], nil
	}
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b sample) int { return cmp.Compare(a.offset, b.offset) })
	var best []sample
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
		return sample{}, fmt.Errorf("of %d time servers no two agree", len(samples))
	}
	return best[len(best)/2], nil
}

// earliest is before any time at which this program can run; latest is beyond
// what a kernel of 32 bits counts to.
func earliest() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
func latest() time.Time   { return time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC) }

// change is what is done to the clock.
type change int

const (
	leave change = iota
	slew
	step
)

// judgeChange is the rule for a clock that is off by that much. A time that
// cannot be is not taken.
func judgeChange(now time.Time, offset time.Duration, set bool) (change, error) {
	to := now.Add(offset)
	switch {
	case to.Before(earliest()) || to.After(latest()):
		return leave, fmt.Errorf("time servers say that it is %s, which cannot be", to.UTC().Format(time.DateTime))
	case !set || offset.Abs() >= stepFrom:
		return step, nil
	case offset.Abs() < time.Millisecond:
		return leave, nil
	}
	return slew, nil
}

// clock sets the machine's clock, and keeps it.
type clock struct {
	machine Machine
	paths   Paths
	say     func(format string, args ...any)
	servers func() []string // whom to ask now
	ask     func(server string) (time.Duration, error)
	set     chan struct{} // closed when it is set

	isSet bool // run's own
}

func newClock(m Machine, p Paths, servers func() []string, say func(string, ...any)) *clock {
	return &clock{machine: m, paths: p, say: say, servers: servers, ask: askServer, set: make(chan struct{})}
}

// askServer is one SNTP exchange (RFC 4330). The library checks stratum, leap
// warning, root distance and that the reply is to this very request.
func askServer(server string) (time.Duration, error) {
	r, err := ntp.QueryWithOptions(server, ntp.QueryOptions{Timeout: askWait})
	if err != nil {
		return 0, err
	}
	if err := r.Validate(); err != nil {
		return 0, fmt.Errorf("%s: %w", server, err)
	}
	return r.ClockOffset, nil
}

// recall has the clock go on from the time of the last shutdown, as nothing
// else may happen before it. That does not count as set.
func (c *clock) recall() {
	text, err := os.ReadFile(c.paths.Kept("clock"))
	if err != nil {
		return
	}
	was, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil || was.Before(earliest()) || was.After(latest()) || !time.Now().Before(was) {
		return
	}
	if err := c.machine.SetClock(was); err != nil {
		c.say("clock: %v", err)
	}
}

// keep writes the time down for recall.
func (c *clock) keep() {
	if c.isSet {
		// Without a card that can be written there is nothing to be kept.
		_ = replaceFile(c.paths.Kept("clock"), []byte(time.Now().UTC().Format(time.RFC3339)+"\n"))
	}
}

// run asks until ctx ends.
func (c *clock) run(ctx context.Context) {
	pause := firstAsk
	kept := time.Now() // counts by the monotonic clock
	for ctx.Err() == nil {
		switch err := c.round(ctx); {
		case err == nil:
			pause = askEvery
		case !c.isSet:
			pause = min(2*pause, slowAsk)
		}
		if c.isSet && time.Since(kept) >= keepClock {
			c.keep()
			kept = time.Now()
		}
		rest(ctx, pause)
	}
	c.keep()
}

// round asks the servers once.
func (c *clock) round(ctx context.Context) error {
	servers := c.servers()
	servers = servers[:min(len(servers), maxServers)]
	samples := make([]sample, len(servers))
	var asking sync.WaitGroup
	for i, s := range servers {
		asking.Go(func() {
			if offset, err := c.ask(s); err == nil {
				samples[i] = sample{s, offset}
			}
		})
	}
	asking.Wait()
	samples = slices.DeleteFunc(samples, func(s sample) bool { return s.server == "" })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	found, err := judgeTime(samples, len(servers))
	if err != nil {
		return err
	}
	what, err := judgeChange(time.Now(), found.offset, c.isSet)
	if err != nil {
		return err
	}
	switch what {
	case step:
		err = c.machine.SetClock(time.Now().Add(found.offset))
	case slew:
		err = c.machine.Slew(found.offset)
	}
	if err != nil {
		return err
	}
	if c.isSet {
		if what == step {
			c.say("clock stepped by %v, as %s says", found.offset.Round(time.Millisecond), found.server)
		}
		return nil
	}
	c.isSet = true
	// In memory, where a full disk is not to be feared.
	_ = replaceFile(c.paths.State(clockFact), []byte("set by "+found.server+"\n"))
	c.keep()
	c.say("clock set by %s", found.server)
	close(c.set)
	return nil
}
