package ledger

import (
	"sync"
	"time"
)

// The ledger's clock is the leader's clock, as each board knows it: a board counts
// with its own monotonic clock, and fetches the offset to the leader's every
// second. A new leader continues where the old leader's clock was, and then slews
// it towards its own.

const (
	// maxTrustedRoundTrip is the longest exchange that may correct a clock that
	// is known already: the error is up to half of it.
	maxTrustedRoundTrip = 200 * time.Millisecond
	// slewDivisor bounds the correction of a ledger clock that is ahead of the
	// leader's own: a twentieth of the time that passes, so that it never goes back.
	slewDivisor = 20
	// maxSlewInterval is the longest time between two corrections that counts.
	maxSlewInterval = 10 * time.Second
)

// firstYear is the year of the first board: a clock that shows an earlier one is not set.
const firstYear = 2012

// isPlausible reports whether a clock shows a possible time.
func isPlausible(t time.Time) bool { return t.UTC().Year() >= firstYear }

// ledgerClock is safe for concurrent use.
type ledgerClock struct {
	own func() time.Time

	mu       sync.Mutex // guards the rest
	start    time.Time  // own clock when the board started, with its monotonic part
	offset   time.Duration
	known    bool
	latest   time.Time // the latest time that now returned or a batch was stamped with
	slewedAt time.Time // when slewToOwnClock ran last
}

func newClock(own func() time.Time) *ledgerClock {
	return &ledgerClock{own: own, start: own()}
}

// monotonic returns the board's monotonic clock as a time.
func (l *ledgerClock) monotonic() time.Time {
	return l.start.Round(0).Add(l.own().Sub(l.start))
}

// ownClockSet reports whether the board's own clock seems to be set.
func (l *ledgerClock) ownClockSet() bool { return isPlausible(l.own()) }

// now returns the ledger's clock; known is false until this board has learnt it.
func (l *ledgerClock) now() (t time.Time, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nowLocked(), l.known
}

func (l *ledgerClock) nowLocked() time.Time {
	t := l.monotonic().Add(l.offset)
	if !t.After(l.latest) {
		t = l.latest
	}
	if l.known { // a guess may be corrected backwards
		l.latest = t
	}
	return t.UTC()
}

// stampBatch returns the time for a batch, not before at, the time of the last batch.
func (l *ledgerClock) stampBatch(at time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.After(l.latest) {
		l.latest = at
	}
	return l.nowLocked()
}

// adoptLeaderTime sets the clock to the leader's time. The request for it left at
// sent, by monotonic.
func (l *ledgerClock) adoptLeaderTime(theirs, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	received := l.monotonic()
	roundTrip := received.Sub(sent)
	if roundTrip < 0 || (l.known && roundTrip > maxTrustedRoundTrip) {
		return
	}
	l.offset = theirs.Add(roundTrip / 2).Sub(received)
	l.known = true
}

// slewToOwnClock corrects the ledger's clock towards this board's. The leader calls
// it with every survey.
func (l *ledgerClock) slewToOwnClock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := l.monotonic()
	passed := count.Sub(l.slewedAt)
	l.slewedAt = count
	if passed > maxSlewInterval { // this board did not lead until now
		passed = 0
	}
	wall := l.own().Round(0)
	if !isPlausible(wall) {
		return // the time of the others, if they know one, is better
	}
	ahead := l.offset - wall.Sub(count)
	switch {
	case !l.known || ahead <= 0:
		l.offset -= ahead
	default:
		l.offset -= min(ahead, passed/slewDivisor)
	}
	l.known = true
}
