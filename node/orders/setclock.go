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

// noteClock carries out a SetClock.
func (a *applyTx) noteClock(c SetClock) (Answer, string) {
	action := fmt.Sprintf("set the ledger's clock from %s to %s", formatTime(c.Before), formatTime(c.After))
	if c.Before.Equal(c.After) {
		action = "confirm the ledger's clock, " + formatTime(c.After)
	}
	return Answer{Outcome: Done}, action
}
