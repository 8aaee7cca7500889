package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Upkeep keeps the right boards voting. This file is the rule: from what the
// leader knows, at most one step at a time. meet.go gathers what it knows and
// carries the step out. A new leader begins with what it sees itself, so the
// rule needs no memory.

// maxBehind is how many entries a board may lack and still be given a vote.
const maxBehind = 128

// member is one server of raft's configuration.
type member struct {
	seat
	Voter bool
}

// report is what the leader knows of a board.
type report struct {
	Seat    seat
	Silent  time.Duration // since it last answered
	Index   uint64        // carried out there
	Trouble bool          // it says itself that it should not vote
}

// view is all that plan looks at.
type view struct {
	Members []member
	Leader  string // server id
	Index   uint64 // carried out by the leader
	// Boards are the reports by board name, the leader's included. A board that
	// never answered has a report with the seat that the configuration has.
	Boards map[string]report
}

type action uint8

const (
	nothing action = iota
	add            // as a follower without a vote
	promote
	demote
	remove
)

func (a action) String() string {
	return [...]string{"nothing", "add", "promote", "demote", "remove"}[a]
}

type step struct {
	Do   action
	Seat seat
	Why  string
}

// plan returns the next step. It never takes one after which the live voters
// would be no majority, nor one whose commitment needs boards that are silent.
func plan(v view, t Timing) step {
	byName := func(a, b member) int { return cmp.Compare(a.Name, b.Name) }
	members := slices.SortedFunc(slices.Values(v.Members), byName)
	alive := func(m member) bool {
		r, ok := v.Boards[m.Name]
		return m.ID == v.Leader || (ok && r.Seat.ID == m.ID && r.Silent < t.Gone && !r.Trouble)
	}
	voters, liveVoters := 0, 0
	for _, m := range members {
		if m.Voter {
			voters++
			if alive(m) {
				liveVoters++
			}
		}
	}
	if liveVoters < majority(voters) {
		return step{} // nothing could be committed
	}
	there := 0
	for _, r := range v.Boards {
		if r.Silent < t.Gone {
			there++
		}
	}

	// Followers first: taking one off or putting one on endangers nothing.
	for _, m := range members {
		r, known := v.Boards[m.Name]
		switch {
		case m.Voter || m.ID == v.Leader:
		case known && r.Seat.ID != m.ID && r.Silent < t.Gone:
			return step{remove, m.seat, "the board has begun a new life as " + r.Seat.ID}
		case !known || r.Silent >= t.Forget:
			return step{remove, m.seat, fmt.Sprintf("silent for %v", t.Forget)}
		}
	}
	for _, name := range sortedNames(v.Boards) {
		r := v.Boards[name]
		if r.Silent >= t.Gone || slices.ContainsFunc(members, func(m member) bool { return m.ID == r.Seat.ID }) {
			continue
		}
		// If an earlier life of the board has a vote, that goes first, see below.
		if !slices.ContainsFunc(members, func(m member) bool { return m.Name == name && m.Voter }) {
			return step{add, r.Seat, "a board of the rack follows"}
		}
	}

	want := wantVoters(there, voters)
	spare := slices.IndexFunc(members, func(m member) bool {
		return !m.Voter && alive(m) && v.Boards[m.Name].Index+maxBehind >= v.Index
	})
	reborn := func(m member) bool {
		r, ok := v.Boards[m.Name]
		return m.Voter && ok && r.Seat.ID != m.ID && r.Silent < t.Gone
	}
	lost := slices.IndexFunc(members, reborn)
	if lost < 0 {
		lost = slices.IndexFunc(members, func(m member) bool { return m.Voter && !alive(m) })
	}
	if lost >= 0 {
		m := members[lost]
		dead := voters - liveVoters
		spareNow := liveVoters - majority(voters)
		spareThen := liveVoters - majority(voters-1)
		switch {
		case reborn(m) && spareThen >= 0:
			return step{remove, m.seat, "the board has begun a new life as " + v.Boards[m.Name].Seat.ID}
		case spare >= 0 && voters <= max(want, 3):
			return step{promote, members[spare].seat, "takes the place of " + m.Name}
		case voters > max(want, 3) || spareThen > spareNow || (dead >= 2 && voters > 3):
			if spareThen >= 0 {
				return step{demote, m.seat, fmt.Sprintf("silent for %v", t.Gone)}
			}
		}
		return step{}
	}
	switch {
	case voters < want && spare >= 0:
		return step{promote, members[spare].seat, fmt.Sprintf("%d of %d voters", voters, want)}
	case voters > max(want, 3):
		// All voters live: the last by name that does not lead goes.
		for _, m := range slices.Backward(members) {
			if m.Voter && m.ID != v.Leader && liveVoters-1 >= majority(voters-1) {
				return step{demote, m.seat, fmt.Sprintf("%d voters are enough", want)}
			}
		}
	}
	return step{}
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
