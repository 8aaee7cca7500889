package origin

import (
	"slices"
	"time"
)

// RebalanceDelay is how long the rack must have stood still before a board takes
// more places than it has. Every board gives places up as soon as it hears of
// another, and gossip reaches the last of 32 boards within a second: so the
// places that one board takes have been given up by all others.
const RebalanceDelay = 2 * time.Second

// RackMember is one board of the rack that has not said goodbye.
type RackMember struct {
	Name  string
	Alive bool
}

// dividePermits divides an origin's places by the boards of the rack, sorted by name:
// how many are this board's, and which living boards else have one. All boards
// come to the same answer without a word, and never to more than total
// together, even if some know fewer boards than others.
//
// A board that does not answer keeps its part until it is forgotten: it may be
// alive behind a cut cable. Only where there are fewer places than boards, and
// such a board might hold the last one, does the larger side of a split deal
// them out among itself, and the smaller side has none.
func dividePermits(total int, boards []RackMember, self string) (mine int, holders []string) {
	alive := 0
	for _, b := range boards {
		if b.Alive {
			alive++
		}
	}
	if total < len(boards) && alive < len(boards) {
		switch {
		case 2*alive > len(boards):
			boards = slices.DeleteFunc(slices.Clone(boards), func(b RackMember) bool { return !b.Alive })
		case 2*alive < len(boards):
			return 0, nil
		}
	}
	for rank, b := range boards {
		part := total / len(boards)
		if rank < total%len(boards) {
			part++
		}
		switch {
		case b.Name == self:
			mine = part
		case part > 0 && b.Alive:
			holders = append(holders, b.Name)
		}
	}
	return mine, holders
}

// rackStability follows the rack and says when a board may take more.
type rackStability struct {
	boards []RackMember
	since  time.Time
}

// observe notes who is there and reports whether that has settled.
func (s *rackStability) observe(boards []RackMember, now time.Time) bool {
	if !slices.Equal(boards, s.boards) || s.since.IsZero() {
		s.boards, s.since = slices.Clone(boards), now
	}
	return now.Sub(s.since) >= RebalanceDelay
}
