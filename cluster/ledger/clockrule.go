package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The rule by which the ledger's clock follows the boards' clocks. It is pure: the
// leader gives it the readings of a survey and carries out what it decides.

const (
	// agreementSpread is the largest difference between clocks that agree. A reading
	// is wrong by up to half its round trip, which is at most maxReadingRoundTrip.
	agreementSpread = 3 * time.Second
	// maxSlew is the largest error that is corrected gradually, without an entry in
	// the log: at a twentieth it takes 100 s.
	maxSlew = 5 * time.Second
	// slewDivisor bounds a gradual correction: a twentieth of the time that passes,
	// so that the clock never goes back and an hour stays nearly an hour.
	slewDivisor = 20
	// maxSlewInterval is the longest time between two corrections that counts.
	maxSlewInterval = 10 * time.Second
	// decisionWait is the time for which a leader that does not know the ledger's clock
	// waits for boards that agree, before it continues from the last entry.
	decisionWait = 5 * time.Second
	// FarStep is the step from which things that cannot be undone wait for an operator.
	// A shop may be off for a holiday; a clock with a wrong month or year is further off.
	FarStep = 30 * 24 * time.Hour
	// minServers is the number of time servers that must agree before a board's clock
	// alone may move the ledger's clock while it runs.
	minServers = 2
	// firstYear is the year of the first board: a clock that shows an earlier one is not set.
	firstYear = 2012
)

// isPlausible reports whether a clock shows a possible time.
func isPlausible(t time.Time) bool { return t.UTC().Year() >= firstYear }

// ClockState is what a board knows of its own clock.
type ClockState struct {
	// Set is false if the clock is known not to be set, as on a card before a time
	// server has answered. A clock of which nothing is known counts as set.
	Set bool
	// Servers is the number of time servers that agreed on it last; 0 if unknown.
	Servers int
}

// clockReading is one board's clock at the moment of the decision.
type clockReading struct {
	Board   string
	Ahead   time.Duration // of the ledger's clock; negative: behind
	Set     bool
	Servers int
}

type clockInput struct {
	Readings []clockReading // one for each board that answered
	Voters   int
	// Known: the ledger's clock ran on until now, on this board or the leader before
	// it. False: it continues from the last entry, as after a night without power.
	Known bool
	Fresh bool // the ledger has no entry with a time yet
	// Followed: since this board leads or started, the clock has followed the boards' clocks.
	// A board whose clock is set only now has not leapt.
	Followed bool
	Override bool          // an operator set it, and the boards have not agreed with that since
	Stepped  time.Duration // how far it has gone forward since nothing waited for a step
	Unreal   bool          // the ledger's clock shows an impossible time: no board's was ever set
	Waited   time.Duration // since this board leads, by its monotonic clock
	Passed   time.Duration // since the last decision, by the monotonic clock
}

// clockDecision is how the ledger's clock moves now, apart from running on.
type clockDecision struct {
	Known bool          // false: the clock stays unknown until the next survey
	Slew  time.Duration // gradually: at once, without an entry
	Step  time.Duration // forward; all boards learn it from an entry
	Far   bool          // the step is so large that an operator must confirm it
	// Agreed: most boards agree on a time, which is Target ahead of the ledger's.
	Agreed bool
	Target time.Duration
	Follow bool   // the boards agree with the operator's time: its override ends
	Held   string // why the clock does not follow the boards' clocks; "" if it does
}

