package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The autopilot gives the vote to the right boards. This file is its rule: from the
// leader's knowledge it plans at most one change of membership at a time. survey.go
// collects that knowledge and makes the change. After a failover the new
// leader starts with its own survey, so the rule needs no memory.

// maxPromotionLag limits the entries that a board may lack and still get a vote.
const maxPromotionLag = 128

// clusterMember is one server of raft's configuration.
type clusterMember struct {
	raftServer
	Voter bool
}

// boardHealth is a board's health, as far as the leader knows.
type boardHealth struct {
	Server  raftServer
	Silent  time.Duration // since its last response
	Index   uint64        // of the last entry that it applied
	Trouble bool          // it reports itself that it should not vote
}

// clusterState is everything that planChange depends on.
type clusterState struct {
	Members []clusterMember
	Leader  string // server id
	Index   uint64 // of the last entry that the leader applied
	// Boards holds the health of each board by name, the leader's included. A
	// board that never answered has the server that the configuration names.
	Boards map[string]boardHealth
}

type membershipAction uint8

const (
	noAction membershipAction = iota
	addNonvoter
	promoteToVoter
	demoteVoter
	removeServer
)

func (m membershipAction) String() string {
	return [...]string{"nothing", "add", "promote", "demote", "remove"}[m]
}

// membershipChange is one change of raft's configuration, and the reason for the log.
type membershipChange struct {
	Action membershipAction
	Server raftServer
	Why    string
}

// planChange returns the next change. It never plans one after which the live
// voters would be no majority, nor one whose commitment needs silent boards.
func planChange(s clusterState, t RaftTiming) membershipChange {
	p := newPlanner(s, t)
	if p.liveVoters < majorityOf(p.voters) {
		return membershipChange{} // nothing could be committed
	}
	// Nonvoters first: adding or removing one endangers nothing.
	if c, planned := p.removeNonvoter(); planned {
		return c
	}
	if c, planned := p.addMissingBoard(); planned {
		return c
	}
	if lost, any := p.lostVoter(); any {
		return p.replaceVoter(lost)
	}
	return p.adjustVoterCount()
}

// planner is a cluster's state with the figures that the rules share.
type planner struct {
	clusterState
	timing     RaftTiming
	voters     int
	liveVoters int
	want       int // voters that the rack should have
	most       int // voters above which one is demoted
}

func newPlanner(s clusterState, t RaftTiming) *planner {
	s.Members = slices.SortedFunc(slices.Values(s.Members),
		func(a, b clusterMember) int { return cmp.Compare(a.Name, b.Name) })
	p := &planner{clusterState: s, timing: t}
	for _, m := range s.Members {
		if m.Voter {
			p.voters++
			if p.isAlive(m) {
				p.liveVoters++
			}
		}
	}
	present := 0
	for _, b := range s.Boards {
		if p.answers(b) {
			present++
		}
	}
	p.want = wantVoters(present, p.voters)
	p.most = max(p.want, 3)
	return p
}

// answers reports whether a board has answered recently.
func (p *planner) answers(b boardHealth) bool { return b.Silent < p.timing.ReplaceAfter }

// isAlive reports whether a member answers and can vote. The leader is one.
func (p *planner) isAlive(m clusterMember) bool {
	b, known := p.Boards[m.Name]
	return m.ID == p.Leader || (known && b.Server.ID == m.ID && p.answers(b) && !b.Trouble)
}

// isReborn reports whether the member's board answers as another server: it was
// wiped, or set its files aside.
func (p *planner) isReborn(m clusterMember) bool {
	b, known := p.Boards[m.Name]
	return known && b.Server.ID != m.ID && p.answers(b)
}

func (p *planner) isMember(id string) bool {
	return slices.ContainsFunc(p.Members, func(m clusterMember) bool { return m.ID == id })
}

func (p *planner) hasVote(board string) bool {
	return slices.ContainsFunc(p.Members, func(m clusterMember) bool { return m.Name == board && m.Voter })
}

