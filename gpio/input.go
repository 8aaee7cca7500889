package gpio

import "time"

// Input is what a board knows of itself when it asks what its lamps should do.
// Two Inputs that settle to the same one need no new Show.
type Input struct {
	Health       Health
	Faults       FaultSet
	Acknowledged FaultSet // of these, what somebody at the panel has acknowledged: one flash instead of its count
	Load         float64  // part of the board's measured capacity in use, 0 to 1; what lies outside is clamped
	Peak         float64  // the highest load of the last seconds (see Meter): a dot above the bar; 0 for none
	Locate       bool     // somebody looks for this very board

	Address      bool          // tell Octet, and nothing else
	Octet        uint8         // the last one of the board's address
	AddressSince time.Duration // when the address was asked for: told from its beginning

	Leader   bool // this board leads the ledger
	SoldOut  bool // the sale has nothing left
	DeadSide Side // where on the ring a neighbour is dead

	// Moments, like Asked, as time since the Unix epoch by the clock that the lamps are
	// played by; zero is none. Tell shows what belongs to a moment by Now.
	OpensAt  time.Duration // a sale opens: its last ten seconds run down the bar
	PurgedAt time.Duration // a purge reaches this board: a wave runs over the bar
	Now      time.Duration // when the question is asked; needed only if there is a moment
}

// Side is where on the ring a board's dead neighbours are. It is a set: both of
// them can be dead.
type Side uint8

// The sides, as the boards stand in the rack and the lamps in a bar: Before is
// towards the bar's first lamp, After towards its last.
const (
	Before Side = 1 << iota
	After
)

// String gives the side in words, "" for none.
func (s Side) String() string {
	switch s & (Before | After) {
	case Before:
		return "the one before"
	case After:
		return "the one after"
	case Before | After:
		return "the ones before and after"
	}
	return ""
}

// SideOf says where the boards in dead stand next to self in the ring's order.
// The ring is closed: after the last board comes the first. With two boards the
// one dead is on the side that the order says.
func SideOf(order []string, self string, dead func(board string) bool) Side {
	var side Side
	for i, board := range order {
		if board != self || len(order) < 2 {
			continue
		}
		if next := order[(i+1)%len(order)]; (i+1 < len(order) || len(order) > 2) && dead(next) {
			side |= After
		}
		if last := order[(i+len(order)-1)%len(order)]; (i > 0 || len(order) > 2) && dead(last) {
			side |= Before
		}
	}
	return side
}

// normalized drops what makes no difference to the lamps: a moment that is not
// near, what time it is, and loads that are not within 0 and 1.
func (in Input) normalized() Input {
	if in.OpensAt != 0 && !isNear(in.Now, in.OpensAt, openBefore, openAfter) {
		in.OpensAt = 0
	}
	if in.PurgedAt != 0 && !isNear(in.Now, in.PurgedAt, purgeBefore, purgeAfter) {
		in.PurgedAt = 0
	}
	in.Now = 0
	in.Load, in.Peak = clampShare(in.Load), clampShare(in.Peak)
	in.Acknowledged &= in.Faults
	if !in.Address {
		in.Octet, in.AddressSince = 0, 0
	}
	return in
}

func isNear(now, moment, before, after time.Duration) bool {
	return now >= moment-before && now < moment+after
}

// clampShare keeps x between 0 and 1; what is no number is 0.
func clampShare(x float64) float64 {
	if !(x > 0) {
		return 0
	}
	return min(x, 1)
}

// Show is what each lamp does until the next Show, as data.
type Show struct {
	Health  Pattern   `json:"health"`  // the one lamp that every panel has
	Bar     []Pattern `json:"bar"`     // the load bar, lowest lamp first
	Summary string    `json:"summary"` // the same in one plain sentence: "serving; peer lost"
}
