package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestACandidateThatIsNoVoterHereIsAdmitted: raft sees an id that its configuration has as a
// voter, and the address of the candidate itself.
func TestACandidateThatIsNoVoterHereIsAdmitted(t *testing.T) {
	a := raft.Server{ID: "a.1", Suffrage: raft.Voter}
	b := raft.Server{ID: "b.1", Suffrage: raft.Nonvoter}
	for _, c := range []struct {
		name          string
		configuration []raft.Server
		candidate, id string
	}{
		{"a voter", []raft.Server{b, a}, "a.1", "a.1"},
		{"a board without a vote", []raft.Server{b, a}, "b.1", "a.1"},
		{"an unknown board", []raft.Server{b, a}, "c.1", "a.1"},
		{"no configuration", nil, "c.1", "c.1"},
		{"no voter", []raft.Server{b}, "c.1", "c.1"},
	} {
		v := &voteTransport{configuration: func() []raft.Server { return c.configuration }}
		header := raft.RPCHeader{ID: []byte(c.candidate), Addr: []byte(c.candidate)}
		vote, preVote := &raft.RequestVoteRequest{RPCHeader: header}, &raft.RequestPreVoteRequest{RPCHeader: header}
		entries := &raft.AppendEntriesRequest{RPCHeader: header}
		for _, request := range []any{vote, preVote, entries} {
			v.admitCandidate(request)
		}
		for _, got := range []raft.RPCHeader{vote.RPCHeader, preVote.RPCHeader} {
			if string(got.ID) != c.id || string(got.Addr) != c.candidate {
				t.Errorf("%s: raft sees %s at %s, want %s at %s", c.name, got.ID, got.Addr, c.id, c.candidate)
			}
		}
		if string(entries.ID) != c.candidate {
			t.Errorf("%s: entries of %s are said to be of %s", c.name, c.candidate, entries.ID)
		}
	}
}

// TestTheBoardWithMostOfTheLedgerIsNamed: without a leader, the way out names a board that
// has something to recover.
func TestTheBoardWithMostOfTheLedgerIsNamed(t *testing.T) {
	hello := func(name string, entries, term, index uint64) helloResponse {
		h := helloResponse{Server: raftServer{Name: name, ID: name + ".1"}, Ledger: 7, LastTerm: term, Index: index}
		h.Life.Entries = entries
		return h
	}
	founded, why := chooseLedger([]helloResponse{hello("bare", 1, 0, 0), hello("old", 9, 1, 20), hello("most", 9, 2, 12), hello("less", 9, 2, 11)}, "new.1", 0)
	want := "most has the ledger, which has no leader: half of the voters or fewer can be reached. Start the missing boards. " +
		"Only if their cards are lost for good: bramble ledger recover most"
	if founded != nil || why != want {
		t.Errorf("got %v, %q\nwant %q", founded, why, want)
	}
}

// TestTheFirstElectionHasARandomTerm: a board answers the first candidate after its start with
// a newer term, unless it has heard a leader. It answers no other one.
func TestTheFirstElectionHasARandomTerm(t *testing.T) {
	preVote, vote := &raft.RequestPreVoteRequest{Term: 7}, &raft.RequestVoteRequest{Term: 7}
	for _, c := range []struct {
		name      string
		before    any // a request that came first
		hasLeader bool
		request   any
		raises    bool
	}{
		{"a pre-vote", nil, false, preVote, true},
		{"a vote", nil, false, vote, true},
		{"beside a leader", nil, true, preVote, false},
		{"after entries", &raft.AppendEntriesRequest{Term: 7}, false, preVote, false},
		{"after a snapshot", &raft.InstallSnapshotRequest{Term: 7}, false, vote, false},
		{"the second", preVote, false, preVote, false},
		{"entries", nil, false, &raft.AppendEntriesRequest{Term: 7}, false},
	} {
		v := &voteTransport{hasLeader: func() bool { return c.hasLeader }}
		answers := make(chan raft.RPCResponse, 2)
		if c.before != nil {
			v.raiseCandidate(raft.RPC{Command: c.before, RespChan: answers})
			answers = make(chan raft.RPCResponse, 1)
		}
		if raises := v.raiseCandidate(raft.RPC{Command: c.request, RespChan: answers}); raises != c.raises {
			t.Errorf("%s: raised %v, want %v", c.name, raises, c.raises)
		}
		if !c.raises {
			continue
		}
		term, granted := uint64(0), false
		switch answer := (<-answers).Response.(type) {
		case *raft.RequestPreVoteResponse:
			term, granted = answer.Term, answer.Granted
		case *raft.RequestVoteResponse:
			term, granted = answer.Term, answer.Granted
		}
		if granted || term <= 7 || term > 7+maxTermStep {
			t.Errorf("%s: granted %v with term %d", c.name, granted, term)
		}
	}
}

// Once the gate is closed, no heartbeat is being handled, and raft gets no more of them: the files may close.
func TestHeartbeatsEndBeforeTheFilesClose(t *testing.T) {
	var gate heartbeatGate
	arrived, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go gate.pass(raft.RPC{}, func(raft.RPC) { close(arrived); <-release })
	<-arrived
	go func() { gate.close(); close(closed) }()
	select {
	case <-closed:
		t.Fatal("closed while a heartbeat is handled")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	<-closed
	answers := make(chan raft.RPCResponse, 1)
	gate.pass(raft.RPC{RespChan: answers}, func(raft.RPC) { t.Error("handled after the close") })
	if got := <-answers; !errors.Is(got.Error, raft.ErrRaftShutdown) {
		t.Errorf("%v", got.Error)
	}
}
