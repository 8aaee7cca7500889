package gpio

import "time"

// The times of the button. A press takes effect when the button is released, so that a
// person can cancel it, and so that a shorted wire never stops a board.
const (
	debounce      = 25 * time.Millisecond  // a contact of a tactile switch bounces for 5 ms, a bad one for 20
	doubleGap     = 400 * time.Millisecond // from one short press to the next
	longPress     = 1 * time.Second
	drainPress    = 3 * time.Second
	shutdownPress = 8 * time.Second
	stuckAfter    = 20 * time.Second      // longer than any press
	buttonPoll    = 25 * time.Millisecond // between two samples of a button in use
	idlePoll      = 50 * time.Millisecond // between two samples of an idle one: a quick tap lasts 80 ms; each sample costs a wake-up
)

// ButtonPress is a command given with the button.
type ButtonPress uint8

// The presses, by how long the button was down. The zero value is none.
const (
	NoPress       ButtonPress = iota
	ShortPress                // acknowledge the faults; locate off
	DoublePress               // show the address
	LongPress                 // one second: locate on
	DrainPress                // three seconds: drain
	ShutdownPress             // eight seconds: shut down cleanly
)

func (p ButtonPress) String() string {
	words := [...]string{
		NoPress: "none", ShortPress: "short press", DoublePress: "double press", LongPress: "long press",
		DrainPress: "held for three seconds", ShutdownPress: "held for eight seconds",
	}
	if int(p) >= len(words) {
		return "unknown press"
	}
	return words[p]
}

// Button turns the edges of one contact into presses: it debounces them and measures
// their length. It has no clock; each sample comes with its time, which must not go
// back. The zero value is ready. A contact that is closed from the start counts only
// after it has been open.
type Button struct {
	begun    bool
	raw      bool          // the last sample
	rawAt    time.Duration // since when
	stableAt time.Duration // when the contact was last stable

	down         bool          // debounced
	downAt       time.Duration // since when
	ignored      bool          // this press has no effect
	seenOpen     bool          // the contact has been open
	awaitsSecond bool          // for the second press of two, since upAt
	upAt         time.Duration
	stuck        bool
}

// Sample adds the state of the contact at a time. Call it at each edge, and at intervals
// in between, because some presses are complete when nothing more happens. It returns
// the press that this sample completes, if any.
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

// closeContact handles the closing of the debounced contact. It returns the first press
// of two if the second did not come in time.
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

// openContact handles the opening of the debounced contact, which completes a press.
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

// pressFor returns the press that began at downAt if the button is released at a time.
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

// Pending returns the press that releasing the button now would complete: the lamps show
// its effect while the button is down.
func (b *Button) Pending(at time.Duration) ButtonPress {
	if !b.down {
		return NoPress
	}
	return b.pressFor(at)
}

// isIdle reports whether the contact will not change soon.
func (b *Button) isIdle() bool { return !b.raw && !b.down && !b.awaitsSecond }

// IsStuck reports whether the contact has been down, or has bounced, for longer than any
// press lasts. That is a fault and never a press.
func (b *Button) IsStuck() bool { return b.stuck }
