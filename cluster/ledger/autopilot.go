package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	ID      string
	Address string // as raft's configuration has it: see planner.change
	Voter   bool
}

// boardHealth is a board's health, as far as the leader knows.
type boardHealth struct {
	Server  raftServer    // with the board's last name, as far as the leader knows: see boardName
	Silent  time.Duration // since its last response
	Index   uint64        // of the last entry that it applied
	Trouble bool          // it reports itself that it should not vote
	Follows bool          // it hears a leader of the ledger
	// Unheard: it has not answered this leader yet. It may be alive or lost, so no change of
	// membership relies on it, and none replaces it.
	Unheard bool
}

// clusterState is everything that planChange depends on.
type clusterState struct {
	Members []clusterMember
	Leader  string // server id
	Index   uint64 // of the last entry that the leader applied
	// Boards holds the health of each server by its id, that of all members included: a name may
	// change, and two boards may claim one.
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
	Action  membershipAction
	Server  raftServer
	Address string // raft's, of the server
	Why     string
}

// planChange returns the next change. It never plans one after which the live
// voters would be no majority, nor one whose commitment needs silent boards.
func planChange(s clusterState, t RaftTiming) membershipChange {
	p := newPlanner(s, t)
	if p.liveVoters < majorityOf(p.voters) {
		return membershipChange{} // nothing could be committed
	}
	if i := slices.IndexFunc(p.Members, func(m clusterMember) bool { return m.Address == "" }); i >= 0 {
		return p.change(addNonvoter, p.Members[i].ID, "raft has no address for it") // a voter stays one
	}
	// Nonvoters first: adding or removing one endangers nothing.
	if c, planned := p.planNonvoter(); planned {
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
		func(a, b clusterMember) int { return cmp.Compare(a.ID, b.ID) })
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
	b := p.Boards[m.ID]
	return m.ID == p.Leader || (!b.Unheard && p.answers(b) && !b.Trouble)
}

// isSilent reports whether a member is not alive, and had the time to show it.
func (p *planner) isSilent(m clusterMember) bool {
	b := p.Boards[m.ID]
	return !p.isAlive(m) && !(b.Unheard && p.answers(b))
}

// findClaimant returns a server that answers under the last name of a silent member, "" if there is
// none. A server that is no member is the member's board in a new life: it was wiped, or set its files
// aside. With orMember, members count too: such a member was renamed to a name that was taken.
func (p *planner) findClaimant(m clusterMember, orMember bool) string {
	if p.answers(p.Boards[m.ID]) {
		return ""
	}
	for _, id := range sortedKeys(p.Boards) {
		if b := p.Boards[id]; b.Server.Name == p.Boards[m.ID].Server.Name && p.answers(b) && !b.Unheard && (orMember || !p.isMember(id)) {
			return id
		}
	}
	return ""
}

func (p *planner) isMember(id string) bool {
	return slices.ContainsFunc(p.Members, func(m clusterMember) bool { return m.ID == id })
}

// change returns a change of one server. Raft's address of a server is its id, or, in a ledger
// of an older program, the name that the board had once. It stays: raft 1.8 has a data race
// when the address of a member changes. Raft changes nothing while a member has none.
func (p *planner) change(action membershipAction, id, why string) membershipChange {
	address := id
	for _, m := range p.Members {
		if m.ID == id {
			address = cmp.Or(m.Address, id)
		}
	}
	return membershipChange{action, p.Boards[id].Server, address, why}
}

// staysMajority reports whether the live voters are a majority of one voter less,
// live being those of them that stay.
func (p *planner) staysMajority(live int) bool { return live >= majorityOf(p.voters-1) }

// planNonvoter removes a nonvoter that is another server now, or silent for long, or silent while
// another board has its name: it is added again when it returns with its own. Then it adds a board
// that answers and is no member. While a member had its name last, the board waits: that is an
// earlier life, which goes first, or another board of the name.
func (p *planner) planNonvoter() (membershipChange, bool) {
	for _, m := range p.Members {
		if m.Voter || m.ID == p.Leader {
			continue
		}
		switch by := p.findClaimant(m, true); {
		case by != "":
			return p.change(removeServer, m.ID, "silent, and "+by+" has its name"), true
		case p.Boards[m.ID].Silent >= p.timing.RemoveAfter:
			return p.change(removeServer, m.ID, fmt.Sprintf("silent for %v", p.timing.RemoveAfter)), true
		}
	}
	for _, id := range sortedKeys(p.Boards) {
		b := p.Boards[id]
		isHeld := slices.ContainsFunc(p.Members, func(m clusterMember) bool { return p.Boards[m.ID].Server.Name == b.Server.Name })
		if p.answers(b) && !p.isMember(id) && !isHeld {
			return p.change(addNonvoter, id, "a board of the rack follows"), true
		}
	}
	return membershipChange{}, false
}

