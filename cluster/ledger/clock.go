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

	mu    sync.Mutex // guards the rest
	state ClockState // of this board's own clock at the last survey
	zero  time.Time  // the ledger's clock when monotonic was 0
	known bool
	seen  bool // an applied entry had a time
	// followed: a decision of this board let the clock follow the boards' clocks.
	followed bool
	latest   time.Time // the latest time that now returned or a batch was stamped with
	// confirmed: an operator confirmed the clock while it ran, and the boards have not
	// agreed on a time since.
	confirmed bool
	held      string        // why the clock does not follow the boards' clocks, "" if it does
	heldAt    time.Duration // since when, by monotonic
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

// followDecision moves the clock as decided, except for a step: observeStamp makes it.
func (l *ledgerClock) followDecision(d clockDecision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zero = l.zero.Add(d.Slew)
	l.known = l.known || (d.Known && d.Step == 0)
	l.decidedAt = l.monotonic()
	if d.Agreed && d.Held == "" {
		l.confirmed, l.followed = false, true
	}
	l.holdLocked(d.Held, 0)
}

// markKnown ends the wait for the first decision, after an entry has moved the clock.
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

// noteState notes what this board knows of its own clock. Finding out may read files.
func (l *ledgerClock) noteState(state ClockState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
}

// ownReading returns this board's own clock, compared with the ledger's.
func (l *ledgerClock) ownReading(board string) clockReading {
	l.mu.Lock()
	defer l.mu.Unlock()
	wall := l.wall().Round(0)
	return clockReading{board, wall.Sub(l.zero.Add(l.monotonic())), l.state.Set && isPlausible(wall), l.state.Servers}
}

// irreversibleWait is the time for which the boards must agree after a step of the clock before
// anything happens that cannot be undone: enough for a person, or a time server, to
// correct a wrong clock. A step of less waits for as long as it is itself.
const irreversibleWait = 10 * time.Minute

// clockMarks are what the log says of the ledger's clock besides its time. They are
// part of a snapshot.
type clockMarks struct {
	SetIndex  uint64 // the entry by which an operator set the clock last, 0 for none
	WaitUntil int64  // Unix nanoseconds by the ledger's clock: until then, nothing irreversible
	Far       bool   // nor before an operator confirms the clock
	Base      int64  // Unix seconds by the ledger's clock: when it began to wait for this
	Override  bool   // an operator's time stands until the boards agree with it
}

// isWaiting reports whether something irreversible waits at a time of the ledger's clock.
func (m clockMarks) isWaiting(at time.Time) bool { return m.Far || m.WaitUntil > at.UnixNano() }

// base returns the moment from which steps add up: the last one at which nothing waited.
func (m clockMarks) base(at time.Time) time.Time {
	if m.isWaiting(at) {
		return time.Unix(m.Base, 0)
	}
	return at
}

// next returns the ledger's time and marks after an entry. at is the time before it.
func (m clockMarks) next(at time.Time, index uint64, e *entry) (time.Time, clockMarks) {
	base, isFar := m.base(at), e.Flags&flagClockFar != 0
	if !isPlausible(base) { // no board's clock was ever set: the step is no jump to add up
		base = e.Stamp
	}
	wait := func(forward time.Duration) int64 { return e.Stamp.Add(min(forward, irreversibleWait)).UnixNano() }
	switch {
	case e.Flags&flagClockSet != 0:
		set := clockMarks{SetIndex: index, Override: e.Flags&flagClockOverride != 0}
		// Back to before the jump, or confirmed: nothing is due that was not due before.
		if forward := e.Stamp.Sub(m.base(at)); e.Flags&flagClockStepped != 0 && forward > 0 {
			set.WaitUntil, set.Far, set.Base = wait(forward), isFar, base.Unix()
		}
		return e.Stamp, set
	case !e.Stamp.After(at):
		return at, m
	case e.Flags&flagClockStepped != 0:
		m.WaitUntil, m.Base = max(m.WaitUntil, wait(e.Stamp.Sub(at))), base.Unix()
		m.Far, m.Override = m.Far || isFar, false
	}
	return e.Stamp, m
}

func (m clockMarks) encode() []uint64 {
	packed := uint64(m.Base) << 2
	if m.Far {
		packed |= 1
	}
	if m.Override {
		packed |= 2
	}
	return []uint64{m.SetIndex, uint64(m.WaitUntil), packed}
}

// decodeClockMarks decodes the output of encode: the last number is Base, Override and Far.
func decodeClockMarks(setIndex, waitUntil, packed uint64) clockMarks {
	return clockMarks{setIndex, int64(waitUntil), packed&1 != 0, int64(packed) >> 2, packed&2 != 0}
}

// heldFor returns why the clock is held, and for how long it has been.
func (l *ledgerClock) heldFor() (why string, since time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == "" {
		return "", 0
	}
	return l.held, l.monotonic() - l.heldAt
}

func (l *ledgerClock) isHoldLogged() bool {
	why, since := l.heldFor()
	return why != "" && since >= clockHoldLogged
}

func (l *ledgerClock) isConfirmed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.confirmed
}

// decisionInput returns the clock's part of the input for a decision.
func (l *ledgerClock) decisionInput() clockInput {
	l.mu.Lock()
	defer l.mu.Unlock()
	return clockInput{Known: l.known, Fresh: !l.seen, Followed: l.followed, Unreal: !isPlausible(l.nowLocked()), Passed: l.monotonic() - l.decidedAt}
}
