package ledger

import (
	"sync"
	"time"
)

// The ledger's clock as each board knows it. A board counts with its own monotonic
// clock; its wall clock is only one of the readings from which the leader decides
// (clockrule.go). It learns the ledger's time from the entries that it applies, and
// once a second from the leader. A new leader continues from there.

// maxTrustedRoundTrip is the longest exchange that may correct a clock that is known
// already: the error is up to half of it.
const maxTrustedRoundTrip = 200 * time.Millisecond

// ledgerClock is safe for concurrent use.
type ledgerClock struct {
	wall    func() time.Time // this board's own clock, which may be stepped at any time
	started time.Time        // for monotonic

	mu     sync.Mutex // guards the rest
	zero   time.Time  // the ledger's clock when monotonic was 0
	known  bool
	seen   bool      // an applied entry had a time
	latest time.Time // the latest time that now returned or a batch was stamped with
	// confirmed: an operator confirmed the clock while it ran, and the boards have not
	// agreed on a time since.
	confirmed bool
	held      string        // why the clock does not follow the boards' clocks, "" if it does
	heldAt    time.Duration // since when, by monotonic
	decision  clockDecision // this board's last one
	decidedAt time.Duration // by monotonic
}

func newClock(wall func() time.Time) *ledgerClock {
	return &ledgerClock{wall: wall, started: time.Now(), zero: wall().Round(0)}
}

// monotonic returns the time since the board started, which no step of its own clock
// changes.
func (l *ledgerClock) monotonic() time.Duration { return time.Since(l.started) }

// now returns the ledger's clock; known is false until this board has learnt it.
func (l *ledgerClock) now() (t time.Time, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nowLocked(), l.known
}

func (l *ledgerClock) nowLocked() time.Time {
	t := l.zero.Add(l.monotonic())
	if !t.After(l.latest) {
		t = l.latest
	}
	if l.known { // a guess may be corrected backwards
		l.latest = t
	}
	return t.UTC()
}

// observeStamp learns the time of an entry that this board applies now. isSet: an
// operator set the clock by it, also back.
func (l *ledgerClock) observeStamp(at time.Time, isSet bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.UnixNano() <= 0 { // an entry without a time
		return
	}
	l.seen = true
	now := l.nowLocked()
	switch {
	case isSet:
		l.confirmed = l.known
		l.zero, l.latest = at.Add(-l.monotonic()), at
	case at.After(now) || !l.known: // without power the clock stood still
		l.zero = at.Add(-l.monotonic())
	}
}

// adoptLeaderTime sets the clock to the leader's time. The request for it left at
// sent, by monotonic.
func (l *ledgerClock) adoptLeaderTime(theirs time.Time, sent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	received := l.monotonic()
	roundTrip := received - sent
	if roundTrip < 0 || (l.known && roundTrip > maxTrustedRoundTrip) {
		return
	}
	l.zero = theirs.Add(roundTrip/2 - received)
	l.known = true
}

// carryOut moves the clock as decided, except for a step: observeStamp makes it.
func (l *ledgerClock) carryOut(d clockDecision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zero = l.zero.Add(d.Slew)
	l.known = l.known || (d.Known && d.Step == 0)
	l.decision, l.decidedAt = d, l.monotonic()
	if d.Agreed && d.Held == "" {
		l.confirmed = false
	}
	l.holdLocked(d.Held, 0)
}

// markKnown ends the wait for the first decision, after its step.
func (l *ledgerClock) markKnown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = true
}

// hold notes why the clock is held, and for how long it has been.
func (l *ledgerClock) hold(why string, since time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holdLocked(why, since)
}

func (l *ledgerClock) holdLocked(why string, since time.Duration) {
	if why != "" && l.held == "" {
		l.heldAt = l.monotonic() - since
	}
	l.held = why
}

// ownReading returns this board's own clock, compared with the ledger's.
func (l *ledgerClock) ownReading(board string, state ClockState) clockReading {
	l.mu.Lock()
	defer l.mu.Unlock()
	wall := l.wall().Round(0)
	return clockReading{board, wall.Sub(l.zero.Add(l.monotonic())), state.Set && isPlausible(wall), state.Servers}
}
