package origin

import (
	"slices"
	"time"
)

// RebalanceDelay is the time for which membership must have been stable before a board
// takes more permits than it has. Every board gives up permits as soon as it
// hears of another board, and gossip reaches the last of 32 boards within a
// second: so all others have by then given up the permits that this board takes.
const RebalanceDelay = 2 * time.Second

// RackMember is a board of the rack that has not left it.
type RackMember struct {
	Name  string
	Alive bool
}

// dividePermits divides an origin's permits among the boards of the rack, sorted
// by name. It returns the number for this board, and the other living boards
// that have any. All boards get the same result without communication, and
// never more than total together, even if some know fewer boards than others.
//
// A board that does not answer still counts until it is forgotten: it may be alive
// behind a cut cable. Only with fewer permits than boards, when such a
// board could hold the last one, the larger side of a split divides all permits
// among itself and the smaller side has none.
func dividePermits(total int, members []RackMember, self string) (own int, holders []string) {
	alive := 0
	for _, m := range members {
		if m.Alive {
			alive++
		}
	}
	if total < len(members) && alive < len(members) {
		switch {
		case 2*alive > len(members):
			members = slices.DeleteFunc(slices.Clone(members), func(m RackMember) bool { return !m.Alive })
		case 2*alive < len(members):
			return 0, nil
		}
	}
	for rank, m := range members {
		part := total / len(members)
		if rank < total%len(members) {
			part++
		}
		switch {
		case m.Name == self:
			own = part
		case part > 0 && m.Alive:
			holders = append(holders, m.Name)
		}
	}
	return own, holders
}

// rackStability follows the rack's members and decides when a board may take more
// permits.
type rackStability struct {
	members []RackMember
	since   time.Time
}

// observe records the members and reports whether they have been the same for
// RebalanceDelay.
func (s *rackStability) observe(members []RackMember, now time.Time) bool {
	if !slices.Equal(members, s.members) || s.since.IsZero() {
		s.members, s.since = slices.Clone(members), now
	}
	return now.Sub(s.since) >= RebalanceDelay
}
