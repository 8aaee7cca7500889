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

// maxPromotionLag is how many entries a board may lack and still be given a vote.
const maxPromotionLag = 128

// clusterMember is one server of raft's configuration.
type clusterMember struct {
	raftServer
	Voter bool
}

// boardReport is what the leader knows of a board.
type boardReport struct {
	Server  raftServer
	Silent  time.Duration // since it last answered
	Index   uint64        // carried out there
	Trouble bool          // it says itself that it should not vote
}

// clusterState is all that plan looks at.
type clusterState struct {
	Members []clusterMember
	Leader  string // server id
	Index   uint64 // carried out by the leader
	// Boards are the reports by board name, the leader's included. A board that
	// never answered has a report with the seat that the configuration has.
	Boards map[string]boardReport
}

type membershipAction uint8

const (
	noAction    membershipAction = iota
	addNonvoter                  // as a follower without a vote
	promoteToVoter
	demoteVoter
	removeServer
)

func (a membershipAction) String() string {
	return [...]string{"nothing", "add", "promote", "demote", "remove"}[a]
}

type membershipChange struct {
	Action membershipAction
	Server raftServer
	Why    string
}

// planChange returns the next step. It never takes one after which the live voters
// would be no majority, nor one whose commitment needs boards that are silent.
func planChange(v clusterState, t RaftTiming) membershipChange {
	byName := func(a, b clusterMember) int { return cmp.Compare(a.Name, b.Name) }
	members := slices.SortedFunc(slices.Values(v.Members), byName)
	alive := func(m clusterMember) bool {
		r, ok := v.Boards[m.Name]
		return m.ID == v.Leader || (ok && r.Server.ID == m.ID && r.Silent < t.ReplaceAfter && !r.Trouble)
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
	if liveVoters < majorityOf(voters) {
		return membershipChange{} // nothing could be committed
	}
	there := 0
	for _, r := range v.Boards {
		if r.Silent < t.ReplaceAfter {
			there++
		}
	}

	// Followers first: taking one off or putting one on endangers nothing.
	for _, m := range members {
		r, known := v.Boards[m.Name]
		switch {
		case m.Voter || m.ID == v.Leader:
		case known && r.Server.ID != m.ID && r.Silent < t.ReplaceAfter:
			return membershipChange{removeServer, m.raftServer, "the board has begun a new life as " + r.Server.ID}
		case !known || r.Silent >= t.RemoveAfter:
			return membershipChange{removeServer, m.raftServer, fmt.Sprintf("silent for %v", t.RemoveAfter)}
		}
	}
	for _, name := range sortedNames(v.Boards) {
		r := v.Boards[name]
		if r.Silent >= t.ReplaceAfter || slices.ContainsFunc(members, func(m clusterMember) bool { return m.ID == r.Server.ID }) {
			continue
		}
		// If an earlier life of the board has a vote, that goes first, see below.
		if !slices.ContainsFunc(members, func(m clusterMember) bool { return m.Name == name && m.Voter }) {
			return membershipChange{addNonvoter, r.Server, "a board of the rack follows"}
		}
	}

	want := wantVoters(there, voters)
	spare := slices.IndexFunc(members, func(m clusterMember) bool {
		return !m.Voter && alive(m) && v.Boards[m.Name].Index+maxPromotionLag >= v.Index
	})
	reborn := func(m clusterMember) bool {
		r, ok := v.Boards[m.Name]
		return m.Voter && ok && r.Server.ID != m.ID && r.Silent < t.ReplaceAfter
	}
	lost := slices.IndexFunc(members, reborn)
	if lost < 0 {
		lost = slices.IndexFunc(members, func(m clusterMember) bool { return m.Voter && !alive(m) })
	}
	if lost >= 0 {
		m := members[lost]
		dead := voters - liveVoters
		spareNow := liveVoters - majorityOf(voters)
		spareThen := liveVoters - majorityOf(voters-1)
		switch {
		case reborn(m) && spareThen >= 0:
			return membershipChange{removeServer, m.raftServer, "the board has begun a new life as " + v.Boards[m.Name].Server.ID}
		case spare >= 0 && voters <= max(want, 3):
			return membershipChange{promoteToVoter, members[spare].raftServer, "takes the place of " + m.Name}
		case voters > max(want, 3) || spareThen > spareNow || (dead >= 2 && voters > 3):
			if spareThen >= 0 {
				return membershipChange{demoteVoter, m.raftServer, fmt.Sprintf("silent for %v", t.ReplaceAfter)}
			}
		}
		return membershipChange{}
	}
	switch {
	case voters < want && spare >= 0:
		return membershipChange{promoteToVoter, members[spare].raftServer, fmt.Sprintf("%d of %d voters", voters, want)}
	case voters > max(want, 3):
		// All voters live: the last by name that does not lead goes.
		for _, m := range slices.Backward(members) {
			if m.Voter && m.ID != v.Leader && liveVoters-1 >= majorityOf(voters-1) {
				return membershipChange{demoteVoter, m.raftServer, fmt.Sprintf("%d voters are enough", want)}
			}
		}
	}
	return membershipChange{}
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
