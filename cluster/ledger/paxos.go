package ledger

import (
	"cmp"
	"slices"
)

// Founding decides raft's bootstrap configuration. It is single-decree Paxos among
// the boards that have no ledger: of all configurations that are ever proposed at
// most one is chosen, even if messages are lost, repeated or late and
// boards restart. This file is the rules, without clock, disk or network;
// founding.go runs them.

// ballot orders the proposals; no two proposers ever use the same one. The
// zero ballot comes before all.
type ballot struct {
	N  uint64
	By string // server id of the proposer
}

func (b ballot) compare(c ballot) int {
	return cmp.Or(cmp.Compare(b.N, c.N), cmp.Compare(b.By, c.By))
}

// paxosAcceptor holds a board's promise and its accepted proposal. It is on disk before
// the board answers.
type paxosAcceptor struct {
	Promised  ballot
	Accepted  ballot
	Bootstrap bootstrapConfig // of Accepted, if that is not zero
}

// handlePrepare promises to accept no ballot before b. If changed is set, the
// acceptor must be on disk before the answer is sent.
func (p *paxosAcceptor) handlePrepare(b ballot) (ok, changed bool) {
	if b.compare(p.Promised) <= 0 {
		return b == p.Promised && b != ballot{}, false
	}
	p.Promised = b
	return true, true
}

// handleAccept accepts a configuration under a ballot, unless a later one is promised.
func (p *paxosAcceptor) handleAccept(b ballot, c bootstrapConfig) (ok, changed bool) {
	if b.compare(p.Promised) < 0 || (b == ballot{}) {
		return false, false
	}
	if p.Accepted == b {
		return true, false
	}
	p.Promised, p.Accepted, p.Bootstrap = b, b, c
	return true, true
}

// prepareResponse is a board's answer to a prepareRequest.
type prepareResponse struct {
	Server    raftServer
	OK        bool
	Highest   ballot // that the board has promised
	Accepted  ballot
	Bootstrap bootstrapConfig
}

// majorityOf returns the least number of boards that is more than half of them.
func majorityOf(boards int) int { return boards/2 + 1 }

// chooseBootstrap returns the configuration that a proposer may propose after these
// answers: the one accepted under the highest ballot, or if there is none its own,
// with voters from among the boards that promised. ok is false if fewer than a
// majority of the planned boards promised.
func chooseBootstrap(boards int, answers []prepareResponse, fresh ledgerID) (c bootstrapConfig, ok bool) {
	var highest ballot
	var promised []raftServer
	for _, p := range answers {
		if !p.OK || slices.ContainsFunc(promised, func(s raftServer) bool { return s.Name == p.Server.Name }) {
			continue
		}
		promised = append(promised, p.Server)
		if p.Accepted.compare(highest) > 0 {
			highest, c = p.Accepted, p.Bootstrap
		}
	}
	if len(promised) < majorityOf(boards) {
		return bootstrapConfig{}, false
	}
	if highest != (ballot{}) {
		return c, true
	}
	slices.SortFunc(promised, func(a, b raftServer) int { return cmp.Compare(a.Name, b.Name) })
	return bootstrapConfig{Ledger: fresh, Voters: promised[:min(len(promised), wantVoters(boards, 0))]}, true
}

// wantVoters returns the number of voters that a rack should have, given its
// boards and its voters now. Five voters survive the loss of two, but the leader
// then sends everything four times and waits for two cards instead of one, so a
// rack has to be large enough that two boards may well be down at once. A rack with
// five voters keeps them until it is two boards smaller.
func wantVoters(boards, now int) int {
	switch {
	case boards >= 7, boards >= 6 && now >= 5:
		return 5
	case boards >= 3:
		return 3
	}
	return max(boards, 1)
}
