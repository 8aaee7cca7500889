package orders

import (
	"fmt"
	"time"
)

// SetClock records that an operator set or confirmed the ledger's clock. Its log entry
// moves the clock, so the audit trail has the new time.
type SetClock struct {
	Operation
	Before, After time.Time // by the ledger's clock; equal: confirmed
}

// Beginnings of the entries of the audit trail about the clock.
const (
	auditSetClock  = "set the ledger's clock"
	auditKeptClock = "confirm the ledger's clock"
)

func (a *applyTx) noteClock(c SetClock) (Answer, string) {
	action := fmt.Sprintf(auditSetClock+" from %s to %s", formatTime(c.Before), formatTime(c.After))
	if c.Before.Equal(c.After) {
		action = auditKeptClock + ", " + formatTime(c.After)
	}
	return Answer{Outcome: Done}, action
}
