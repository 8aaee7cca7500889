package ledger

import (
	"sync"
	"time"
)

// The ledger's clock is the leader's, as each board knows it: a board counts
// by its own monotonic clock and asks the leader every second how far it is
// off. A new leader goes on where the old one's clock was, and only then
// draws it towards its own.

const (
	// maxTrustedRoundTrip is the longest exchange from which a board that has the time
	// already takes it anew: half of it is the error.
	maxTrustedRoundTrip = 200 * time.Millisecond
	// slewDivisor is by what part of the time that passes a leader draws back a
	// ledger clock that is ahead of its own: it never goes back.
	slewDivisor = 20 // a twentieth
	// maxSlewInterval is the longest time between two draws that counts.
	maxSlewInterval = 10 * time.Second
)

// firstYear is when the first board was made: a clock that shows less is not set.
const firstYear = 2012

// isPlausible reports whether a clock shows a time that can be.
func isPlausible(t time.Time) bool { return t.UTC().Year() >= firstYear }

// ledgerClock is safe for concurrent use.
type ledgerClock struct {
	own func() time.Time

	mu       sync.Mutex // guards the rest
	start    time.Time  // own clock when the board started, with its monotonic part
	offset   time.Duration
	known    bool
	latest   time.Time // what was said last, or stamped
	slewedAt time.Time // when the offset was last drawn
}

func newClock(own func() time.Time) *ledgerClock {
	return &ledgerClock{own: own, start: own()}
}

// monotonic is the board's monotonic count, as a time.
func (c *ledgerClock) monotonic() time.Time {
	return c.start.Round(0).Add(c.own().Sub(c.start))
}

// ownClockSet reports whether the board's own clock seems to be set.
func (c *ledgerClock) ownClockSet() bool { return isPlausible(c.own()) }

// now is the ledger's clock; known is false while this board has not learnt it.
func (c *ledgerClock) now() (t time.Time, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked(), c.known
}

func (c *ledgerClock) nowLocked() time.Time {
	t := c.monotonic().Add(c.offset)
	if !t.After(c.latest) {
		t = c.latest
	}
	if c.known { // a guess binds nobody
		c.latest = t
	}
	return t.UTC()
}

// stampBatch is the time for a batch: not before at, which was the last one's.
func (c *ledgerClock) stampBatch(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.latest) {
		c.latest = at
	}
	return c.nowLocked()
}

// adoptLeaderTime takes the leader's time, asked for at sent (by count) and told now.
func (c *ledgerClock) adoptLeaderTime(theirs, sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.monotonic()
	trip := got.Sub(sent)
	if trip < 0 || (c.known && trip > maxTrustedRoundTrip) {
		return
	}
	c.offset = theirs.Add(trip / 2).Sub(got)
	c.known = true
}

// slewToOwnClock is called now and then on the board that leads.
func (c *ledgerClock) slewToOwnClock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.monotonic()
	passed := count.Sub(c.slewedAt)
	c.slewedAt = count
	if passed > maxSlewInterval { // it did not lead until now
		passed = 0
	}
	wall := c.own().Round(0)
	if !isPlausible(wall) {
		return // others' idea of the time, if there was one, is better
	}
	ahead := c.offset - wall.Sub(count)
	switch {
	case !c.known || ahead <= 0:
		c.offset -= ahead
	default:
		c.offset -= min(ahead, passed/slewDivisor)
	}
	c.known = true
}
