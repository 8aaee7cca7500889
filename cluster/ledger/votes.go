package ledger

import (
	"slices"

	"github.com/hashicorp/raft"
)

// voteTransport is raft's transport with one change: this board votes for every candidate
// whose log is new enough, a voter in this board's configuration or not.
//
// Raft 1.8 refuses a candidate that its latest configuration does not have as a voter. A
// board that lags has an old configuration. If the board that was promoted since then has
// the longest log, and another voter dies, the board that lags refuses the only candidate
// that can win: the ledger stands still for good, although a majority of its voters is there.
// Raft's own rule is that a server votes without regard to its configuration (Ongaro,
// "Consensus: Bridging Theory and Practice", section 4.2.2). A server that was removed
// cannot win by that: a majority has the longer log that removed it. It does not disturb a
// leader either, because it asks for the votes before it raises the term.
type voteTransport struct {
	*raft.NetworkTransport
	requests chan raft.RPC
	// configuration returns the latest configuration of this board's raft, nil before raft
	// has started.
	configuration func() []raft.Server
}

// Consumer implements raft.Transport.
func (v *voteTransport) Consumer() <-chan raft.RPC { return v.requests }

// relayRequests hands the requests of other boards to raft until done is closed.
func (v *voteTransport) relayRequests(done <-chan struct{}) {
	for {
		select {
		case request := <-v.NetworkTransport.Consumer():
			v.admitCandidate(request.Command)
			select {
			case v.requests <- request:
			case <-done:
				return
			}
		case <-done:
			return
		}
	}
}

// admitCandidate changes a request for a vote, so that raft does not refuse its candidate:
// the id, which raft compares with the configuration and does nothing else with, becomes that
// of a voter. The address, which raft records as the candidate that it voted for, stays.
func (v *voteTransport) admitCandidate(command any) {
	var header *raft.RPCHeader
	switch request := command.(type) {
	case *raft.RequestPreVoteRequest:
		header = &request.RPCHeader
	case *raft.RequestVoteRequest:
		header = &request.RPCHeader
	default:
		return
	}
	voters := slices.DeleteFunc(slices.Clone(v.configuration()), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	if len(voters) > 0 && !slices.ContainsFunc(voters, func(s raft.Server) bool { return string(s.ID) == string(header.ID) }) {
		header.ID = []byte(voters[0].ID)
	}
}
