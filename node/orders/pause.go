package orders

import "fmt"

// Pause is why a board accepts no orders now, as far as a buyer is concerned.
type Pause uint8

const (
	// NotPaused: the board accepts orders.
	NotPaused Pause = iota
	// PausedStart: there is nothing to order from yet, because the rack has no ledger or
	// this board has not caught up with it since its start.
	PausedStart
	// PausedRack: no board accepts orders, as far as this board knows. Orders that were
	// acknowledged are stored.
	PausedRack
	// PausedBoard: this board accepts none, and the other boards of the rack do.
	PausedBoard
)

// ErrPaused is an ErrNotCommitted: the board accepts no orders now. See Pause.
var ErrPaused = fmt.Errorf("%w: orders are paused", ErrNotCommitted)

// String returns the word for JSON: not_ready, paused or this_board; "" if orders are accepted.
func (p Pause) String() string {
	return [...]string{NotPaused: "", PausedStart: "not_ready", PausedRack: "paused", PausedBoard: "this_board"}[min(p, PausedBoard)]
}
