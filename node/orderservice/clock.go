package orderservice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orders/draw"
)

const setClockTimeout = 15 * time.Second

// ClockCommand sets the ledger's clock, also back, or confirms it. Fields may be added;
// these keep their names, types and meaning.
type ClockCommand struct {
	Operator string     `json:"operator"`
	OpID     uint64     `json:"op_id"`             // not 0; a random number, new for every command
	Set      *time.Time `json:"set,omitempty"`     // the right time
	Confirm  bool       `json:"confirm,omitempty"` // the ledger's clock is right
	Follow   bool       `json:"follow,omitempty"`  // set it to the time that most boards agree on
}

// ClockResult is the ledger's clock before and after a ClockCommand.
type ClockResult struct {
	Before ledger.ClockReport `json:"before"`
	After  ledger.ClockReport `json:"after"`
}

// readClock returns the ledger's clock and the boards' clocks; from this board alone, if
// there is no leader.
func (s *Service) readClock(ctx context.Context) (ledger.ClockReport, error) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	report, err := s.cfg.Ledger.Clock(ctx)
	if err != nil {
		return report, &operatorError{"the ledger's clock cannot be read: no leader answered in time. " +
			"\"bramble status\" shows which boards are missing; bring them back", err}
	}
	return report, nil
}

// SetClock sets or confirms the ledger's clock. Its error is a sentence with what to do
// instead.
func (s *Service) SetClock(ctx context.Context, c ClockCommand) (ClockResult, error) {
	var result ClockResult
	if given := slices.DeleteFunc([]bool{c.Set != nil, c.Confirm, c.Follow}, func(is bool) bool { return !is }); len(given) != 1 {
		return result, fmt.Errorf("%w: give one of the right time, confirm and follow", errMalformed)
	}
	ctx, cancel := context.WithTimeout(ctx, setClockTimeout)
	defer cancel()
	var err error
	if result.Before, err = s.readClock(ctx); err != nil {
		return result, err
	}
	command := orders.SetClock{Operation: orders.Operation{Operator: nameOperator(ctx, c.Operator), OpID: c.OpID}, Before: result.Before.Time, After: result.Before.Time}
	if c.Follow {
		agreed := result.Before.AgreedTime()
		if agreed.IsZero() {
			return result, fmt.Errorf("%w: most boards do not agree on a time that the ledger's clock could follow; see \"bramble ledger clock\"", errRefused)
		}
		c.Set = &agreed
	}
	var to time.Time
	if c.Set != nil {
		to, command.After = *c.Set, *c.Set
		if y := to.UTC().Year(); y < earliestYear || y > latestYear {
			return result, fmt.Errorf("%w: the ledger's clock can be set to the years %d to %d", errMalformed, earliestYear, latestYear)
		}
	}
	if err := orders.Check(command); err != nil {
		return result, fmt.Errorf("%w: %w", errMalformed, err)
	}
	_, index, err := s.cfg.Ledger.SetClock(ctx, to, orders.Encode(command))
	switch {
	case errors.Is(err, ledger.ErrUncertain):
		return result, fmt.Errorf("it may have been done, but the ledger did not respond in time; look at \"bramble ledger clock\": %w", err)
	case err != nil:
		return result, err
	}
	s.awaitApplied(ctx, index)
	result.After, err = s.readClock(ctx)
	return result, err
}

// The years that an operator can set: the program is younger than the first, and the last is
// the end of a 32-bit kernel's time.
const (
	earliestYear = 2026
	latestYear   = 2037
)

// awaitTrustedClock waits until the leader trusts the ledger's clock, and returns why it does
// not. What this board knows itself is up to a survey old; and a leader that has just begun
// holds the clock until the others have answered.
func (s *Service) awaitTrustedClock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, trustTimeout)
	defer cancel()
	for {
		report, err := s.readClock(ctx)
		if err != nil {
			return err
		}
		c := report.ClockStatus
		if c.Trusted {
			return nil
		}
		passes := !c.MustConfirm && c.WaitUntil.IsZero() && (c.Held == "" || c.HeldFor < clockHoldShown)
		wait := time.NewTimer(trustRetry)
		select {
		case <-wait.C:
		case <-ctx.Done():
			passes = false
		}
		if wait.Stop(); !passes {
			return fmt.Errorf("%w: the ballot may not be over: %s; see \"bramble ledger clock\"", errRefused, describeUntrusted(c))
		}
	}
}