// decideClock decides how the ledger's clock moves. Most boards agree if their clocks
// are within agreementSpread, and they are more than half of the boards whose clock is
// set and at least a majority of the voters. The clock then follows their median.
func decideClock(in clockInput) clockDecision {
	set := slices.DeleteFunc(slices.Clone(in.Readings), func(r clockReading) bool { return !r.Set })
	slices.SortFunc(set, func(a, b clockReading) int { return cmp.Compare(a.Ahead, b.Ahead) })
	agreeing := largestAgreement(set)
	need := max(majorityOf(in.Voters), majorityOf(len(set)))
	if len(agreeing) < need {
		return decideWithoutAgreement(in, set, agreeing, need)
	}
	d := clockDecision{Known: true, Agreed: true, Target: lowerMedian(agreeing)}
	d.Follow = in.Override && d.Target.Abs() <= MaxSetDisagreement
	alone := len(agreeing) == 1 && agreeing[0].Servers < minServers
	switch {
	case in.Fresh && !in.Known:
		d.Slew = d.Target // nothing has a time yet
	case in.Override && !d.Follow:
		d.Held = fmt.Sprintf("an operator set it, and most boards say %s: it runs on by itself until they agree with it", FormatClockDifference(d.Target))
	case d.Target > maxSlew && in.Unreal:
		d.Step = d.Target
	case alone && (d.Target > FarStep || d.Target > maxSlew && in.Followed):
		// It leapt while it ran, or looks like a wrong year after a start.
		d.Agreed = false
		d.Held = fmt.Sprintf("the clock of %s is %s ahead of the ledger's, and no second board and not %d time servers confirm that",
			agreeing[0].Board, roundClock(d.Target), minServers)
	case d.Target > maxSlew:
		d.Step, d.Far = d.Target, d.Target+in.Stepped > FarStep
	default:
		most := min(max(in.Passed, 0), maxSlewInterval) / slewDivisor
		d.Slew = min(max(d.Target, -most), most)
		if d.Target < -maxSlew {
			d.Held = fmt.Sprintf("the ledger's clock is %s ahead of the boards' clocks", roundClock(-d.Target))
		}
	}
	return d
}

// setClockFlags returns the flags of an entry by which an operator sets the clock from now
// to another time. base is the moment from which steps add up.
func setClockFlags(base, now, to time.Time, d clockDecision, readings []clockReading) (flags uint32) {
	flags = flagClockStepped
	if !d.Agreed || to.Sub(now.Add(d.Target)).Abs() > MaxSetDisagreement {
		flags |= flagClockOverride
	}
	isBacked, anySet := false, false
	for _, r := range readings {
		anySet = anySet || r.Set
		isBacked = isBacked || r.Set && to.Sub(now.Add(r.Ahead)) <= MaxSetDisagreement
	}
	if forward := to.Sub(base); forward > FarStep && isPlausible(base) || forward > MaxSetDisagreement && anySet && !isBacked {
		flags |= flagClockFar
	}
	return flags
}

func decideWithoutAgreement(in clockInput, set, agreeing []clockReading, need int) clockDecision {
	d := clockDecision{Known: in.Known || in.Waited >= decisionWait}
	if d.Known && !in.Known && in.Fresh && len(in.Readings) > 0 {
		// A time is needed. One that is too early can be corrected later.
		guess := set
		if len(guess) == 0 {
			guess = slices.SortedFunc(slices.Values(in.Readings), func(a, b clockReading) int { return cmp.Compare(a.Ahead, b.Ahead) })
		}
		d.Slew = lowerMedian(guess)
	}
	switch {
	case len(set) == 0:
		d.Held = "no board's clock is set"
	case len(set) < need:
		d.Held = fmt.Sprintf("only %d of %d boards that must agree have a clock that is set", len(set), need)
	default:
		d.Held = fmt.Sprintf("the boards' clocks differ: %s; %d must agree, and at most %d do", listReadings(set), need, len(agreeing))
	}
	return d
}

// largestAgreement returns the largest group of sorted readings within agreementSpread,
// the earliest if there are several.
func largestAgreement(sorted []clockReading) []clockReading {
	var best []clockReading
	for i := range sorted {
		end := i
		for end < len(sorted) && sorted[end].Ahead-sorted[i].Ahead <= agreementSpread {
			end++
		}
		if end-i > len(best) {
			best = sorted[i:end]
		}
	}
	return best
}

// lowerMedian returns the median of sorted readings; of an even number the earlier of
// the two in the middle, because a clock can be set forward later without harm.
func lowerMedian(sorted []clockReading) time.Duration { return sorted[(len(sorted)-1)/2].Ahead }

// listReadings lists boards with their difference to the ledger's clock, at most four.
func listReadings(readings []clockReading) string {
	var list []string
	for i, r := range readings {
		if i == 4 {
			list = append(list, "…")
			break
		}
		list = append(list, r.Board+" "+FormatClockDifference(r.Ahead))
	}
	return strings.Join(list, ", ")
}

// FormatClockDifference returns a difference with its sign, such as "+2h0m0s", or
// "-400d3h" from two days on.
func FormatClockDifference(d time.Duration) string {
	if d <= -time.Millisecond/2 {
		return "-" + roundClock(-d)
	}
	return "+" + roundClock(d)
}

func roundClock(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		d = d.Round(time.Hour)
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= maxSlew:
		return d.Round(time.Second).String()
	}
	return d.Abs().Round(time.Millisecond).String()
}
