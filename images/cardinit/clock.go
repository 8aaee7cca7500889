package cardinit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
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
	// queryTimeout bounds one query of a server, and nameTimeout that with finding its address.
	queryTimeout = 2 * time.Second
	nameTimeout  = 3 * time.Second
	// maxSpread is the largest difference between two servers that agree.
	maxSpread = time.Second
	// stepThreshold is the error from which a clock that is set is stepped and not
	// slewed. The kernel slews by 0.5 ms per second, so half a second takes 17 minutes.
	stepThreshold = 500 * time.Millisecond
	// minServers is the number of servers below which DHCP's and the public ones are added to
	// those of the settings, and maxServers bounds the servers of one round.
	minServers = 3
	maxServers = 6
	// loneRounds is the number of rounds in which one server alone must answer before it sets
	// the clock: the network of a card that starts may not be complete yet.
	loneRounds = 2
	// loneRetryDelay is the pause between those rounds, so that they fit into clockTimeout.
	loneRetryDelay = time.Second
	// maxLoneStep is the largest error that one server alone corrects once the clock is set.
	maxLoneStep = 5 * time.Second
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

	// Of the goroutine of run.
	isSet     bool
	saved     time.Time // of the last shutdown; zero if unknown
	loneCount int       // rounds in a row in which one server alone has answered
	faulty    string    // the last fault that was logged, "" for none
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
	if err != nil || saved.Before(earliestTime()) || saved.After(latestTime()) {
		return
	}
	if c.saved = saved; !time.Now().Before(saved) {
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
		err := c.syncOnce(ctx)
		switch {
		case err == nil:
			delay = pollInterval
		case errors.Is(err, errLone):
			sleep(ctx, loneRetryDelay)
			continue
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

// syncOnce queries the servers once and corrects the clock. It logs and shows a fault
// once, until it is over.
func (c *clockSync) syncOnce(ctx context.Context) error {
	err := c.queryAndCorrect(ctx)
	fault := ""
	if err != nil && !errors.Is(err, errNoTime) && !errors.Is(err, errLone) && ctx.Err() == nil {
		fault = err.Error()
	}
	if fault != c.faulty && fault != "" {
		c.logf("clock: %s", fault)
	}
	if c.faulty = fault; fault != "" {
		_ = replaceFile(c.paths.StateFile(clockFaultStateFile), []byte(fault+"\n"))
		if c.isSet {
			c.writeSetBy(nil)
		}
	} else if err == nil {
		_ = os.Remove(c.paths.StateFile(clockFaultStateFile))
	}
	return err
}

func (c *clockSync) queryAndCorrect(ctx context.Context) error {
	servers := c.servers()
	servers = servers[:min(len(servers), maxServers)]
	asking, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	replies := make(chan timeSample, len(servers))
	for _, s := range servers {
		go func() { // finding a name's address has no timeout of its own
			offset, err := c.query(s)
			if err != nil {
				s = ""
			}
			replies <- timeSample{s, offset}
		}()
	}
	var samples []timeSample
	for range servers {
		select {
		case s := <-replies:
			if s.server != "" {
				samples = append(samples, s)
			}
		case <-asking.Done():
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	agreed, err := chooseSamples(samples)
	if err != nil {
		return err
	}
	if len(agreed) > 1 {
		c.loneCount = 0
	} else if c.loneCount++; !c.isSet && c.loneCount < loneRounds {
		return errLone
	}
	best := agreed[len(agreed)/2]
	change, err := chooseChange(time.Now(), best.offset, clockKnowledge{c.isSet, len(agreed), c.saved})
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
	c.writeSetBy(agreed)
	if c.isSet {
		if change == stepClock {
			c.logf("clock stepped by %v, from %s", best.offset.Round(time.Millisecond), best.server)
		}
		return nil
	}
	c.isSet = true
	c.saveTime()
	c.logf("clock set by %s", listServers(servers, agreed))
	close(c.set)
	return nil
}

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

// errLone means that one server alone has answered, and gets another round.
var errLone = errors.New("one time server alone answers")

// chooseSamples returns the replies, sorted, of most servers that answered: the largest
// group within maxSpread, which must be more than half of them.
func chooseSamples(samples []timeSample) ([]timeSample, error) {
	if len(samples) == 0 {
		return nil, errNoTime
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
	if 2*len(best) <= len(samples) {
		var list []string
		for _, s := range sorted {
			list = append(list, fmt.Sprintf("%s %v", s.server, s.offset.Round(time.Second)))
		}
		return nil, fmt.Errorf("the time servers differ, and no majority agrees: %s", strings.Join(list, ", "))
	}
	return best, nil
}

// writeSetBy reports by which servers the clock is set; none: it was, but they do not
// agree now. The file is in memory, where a full disk is no concern.
func (c *clockSync) writeSetBy(servers []timeSample) {
	text := fmt.Sprintf("%d %d %d\n", len(servers), time.Now().UnixMilli(), uptime(c.paths).Milliseconds())
	for _, s := range servers {
		text += s.server + "\n"
	}
	_ = replaceFile(c.paths.StateFile(clockStateFile), []byte(text))
}

// listServers lists the names of samples in the order in which their servers were queried.
func listServers(queried []string, samples []timeSample) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(queried), func(name string) bool {
		return !slices.ContainsFunc(samples, func(s timeSample) bool { return s.server == name })
	}), ", ")
}

// pickServers returns the servers to query: those of the settings, and if they are fewer
// than minServers, DHCP's and Debian's too, so that one that is wrong is outvoted.
func pickServers(settings, fromDHCP []string) []string {
	var picked []string
	add := func(servers []string) {
		for _, s := range servers {
			if len(picked) < maxServers && !slices.Contains(picked, s) {
				picked = append(picked, s)
			}
		}
	}
	if add(settings); len(picked) >= minServers {
		return picked
	}
	add(fromDHCP)
	add(defaultTimeServers())
	return picked
}

// earliestTime is before any time at which this program can run: when it was built, if the
// build recorded that. latestTime is beyond the range of a 32-bit kernel.
func earliestTime() time.Time {
	earliest := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key != "vcs.time" {
				continue
			}
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil && t.After(earliest) && t.Before(latestTime()) {
				return t
			}
		}
	}
	return earliest
}
func latestTime() time.Time { return time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC) }

// clockChange is how the clock is corrected.
type clockChange int

const (
	leaveClock clockChange = iota
	slewClock
	stepClock
)

// clockKnowledge is what is known before a correction.
type clockKnowledge struct {
	isSet   bool
	servers int       // that agree
	saved   time.Time // of the last shutdown; zero if unknown
}

// chooseChange decides how to correct a clock that is off by offset. It refuses an
// impossible time, and from one server alone also an improbable one.
func chooseChange(now time.Time, offset time.Duration, known clockKnowledge) (clockChange, error) {
	to := now.Add(offset)
	text := to.UTC().Format(time.DateTime)
	switch {
	case to.Before(earliestTime()) || to.After(latestTime()):
		return leaveClock, fmt.Errorf("time servers report %s, which is impossible", text)
	case known.servers == 1 && to.Before(known.saved):
		return leaveClock, fmt.Errorf("one time server alone reports %s, which is before the last shutdown; a second must confirm it", text)
	case known.servers == 1 && known.isSet && offset.Abs() > maxLoneStep:
		return leaveClock, fmt.Errorf("one time server alone reports %s, which differs by %v; a second must confirm it", text, offset.Round(time.Second))
	case !known.isSet || offset.Abs() >= stepThreshold:
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
