package gpio

import "time"

// Input is the state of a board that its lamps show. Two Inputs that are equal when
// normalized have the same Show.
type Input struct {
	Health       Health
	Faults       FaultSet
	Acknowledged FaultSet // the faults that a person at the panel has acknowledged: one flash instead of a count
	Load         float64  // part of the board's measured capacity in use, 0 to 1; other values are clamped
	Peak         float64  // the highest load of the last seconds (see LoadMeter): a dot above the bar; 0 for none
	Locate       bool     // an operator is looking for this board

	Address      bool          // show Octet, and nothing else
	Octet        uint8         // the last one of the board's address
	AddressSince time.Duration // when the address was requested: it is shown from its beginning

	Leader   bool // this board leads the ledger
	SoldOut  bool // the sale has nothing left
	DeadSide Side // where on the ring a neighbour is dead

	// Moments, like AddressSince, as time since the Unix epoch by the panel's clock;
	// zero is none. Render shows a moment's sign when Now is near it.
	OpensAt  time.Duration // a sale opens: its last ten seconds run down the bar
	PurgedAt time.Duration // a purge reaches this board: a wave runs over the bar
	Now      time.Duration // needed only if there is a moment
}

// Side is where on the ring a board's dead neighbours are. It is a set: both of
// them can be dead.
type Side uint8

// The sides, in the order of the boards on the ring and of the lamps in a bar: Before
// is towards the bar's first lamp, After towards its last.
const (
	Before Side = 1 << iota
	After
)

// String returns the side in words, "" for none.
func (s Side) String() string {
	switch s & (Before | After) {
	case Before:
		return "the board before this one"
	case After:
		return "the board after this one"
	case Before | After:
		return "the boards before and after this one"
	}
	return ""
}

// SideOf returns the sides of self on which the neighbour, in the ring's order, is dead.
// After the last board comes the first. In a rack of two the dead board is on the side
// where it stands in the order.
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

// normalized removes everything that does not affect the lamps: a moment that is not
// near, the time, and loads outside of 0 to 1.
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

// clampShare limits x to 0 to 1; NaN is 0.
func clampShare(x float64) float64 {
	if !(x > 0) {
		return 0
	}
	return min(x, 1)
}

// Show is the pattern of each lamp until the next Show, as plain data.
type Show struct {
	Health  Pattern   `json:"health"`  // the one lamp that every panel has
	Bar     []Pattern `json:"bar"`     // the load bar, lowest lamp first
	Summary string    `json:"summary"` // the same in one sentence: "serving; peer lost"
}
