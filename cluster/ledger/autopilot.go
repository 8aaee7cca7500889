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
	raftServer
	Voter bool
}

// boardHealth is a board's health, as far as the leader knows.
type boardHealth struct {
	Server  raftServer
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
	// change, and two boards may claim one. A member that is silent has the name that it had
	// last, as far as the leader knows; the configuration's name may be older.
	Boards map[string]boardHealth
}

type membershipAction uint8

const (
	noAction membershipAction = iota
	addNonvoter
	promoteToVoter
	demoteVoter
	removeServer
	renameBoard
)

func (m membershipAction) String() string {
	return [...]string{"nothing", "add", "promote", "demote", "remove", "rename"}[m]
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
	for _, plan := range []func() (membershipChange, bool){p.removeNonvoter, p.renameMember, p.addMissingBoard} {
		if c, planned := plan(); planned {
			return c
		}
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
	b, known := p.Boards[m.ID]
	return m.ID == p.Leader || (known && !b.Unheard && p.answers(b) && !b.Trouble)
}

// isSilent reports whether a member is not alive, and had the time to show it.
func (p *planner) isSilent(m clusterMember) bool {
	b := p.Boards[m.ID]
	return !p.isAlive(m) && !(b.Unheard && p.answers(b))
}

// lastName returns the name that a member's board had last.
func (p *planner) lastName(m clusterMember) string { return p.Boards[m.ID].Server.Name }

// isClaimed reports whether another board than a member answers under a name.
func (p *planner) isClaimed(name string, m clusterMember) bool {
	for id, b := range p.Boards {
		if id != m.ID && b.Server.Name == name && p.answers(b) && !b.Unheard {
			return true
		}
	}
	return false
}

// nextLife returns the server that the member's board is now, "" if it is the member
// still: the member is silent, and under its last name a server answers that is no member. So
// the board was wiped, or set its files aside. A member that answers under the name of
// another is no new life of that: a board was renamed, and has a name that was taken.
func (p *planner) nextLife(m clusterMember) string {
	if b, known := p.Boards[m.ID]; m.ID == p.Leader || (known && p.answers(b)) {
		return ""
	}
	for _, id := range sortedKeys(p.Boards) {
		if b := p.Boards[id]; b.Server.Name == p.lastName(m) && p.answers(b) && !p.isMember(id) {
			return id
		}
	}
	return ""
}

func (p *planner) isMember(id string) bool {
	return slices.ContainsFunc(p.Members, func(m clusterMember) bool { return m.ID == id })
}

// hasName reports whether a member has a name, which raft allows only once.
func (p *planner) hasName(board string) bool {
	return slices.ContainsFunc(p.Members, func(m clusterMember) bool { return m.Name == board })
}

// staysMajority reports whether the live voters are a majority of one voter less,
// live being those of them that stay.
func (p *planner) staysMajority(live int) bool { return live >= majorityOf(p.voters-1) }

func (p *planner) remove(m clusterMember) membershipChange {
	return membershipChange{removeServer, m.raftServer, "the board has begun a new life as " + p.nextLife(m)}
}

// removeNonvoter removes a nonvoter that is another server now, or silent for long, or
// silent while another board has its name: it is added again when it returns with its own.
func (p *planner) removeNonvoter() (membershipChange, bool) {
	for _, m := range p.Members {
		b, known := p.Boards[m.ID]
		switch {
		case m.Voter || m.ID == p.Leader:
		case p.nextLife(m) != "":
			return p.remove(m), true
		case !known || b.Silent >= p.timing.RemoveAfter:
			return membershipChange{removeServer, m.raftServer, fmt.Sprintf("silent for %v", p.timing.RemoveAfter)}, true
		case !p.answers(b) && (p.isClaimed(b.Server.Name, m) || b.Server.Name == m.ID): // the id: see renameMember
			return membershipChange{removeServer, m.raftServer, "it is silent, and another board has its name"}, true
		}
	}
	return membershipChange{}, false
}

// renameMember gives a member the name that its board had last. Raft allows a name once, so
// boards that exchanged their names hold each other's. Then one is called by its server id
// first. Each member gets that name at most once and the right one at most once, so this ends.
func (p *planner) renameMember() (membershipChange, bool) {
	for _, m := range p.Members {
		b, name := p.Boards[m.ID], p.lastName(m)
		// Raft changes nothing while a member has no name, as after a fault of the card.
		if name != m.Name && (!b.Unheard || m.Name == "") && !p.hasName(name) && (p.answers(b) || !p.isClaimed(name, m)) {
			return membershipChange{renameBoard, b.Server, "the board was called " + m.Name}, true
		}
	}
	for _, m := range p.Members {
		if p.lastName(m) != m.Name && m.Name != m.ID && !p.hasName(m.ID) && p.isClaimed(m.Name, m) {
			return membershipChange{renameBoard, raftServer{m.ID, m.ID}, "another board is called " + m.Name}, true
		}
	}
	return membershipChange{}, false
}

// addMissingBoard adds a board that answers and is no member. While its name belongs to a
// member, it waits: that is an earlier life, which goes first, or another board of the name.
func (p *planner) addMissingBoard() (membershipChange, bool) {
	for _, id := range sortedKeys(p.Boards) {
		b := p.Boards[id]
		if p.answers(b) && !p.isMember(id) && !p.hasName(b.Server.Name) {
			return membershipChange{addNonvoter, b.Server, "a board of the rack follows"}, true
		}
	}
	return membershipChange{}, false
}

// nameConflicts returns a sentence for each name that two boards claim: members that this
// leader has heard, or servers that answer. The configuration's name for a member that the
// leader has not heard may be an old one. A person is to rename the boards that came later.
func (p *planner) nameConflicts() []string {
	claims, late := map[string][]string{}, map[string][]string{}
	for _, id := range sortedKeys(p.Boards) {
		b := p.Boards[id]
		if b.Unheard || !p.answersNow(b) && !p.isMember(id) {
			continue
		}
		name, before := b.Server.Name, "a new board"
		for _, m := range p.Members {
			if m.ID == id {
				before = "before: " + m.Name
			}
		}
		claims[name] = append(claims[name], id)
		if before != "before: "+name {
			late[name] = append(late[name], fmt.Sprintf("%s (%s)", id, before))
		}
	}
	var all []string
	for _, name := range sortedKeys(claims) {
		if ids := claims[name]; len(ids) >= 2 && !p.hasNextLife(name, ids) {
			all = append(all, fmt.Sprintf("the boards %s are all called %s: give %s another [board] name",
				strings.Join(ids, " and "), name, strings.Join(late[name], " and ")))
		}
	}
	return all
}

// presentSurveys is the number of surveys of which a board must have answered one to be present.
const presentSurveys = 3

// answersNow reports whether a board answered one of the last surveys.
func (p *planner) answersNow(b boardHealth) bool { return b.Silent < presentSurveys*p.timing.Survey }

// hasNextLife reports whether a board of this name is only in its next life: of the servers
// that claim the name, a member has just gone silent, and one that is no member answers.
func (p *planner) hasNextLife(name string, ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return !p.isMember(id) }) &&
		slices.ContainsFunc(p.Members, func(m clusterMember) bool {
			return p.lastName(m) == name && m.ID != p.Leader && !p.answersNow(p.Boards[m.ID])
		})
}

// lostVoter returns a voter that is lost for good, if none one that is silent.
func (p *planner) lostVoter() (clusterMember, bool) {
	i := slices.IndexFunc(p.Members, func(m clusterMember) bool { return m.Voter && p.nextLife(m) != "" })
	if i < 0 {
		i = slices.IndexFunc(p.Members, func(m clusterMember) bool { return m.Voter && p.isSilent(m) })
	}
	if i < 0 {
		return clusterMember{}, false
	}
	return p.Members[i], true
}

// spareNonvoter returns a nonvoter that could vote at once. One that refuses the leader's entries
// could not, however few it lacks.
func (p *planner) spareNonvoter() (raftServer, bool) {
	for _, m := range p.Members {
		if b := p.Boards[m.ID]; !m.Voter && p.isAlive(m) && b.Follows && b.Index+maxPromotionLag >= p.Index {
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
	case p.nextLife(lost) != "" && p.staysMajority(p.liveVoters):
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

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