// staysMajority reports whether the live voters are a majority of one voter less,
// live being those of them that stay.
func (p *planner) staysMajority(live int) bool { return live >= majorityOf(p.voters-1) }

func (p *planner) remove(m clusterMember) membershipChange {
	return membershipChange{removeServer, m.raftServer, "the board has begun a new life as " + p.Boards[m.Name].Server.ID}
}

// removeNonvoter removes a nonvoter that is another server now, or silent for long.
func (p *planner) removeNonvoter() (membershipChange, bool) {
	for _, m := range p.Members {
		b, known := p.Boards[m.Name]
		switch {
		case m.Voter || m.ID == p.Leader:
		case p.isReborn(m):
			return p.remove(m), true
		case !known || b.Silent >= p.timing.RemoveAfter:
			return membershipChange{removeServer, m.raftServer, fmt.Sprintf("silent for %v", p.timing.RemoveAfter)}, true
		}
	}
	return membershipChange{}, false
}

// addMissingBoard adds a board that answers and is no member. If an earlier life
// of the board has a vote, replaceVoter removes that first.
func (p *planner) addMissingBoard() (membershipChange, bool) {
	for _, name := range sortedNames(p.Boards) {
		b := p.Boards[name]
		if p.answers(b) && !p.isMember(b.Server.ID) && !p.hasVote(name) {
			return membershipChange{addNonvoter, b.Server, "a board of the rack follows"}, true
		}
	}
	return membershipChange{}, false
}

// lostVoter returns a voter that is lost for good, if none one that is silent.
func (p *planner) lostVoter() (clusterMember, bool) {
	i := slices.IndexFunc(p.Members, func(m clusterMember) bool { return m.Voter && p.isReborn(m) })
	if i < 0 {
		i = slices.IndexFunc(p.Members, func(m clusterMember) bool { return m.Voter && !p.isAlive(m) })
	}
	if i < 0 {
		return clusterMember{}, false
	}
	return p.Members[i], true
}

// spareNonvoter returns a nonvoter that could vote at once.
func (p *planner) spareNonvoter() (raftServer, bool) {
	for _, m := range p.Members {
		if !m.Voter && p.isAlive(m) && p.Boards[m.Name].Index+maxPromotionLag >= p.Index {
			return m.raftServer, true
		}
	}
	return raftServer{}, false
}

// replaceVoter removes a lost voter, promotes another in its place, or demotes it.
func (p *planner) replaceVoter(lost clusterMember) membershipChange {
	dead := p.voters - p.liveVoters
	marginNow := p.liveVoters - majorityOf(p.voters)
	marginThen := p.liveVoters - majorityOf(p.voters-1)
	spare, hasSpare := p.spareNonvoter()
	switch {
	case p.isReborn(lost) && p.staysMajority(p.liveVoters):
		return p.remove(lost)
	case hasSpare && p.voters <= p.most:
		return membershipChange{promoteToVoter, spare, "replaces " + lost.Name}
	case p.voters > p.most || marginThen > marginNow || (dead >= 2 && p.voters > 3):
		if p.staysMajority(p.liveVoters) {
			return membershipChange{demoteVoter, lost.raftServer, fmt.Sprintf("silent for %v", p.timing.ReplaceAfter)}
		}
	}
	return membershipChange{}
}

// adjustVoterCount promotes or demotes a board while all voters are alive.
func (p *planner) adjustVoterCount() membershipChange {
	if spare, has := p.spareNonvoter(); has && p.voters < p.want {
		return membershipChange{promoteToVoter, spare, fmt.Sprintf("%d of %d voters", p.voters, p.want)}
	}
	if p.voters <= p.most {
		return membershipChange{}
	}
	for _, m := range slices.Backward(p.Members) { // the last by name that does not lead
		if m.Voter && m.ID != p.Leader && p.staysMajority(p.liveVoters-1) {
			return membershipChange{demoteVoter, m.raftServer, fmt.Sprintf("%d voters are enough", p.want)}
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