// nameConflicts returns a sentence for each name that two boards claim: members that this
// leader has heard, or servers that answer. Of a new life beside a member that has gone silent it
// returns none. A person is to rename the board that came last: one that is no member, else one
// that was born under another name.
func (p *planner) nameConflicts() (all []string) {
	claims := map[string][]string{}
	for _, id := range sortedKeys(p.Boards) {
		if b := p.Boards[id]; !b.Unheard && (p.answersNow(b) || p.isMember(id)) {
			claims[b.Server.Name] = append(claims[b.Server.Name], id)
		}
	}
	for _, name := range sortedKeys(claims) {
		ids := claims[name]
		late, why := ids[0], ""
		for _, id := range ids {
			switch birth := birthName(id); {
			case !p.isMember(id):
				late, why = id, " (a new board)"
			case birth != name && p.isMember(late):
				late, why = id, " (before: "+birth+")"
			}
		}
		isSilent := func(id string) bool { return !p.answersNow(p.Boards[id]) }
		if len(ids) >= 2 && (p.isMember(late) || !slices.ContainsFunc(ids, isSilent)) {
			all = append(all, fmt.Sprintf("the boards %s are all called %s: give %s%s another [board] name",
				strings.Join(ids, " and "), name, late, why))
		}
	}
	return all
}

// presentSurveys is the number of surveys after which a board that answered none of them counts as absent.
const presentSurveys = 3

// answersNow reports whether a board answered one of the last surveys.
func (p *planner) answersNow(b boardHealth) bool { return b.Silent < presentSurveys*p.timing.Survey }

// lostVoter returns a voter that is lost for good, if none one that is silent.
func (p *planner) lostVoter() (clusterMember, bool) {
	isOver := func(m clusterMember) bool { return p.findClaimant(m, false) != "" }
	for _, isLost := range []func(clusterMember) bool{isOver, p.isSilent} {
		if i := slices.IndexFunc(p.Members, func(m clusterMember) bool { return m.Voter && isLost(m) }); i >= 0 {
			return p.Members[i], true
		}
	}
	return clusterMember{}, false
}

// spareNonvoter returns a nonvoter that could vote at once. One that refuses the leader's entries
// could not, however few it lacks.
func (p *planner) spareNonvoter() (id string, has bool) {
	for _, m := range p.Members {
		if b := p.Boards[m.ID]; !m.Voter && p.isAlive(m) && b.Follows && b.Index+maxPromotionLag >= p.Index {
			return m.ID, true
		}
	}
	return "", false
}

// replaceVoter removes a lost voter, promotes another in its place, or demotes it.
func (p *planner) replaceVoter(lost clusterMember) membershipChange {
	dead := p.voters - p.liveVoters
	marginNow := p.liveVoters - majorityOf(p.voters)
	marginThen := p.liveVoters - majorityOf(p.voters-1)
	spare, hasSpare := p.spareNonvoter()
	switch next := p.findClaimant(lost, false); {
	case next != "" && p.staysMajority(p.liveVoters):
		return p.change(removeServer, lost.ID, "its board is "+next+" now")
	case hasSpare && p.voters <= p.most:
		return p.change(promoteToVoter, spare, "replaces "+lost.ID)
	case p.voters > p.most || marginThen > marginNow || (dead >= 2 && p.voters > 3):
		if p.staysMajority(p.liveVoters) {
			return p.change(demoteVoter, lost.ID, fmt.Sprintf("silent for %v", p.timing.ReplaceAfter))
		}
	}
	return membershipChange{}
}

// adjustVoterCount promotes or demotes a board while all voters are alive.
func (p *planner) adjustVoterCount() membershipChange {
	if spare, has := p.spareNonvoter(); has && p.voters < p.want {
		return p.change(promoteToVoter, spare, fmt.Sprintf("%d of %d voters", p.voters, p.want))
	}
	if p.voters <= p.most {
		return membershipChange{}
	}
	for _, m := range slices.Backward(p.Members) { // the last by id that does not lead
		if m.Voter && m.ID != p.Leader && p.staysMajority(p.liveVoters-1) {
			return p.change(demoteVoter, m.ID, fmt.Sprintf("%d voters are enough", p.want))
		}
	}
	return membershipChange{}
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
