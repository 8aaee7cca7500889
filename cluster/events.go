package cluster

import (
	"fmt"
	"strings"
	"time"
)

// EventKind is the kind of a change that happened to a board.
type EventKind uint8

const (
	Joined    EventKind = iota + 1 // a board appeared that this one had not known
	Returned                       // a board that had died or left is back
	Died                           // a board no longer answers
	Departed                       // a board said goodbye
	Changed                        // a board's State or Faults changed
	Forgotten                      // a dead board was away so long that it no longer counts
	Conflict                       // two boards use one name
)

// String returns the kind in lower case, for logs and the console.
func (k EventKind) String() string {
	words := [...]string{
		Joined: "joined", Returned: "returned", Died: "died", Departed: "left", Changed: "changed", Forgotten: "forgotten", Conflict: "conflict",
	}
	if k < Joined || int(k) >= len(words) {
		return fmt.Sprintf("event-%d", uint8(k))
	}
	return words[k]
}

func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is a change of the rack as one board saw it.
type Event struct {
	At    time.Time
	Kind  EventKind
	Board string // the board that it happened to
	Text  string // one plain English sentence without a full stop
}

// changedText describes the difference between two samples of one board's vitals.
func changedText(board string, old, now Vitals) string {
	var parts []string
	if old.State != now.State {
		parts = append(parts, "is now "+now.State.String())
	}
	if gone := old.Faults &^ now.Faults; gone != 0 {
		parts = append(parts, "no longer reports "+strings.Join(gone.Names(), ", "))
	}
	if came := now.Faults &^ old.Faults; came != 0 {
		parts = append(parts, "reports "+strings.Join(came.Names(), ", "))
	}
	return board + " " + strings.Join(parts, "; it ")
}
