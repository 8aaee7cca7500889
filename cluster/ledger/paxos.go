package ledger

import (
	"cmp"
	"slices"
)

// Founding is single-decree Paxos among the boards that have no ledger: of
// all charters that are ever proposed at most one is decided, whatever
// messages are lost, repeated or late and whichever boards restart. This file
// is the rules, without clock, disk or network; founding.go carries them out.

// ballot orders the proposals; no two proposers ever use the same one. The
// zero ballot comes before all.
type ballot struct {
	N  uint64
	By string // server id of the proposer
}

func (b ballot) compare(c ballot) int {
	return cmp.Or(cmp.Compare(b.N, c.N), cmp.Compare(b.By, c.By))
}

// paxosAcceptor is what a board has promised. It is on disk before it is told.
type paxosAcceptor struct {
	Promised  ballot
	Accepted  ballot
	Bootstrap bootstrapConfig // of Accepted, if that is not zero
}

// handlePrepare is asked not to accept any ballot before b. changed says that the
// acceptor must be written down before the answer is sent.
func (a *paxosAcceptor) handlePrepare(b ballot) (ok, changed bool) {
	if b.compare(a.Promised) <= 0 {
		return b == a.Promised && b != ballot{}, false
	}
	a.Promised = b
	return true, true
}

// handleAccept is asked to accept a charter under a ballot.
func (a *paxosAcceptor) handleAccept(b ballot, c bootstrapConfig) (ok, changed bool) {
	if b.compare(a.Promised) < 0 || (b == ballot{}) {
		return false, false
	}
	if a.Accepted == b {
		return true, false
	}
	a.Promised, a.Accepted, a.Bootstrap = b, b, c
	return true, true
}

// prepareResponse is one board's answer to a promise.
type prepareResponse struct {
	Server    raftServer
	OK        bool
	Highest   ballot // promised by that board by now
	Accepted  ballot
	Bootstrap bootstrapConfig
}

// majorityOf is how many of so many boards are more than half.
func majorityOf(boards int) int { return boards/2 + 1 }

// chooseBootstrap gives the charter that a proposer may propose after these answers:
// the one accepted under the highest ballot, else its own with voters from
// among those that promised. ok is false if fewer than a majority of the
// planned boards promised.
func chooseBootstrap(boards int, answers []prepareResponse, fresh ledgerID) (c bootstrapConfig, ok bool) {
	var high ballot
	var yes []raftServer
	for _, p := range answers {
		if !p.OK || slices.ContainsFunc(yes, func(s raftServer) bool { return s.Name == p.Server.Name }) {
			continue
		}
		yes = append(yes, p.Server)
		if p.Accepted.compare(high) > 0 {
			high, c = p.Accepted, p.Bootstrap
		}
	}
	if len(yes) < majorityOf(boards) {
		return bootstrapConfig{}, false
	}
	if high != (ballot{}) {
		return c, true
	}
	slices.SortFunc(yes, func(a, b raftServer) int { return cmp.Compare(a.Name, b.Name) })
	return bootstrapConfig{Ledger: fresh, Voters: yes[:min(len(yes), wantVoters(boards, 0))]}, true
}

// wantVoters is how many boards of a rack of so many should vote, of which
// now so many do. Five voters lose two without harm but make the leader send
// everything four times and wait for two cards instead of one, so a rack has
// to be large enough that two boards may well be down at once. A rack that
// has five keeps them until two boards fewer are there.
func wantVoters(boards, now int) int {
	switch {
	case boards >= 7, boards >= 6 && now >= 5:
		return 5
	case boards >= 3:
		return 3
	}
	return max(boards, 1)
}