// describeClockWait returns why nothing that cannot be undone happens now; "" if it does.
func (s *Service) describeClockWait() string {
	if c := s.cfg.Ledger.Status().Clock; !c.Trusted {
		return describeUntrusted(c)
	}
	return ""
}

// describeUntrusted returns why nothing that cannot be undone may follow from the ledger's clock.
func describeUntrusted(c ledger.ClockStatus) string {
	switch {
	case c.MustConfirm:
		return "the ledger's clock went forward, and nobody has confirmed it (bramble ledger clock --confirm)"
	case !c.WaitUntil.IsZero():
		return "the ledger's clock went forward a short time ago, and draws wait until " + formatMoment(c.WaitUntil)
	case c.Held != "":
		return "the ledger's clock does not follow the boards' clocks: " + c.Held
	}
	return "the ledger's clock is not known yet"
}

const (
	// clockHoldShown is the number of seconds for which the clock must be held before an
	// operator is told. Right after a start, not all boards have answered yet.
	clockHoldShown = 5
	// trustTimeout limits the wait for a clock that is held for a shorter time.
	trustTimeout = 10 * time.Second
	trustRetry   = 200 * time.Millisecond
)

// ClockFault reports whether an operator should look at the ledger's clock or at this
// board's own: the ledger's is held, or this board's differs from it.
func ClockFault(c ledger.ClockStatus) bool {
	return c.Held != "" && c.HeldFor >= clockHoldShown && !c.Override || c.MustConfirm || c.OwnDiffers()
}

// drawNotices returns the ballots whose round of drand is known, by this board's own clock, before their list is fixed.
func (s *Service) drawNotices(board string, c ledger.ClockStatus) (notices []string) {
	own := c.Time.Add(time.Duration(c.OwnAhead * float64(time.Second)))
	for _, sale := range s.Sales() {
		isOver := sale.State != orders.SaleOpen && sale.State != orders.SaleDrawing
		if round := sale.Promise().Round; !isOver && c.OwnSet && sale.NeedsBoards() && !own.Before(draw.RoundTime(round)) {
			notices = append(notices, fmt.Sprintf("The ballot of %s has no list yet, and by the own clock of %s round %d of drand is made. Its list waits until most boards agree on a time, "+
				"and that becomes the close, with a later round: see \"bramble ledger clock\".", sale.Product, board, round))
		}
	}
	return notices
}

// clockNotices returns the problems of the ledger's clock and of this board's, a sentence
// or two each.
func clockNotices(board string, c ledger.ClockStatus) []string {
	var notices []string
	switch {
	case c.Override:
		notices = append(notices, "The ledger's clock stands as an operator set it, until most boards agree with it: "+
			"see \"bramble ledger clock\". Correct the boards' clocks, or end it with --follow.")
	case c.Held != "" && c.HeldFor >= clockHoldShown:
		notices = append(notices, "The ledger's clock does not follow the boards' clocks, and draws, erasures and the end of invitations wait: "+c.Held+
			". Correct the boards' clocks, or set or confirm the ledger's: see \"bramble ledger clock\".")
	}
	if c.MustConfirm {
		notices = append(notices, "The ledger's clock went forward by more than a month, or further than any board's clock, and draws, erasures, the end of invitations and webhooks wait until you confirm it: see \"bramble ledger clock\".")
	}
	if c.OwnDiffers() {
		notices = append(notices, "The clock of "+board+" differs from the rack's by "+
			ledger.FormatClockDifference(time.Duration(c.OwnAhead*float64(time.Second)))+": check its time servers. The rack does not follow it.")
	}
	return notices
}
