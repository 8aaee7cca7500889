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
	// clockTrust is the longest exchange from which a board that has the time
	// already takes it anew: half of it is the error.
	clockTrust = 200 * time.Millisecond
	// clockDraw is by what part of the time that passes a leader draws back a
	// ledger clock that is ahead of its own: it never goes back.
	clockDraw = 20 // a twentieth
	// clockPause is the longest time between two draws that counts.
	clockPause = 10 * time.Second
)

// firstYear is when the first board was made: a clock that shows less is not set.
const firstYear = 2012

// isSet reports whether a clock shows a time that can be.
func isSet(t time.Time) bool { return t.UTC().Year() >= firstYear }

// clock is safe for concurrent use.
type clock struct {
	own func() time.Time

	mu     sync.Mutex // guards the rest
	start  time.Time  // own clock when the board started, with its monotonic part
	offset time.Duration
	known  bool
	last   time.Time // what was said last, or stamped
	drawn  time.Time // when the offset was last drawn
}

func newClock(own func() time.Time) *clock {
	return &clock{own: own, start: own()}
}

// count is the board's monotonic count, as a time.
func (c *clock) count() time.Time {
	return c.start.Round(0).Add(c.own().Sub(c.start))
}

// ownSet reports whether the board's own clock seems to be set.
func (c *clock) ownSet() bool { return isSet(c.own()) }

// now is the ledger's clock; known is false while this board has not learnt it.
func (c *clock) now() (t time.Time, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked(), c.known
}

func (c *clock) nowLocked() time.Time {
	t := c.count().Add(c.offset)
	if !t.After(c.last) {
		t = c.last
	}
	if c.known { // a guess binds nobody
		c.last = t
	}
	return t.UTC()
}

// stamp is the time for a batch: not before at, which was the last one's.
func (c *clock) stamp(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.last) {
		c.last = at
	}
	return c.nowLocked()
}

// learn takes the leader's time, asked for at sent (by count) and told now.
func (c *clock) learn(theirs, sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.count()
	trip := got.Sub(sent)
	if trip < 0 || (c.known && trip > clockTrust) {
		return
	}
	c.offset = theirs.Add(trip / 2).Sub(got)
	c.known = true
}

// lead is called now and then on the board that leads.
func (c *clock) lead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.count()
	passed := count.Sub(c.drawn)
	c.drawn = count
	if passed > clockPause { // it did not lead until now
		passed = 0
	}
	wall := c.own().Round(0)
	if !isSet(wall) {
		return // others' idea of the time, if there was one, is better
	}
	ahead := c.offset - wall.Sub(count)
	switch {
	case !c.known || ahead <= 0:
		c.offset -= ahead
	default:
		c.offset -= min(ahead, passed/clockDraw)
	}
	c.known = true
}
