package ledger

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// voteTransport is raft's transport with two changes.
//
// This board votes for every candidate whose log is new enough, a voter in this board's
// configuration or not.
// Raft 1.8 refuses a candidate that its latest configuration does not have as a voter. A
// board that lags has an old configuration. If the board that was promoted since then has
// the longest log, and another voter dies, the board that lags refuses the only candidate
// that can win: the ledger stands still for good, although a majority of its voters is there.
// Raft's own rule is that a server votes without regard to its configuration (Ongaro,
// "Consensus: Bridging Theory and Practice", section 4.2.2). A server that was removed
// cannot win by that: a majority has the longer log that removed it. It does not disturb a
// leader either, because it asks for the votes before it raises the term.
//
// And the first election in which a board takes part after its start has a random term. A card that
// was put back from an older copy has forgotten its votes, so two leaders could have one term, and raft
// takes two entries of one index and term for the same entry: boards with different orders went on
// side by side. With different terms raft sees the difference, and no board deletes what it
// knows to be committed.
type voteTransport struct {
	*raft.NetworkTransport
	// knowsTerm: a leader was heard since the start, or the term was raised.
	knowsTerm atomic.Bool
	seenTerm  atomic.Uint64 // the highest that another board has
	requests  chan raft.RPC
	// configuration returns the latest configuration of this board's raft, nil before raft
	// has started.
	configuration func() []raft.Server
	hasLeader     func() bool // raft knows a leader
	heartbeats    heartbeatGate
}

// Consumer implements raft.Transport.
func (v *voteTransport) Consumer() <-chan raft.RPC { return v.requests }

// relayRequests hands the requests of other boards to raft until done is closed.
func (v *voteTransport) relayRequests(done <-chan struct{}) {
	for {
		select {
		case request := <-v.NetworkTransport.Consumer():
			if v.raiseCandidate(request) {
				continue
			}
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

// maxTermStep limits the step by which a term is raised. Two histories get the same term with
// a probability of one in maxTermStep, and 2^40 starts do not exhaust the terms.
const maxTermStep = 1 << 24

func randomTermStep() uint64 { return 1 + randomUint64()%maxTermStep }

// raiseCandidate answers a candidate in raft's place, if this is the first election since the
// start: with no vote, and a newer term, by which the candidate begins again. It reports whether
// it did.
func (v *voteTransport) raiseCandidate(request raft.RPC) bool {
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}
	var response any
	switch r := request.Command.(type) {
	case *raft.RequestPreVoteRequest:
		raiseTo(&v.seenTerm, max(r.Term, 1)-1)
		response = &raft.RequestPreVoteResponse{RPCHeader: header, Term: r.Term + randomTermStep()}
	case *raft.RequestVoteRequest:
		response = &raft.RequestVoteResponse{RPCHeader: header, Term: r.Term + randomTermStep()}
	case *raft.AppendEntriesRequest, *raft.InstallSnapshotRequest:
		v.knowsTerm.Store(true)
	}
	if response == nil || v.hasLeader() || v.knowsTerm.Swap(true) {
		return false
	}
	request.Respond(response, nil)
	return true
}

// AppendEntries implements raft.Transport.
func (v *voteTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := v.NetworkTransport.AppendEntries(id, target, args, resp)
	raiseTo(&v.seenTerm, resp.Term)
	return err
}

// RequestPreVote implements raft.WithPreVote. The first vote that this board is promised after its
// start becomes a newer term, by which it begins again; so does any promise below a term that
// another board has. Raft 1.8 does not take over such a term: its leader steps down again and
// again for a board that lags, has the newer term and wins no vote.
func (v *voteTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	err := v.NetworkTransport.RequestPreVote(id, target, args, resp)
	switch {
	case err != nil:
	case resp.Term > args.Term:
		v.knowsTerm.Store(true)
	case v.seenTerm.Load() > args.Term:
		v.knowsTerm.Store(true)
		resp.Granted, resp.Term = false, v.seenTerm.Load()
	case resp.Granted && !v.knowsTerm.Swap(true):
		resp.Granted, resp.Term = false, args.Term+randomTermStep()
	}
	return err
}

// SetHeartbeatHandler implements raft.Transport.
func (v *voteTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	v.NetworkTransport.SetHeartbeatHandler(func(request raft.RPC) {
		v.knowsTerm.Store(true)
		v.heartbeats.pass(request, handle)
	})
}

// heartbeatGate lets heartbeats pass until it is closed. Raft 1.8 handles a heartbeat in a goroutine of the transport.
// Shutdown does not wait for that goroutine, and raft panics if it cannot store the heartbeat's term. So the gate must
// be closed before the files are.
type heartbeatGate struct {
	mu       sync.RWMutex
	isClosed bool
}

func (g *heartbeatGate) pass(request raft.RPC, handle func(raft.RPC)) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.isClosed {
		request.Respond(nil, raft.ErrRaftShutdown)
		return
	}
	handle(request)
}

// close waits until no heartbeat is being handled; later ones are refused.
func (g *heartbeatGate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isClosed = true
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
