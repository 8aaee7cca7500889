package gpio

import "time"

// The times of the button. A press means something when the button is let go,
// so that one can think better of it, and so that a wire that is shorted for
// good never stops a board.
const (
	debounce      = 25 * time.Millisecond  // a contact of a tactile switch bounces for 5 ms, a bad one for 20
	doubleGap     = 400 * time.Millisecond // from one short press to the next
	longPress     = 1 * time.Second
	drainPress    = 3 * time.Second
	shutdownPress = 8 * time.Second
	stuckAfter    = 20 * time.Second      // no finger stays that long
	buttonPoll    = 25 * time.Millisecond // between two looks at a button in use
	idlePoll      = 50 * time.Millisecond // between two looks at one at rest: a quick tap lasts 80 ms; each look costs a wake-up
)

// ButtonPress is what somebody has asked of a board by its button.
type ButtonPress uint8

// The presses, by how long the button was down. The zero value is none.
const (
	NoPress       ButtonPress = iota
	ShortPress                // acknowledge the faults; locate off
	DoublePress               // tell the address
	LongPress                 // one second: locate on
	DrainPress                // three seconds: drain
	ShutdownPress             // eight seconds: shut down cleanly
)

// String gives the press in words.
func (p ButtonPress) String() string {
	switch p {
	case NoPress:
		return "none"
	case ShortPress:
		return "short press"
	case DoublePress:
		return "double press"
	case LongPress:
		return "long press"
	case DrainPress:
		return "held for three seconds"
	case ShutdownPress:
		return "held for eight seconds"
	}
	return "unknown press"
}

// Button makes presses of the edges of one contact: it debounces them and counts
// how long they last. It knows no clock; whoever feeds it tells the time of each
// sample, in steps that do not go back. The zero value is ready; a contact that
// is closed from the start says nothing until it has been open.
type Button struct {
	begun    bool
	raw      bool          // the last sample
	rawAt    time.Duration // since when
	stableAt time.Duration // when the contact was last not bouncing

	down         bool          // debounced
	downAt       time.Duration // since when
	ignored      bool          // this press counts for nothing
	seenOpen     bool          // the contact was seen open
	awaitsSecond bool          // for the second press of two, since upAt
	upAt         time.Duration
	stuck        bool
}

// Sample tells whether the contact is closed at a time: at each edge, and now
// and then in between, because some presses are told by nothing happening. It
// returns the press that this completes, if any.
func (b *Button) Sample(down bool, at time.Duration) ButtonPress {
	if !b.begun {
		*b = Button{begun: true, raw: down, rawAt: at, stableAt: at}
	}
	at = max(at, b.rawAt, b.stableAt)
	press := NoPress
	if at-b.rawAt >= debounce {
		b.stableAt = at
		if b.raw {
			press = b.closeContact(b.rawAt)
		} else {
			press = b.openContact(b.rawAt)
		}
	}
	if b.awaitsSecond && at-b.upAt >= doubleGap && !b.down && !(b.raw && b.rawAt-b.upAt < doubleGap) {
		b.awaitsSecond = false
		press = ShortPress
	}
	b.stuck = at-b.stableAt >= stuckAfter || b.down && at-b.downAt >= stuckAfter
	if down != b.raw {
		b.raw, b.rawAt = down, at
	}
	return press
}

// closeContact is the debounced contact closing; a first press whose second did not
// come in time is told.
func (b *Button) closeContact(at time.Duration) ButtonPress {
	if b.down {
		return NoPress
	}
	b.down, b.downAt, b.ignored = true, at, !b.seenOpen
	if b.awaitsSecond && at-b.upAt >= doubleGap {
		b.awaitsSecond = false
		return ShortPress
	}
	return NoPress
}

// openContact is the debounced contact opening, which makes a press of what was held.
func (b *Button) openContact(at time.Duration) ButtonPress {
	b.seenOpen = true
	if !b.down {
		return NoPress
	}
	b.down = false
	press := b.pressFor(at)
	second := b.awaitsSecond
	b.awaitsSecond = false
	if b.ignored || press != ShortPress {
		return press
	}
	if second {
		return DoublePress
	}
	b.awaitsSecond, b.upAt = true, at
	return NoPress
}

// pressFor is what letting go at a time makes of the press that began at downAt.
func (b *Button) pressFor(at time.Duration) ButtonPress {
	switch d := at - b.downAt; {
	case b.ignored || d >= stuckAfter:
		return NoPress
	case d >= shutdownPress:
		return ShutdownPress
	case d >= drainPress:
		return DrainPress
	case d >= longPress:
		return LongPress
	}
	return ShortPress
}

// Pending is the press that it would be to let go now: what the lamps show to
// somebody who holds the button and waits.
func (b *Button) Pending(at time.Duration) ButtonPress {
	if !b.down {
		return NoPress
	}
	return b.pressFor(at)
}

// isIdle reports that nobody has touched the contact of late.
func (b *Button) isIdle() bool { return !b.raw && !b.down && !b.awaitsSecond }

// IsStuck reports that the contact is held down, or bounces without end, for
// longer than any finger. It is a fault and never a press.
func (b *Button) IsStuck() bool { return b.stuck }
