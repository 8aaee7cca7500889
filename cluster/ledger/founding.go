package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// foundingState is this board's part in the founding, by the rules of paxos.go: what
// it has promised, which is on disk, and when it may propose.
//
// Ledger.mu guards its fields.
type foundingState struct {
	acceptor      paxosAcceptor
	highest       uint64    // highest ballot number seen
	majoritySince time.Time // when enough boards first answered
	retryAfter    time.Time // when it may propose again after a failure
	planFault     string    // why the planned number of boards cannot be right, "" if nothing: the board then refuses to found
}

// setAcceptor puts what this board has promised on disk. mu is held.
func (l *Ledger) setAcceptor(a paxosAcceptor) error {
	if err := l.files.stable.putJSON(keyAcceptor, a); err != nil {
		return err
	}
	l.founding.acceptor = a
	return nil
}

// handlePrepare and handleAccept are the acceptor's side. A board that has a ledger
// refuses both: the proposer learns of the ledger by a hello.
func (l *Ledger) handlePrepare(request prepareRequest) (prepareResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.checkMayFound(), l.checkWord(request.ByWord)); err != nil {
		return prepareResponse{}, err
	}
	if request.Boards != l.cfg.Boards {
		return prepareResponse{}, fmt.Errorf("this board is configured for a rack of %d boards, the calling board for %d", l.cfg.Boards, request.Boards)
	}
	a := l.founding.acceptor
	ok, changed := a.handlePrepare(request.Ballot)
	if changed {
		if err := l.setAcceptor(a); err != nil {
			return prepareResponse{}, err
		}
	}
	l.founding.highest = max(l.founding.highest, request.Ballot.N)
	return prepareResponse{Server: l.selfLocked(), OK: ok, Highest: a.Promised, Accepted: a.Accepted, Bootstrap: a.Bootstrap}, nil
}

func (l *Ledger) handleAccept(request acceptRequest) (acceptResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.checkMayFound(), l.checkWord(request.ByWord)); err != nil {
		return acceptResponse{}, err
	}
	a := l.founding.acceptor
	ok, changed := a.handleAccept(request.Ballot, request.Bootstrap)
	if changed {
		if err := l.setAcceptor(a); err != nil {
			return acceptResponse{}, err
		}
	}
	return acceptResponse{OK: ok, Highest: a.Promised}, nil
}

// checkMayFound returns why this board takes no part in founding a ledger, or nil.
// mu is held.
func (l *Ledger) checkMayFound() error {
	switch {
	case l.files.identity.Ledger != 0:
		return fmt.Errorf("this board has ledger %s", l.files.identity.Ledger)
	case l.files.identity.JoinOnly:
		return errors.New("this board lost its earlier promises with its files: it only joins")
	case l.founding.planFault != "":
		return errors.New(l.founding.planFault)
	}
	return nil
}

// checkWord returns an error if the operator's word reached only one of two boards: a
// board with the word has dropped what it accepted, and needs fewer boards. mu is held.
func (l *Ledger) checkWord(byWord bool) error {
	if byWord != l.files.identity.MayFound {
		return errors.New("an operator's word to found a ledger reached only one of the two boards: repeat bramble ledger found")
	}
	return nil
}

// foundingQuorum returns the number of boards that must agree to found a ledger: all
// that are planned, because a missing one may have the rack's ledger. By an operator's
// word a majority is enough; any two majorities share a board. mu is held.
func (l *Ledger) foundingQuorum() int {
	if l.files.identity.MayFound {
		return majorityOf(l.cfg.Boards)
	}
	return l.cfg.Boards
}

// findPlanFault returns why the planned number of boards cannot be right, "" if nothing. seen is
// the number of boards that membership knows.
func findPlanFault(planned, seen int, hellos []helloResponse) string {
	if seen > planned {
		return fmt.Sprintf("the rack has %d boards, but was planned with %d: set [rack] expected_boards to at least %d on all of them", seen, planned, seen)
	}
	for _, hello := range hellos {
		if hello.Ledger == 0 && hello.Boards != 0 && hello.Boards != planned {
			return fmt.Sprintf("%s is planned for a rack of %d boards, and this board for %d: set [rack] expected_boards to one number on all of them",
				hello.Server.Name, hello.Boards, planned)
		}
	}
	return ""
}

// tryFounding proposes a bootstrap configuration if it is this board's turn. It is
// called with every survey while this board has no ledger. live are the boards that
// just answered a hello, this one included.
func (l *Ledger) tryFounding(ctx context.Context, live []raftServer) {
	now := time.Now()
	l.mu.Lock()
	f := &l.founding
	err := l.checkMayFound()
	quorum, byWord := l.foundingQuorum(), l.files.identity.MayFound
	missing := quorum - len(live)
	if missing > 0 || err != nil {
		f.majoritySince = time.Time{}
	} else if f.majoritySince.IsZero() {
		f.majoritySince = now
	}
	ready := err == nil && missing <= 0 && now.After(f.retryAfter) &&
		(len(live) == l.cfg.Boards || now.Sub(f.majoritySince) >= l.cfg.Timing.FoundingWait)
	// The board whose name comes first proposes first, so that proposals rarely
	// collide; the others take over in turn if it does not succeed.
	slices.SortFunc(live, func(a, b raftServer) int { return cmp.Compare(a.Name, b.Name) })
	turn := slices.IndexFunc(live, func(s raftServer) bool { return s.Name == l.cfg.Name })
	if ready && turn > 0 && now.Sub(f.majoritySince) < time.Duration(turn)*l.cfg.Timing.FoundingWait {
		ready = false
	}
	b := ballot{max(f.highest, f.acceptor.Promised.N) + 1, l.files.identity.Server}
	l.mu.Unlock()
	if !ready {
		return
	}
	c, err := l.runPaxos(ctx, b, live, quorum, byWord)
	if err != nil {
		l.cfg.Logger.Info("ledger: not founded; this board will try again", "error", err)
		l.mu.Lock()
		f.retryAfter = time.Now().Add(l.cfg.Timing.Survey + rand.N(2*l.cfg.Timing.Survey))
		l.mu.Unlock()
		return
	}
	l.cfg.Logger.Info("ledger: founded", "ledger", c.Ledger, "voters", serverNames(c.Voters))
	if err := l.joinLedger(helloResponse{Ledger: c.Ledger, FirstVoters: c.Voters}); err != nil {
		l.cfg.Logger.Error("ledger: founded, but this board cannot write it to disk", "error", err)
	}
}

// runPaxos runs both rounds of Paxos, prepare and accept. It returns the
// configuration only if quorum boards promised, and a majority accepted it.
func (l *Ledger) runPaxos(ctx context.Context, b ballot, live []raftServer, quorum int, byWord bool) (bootstrapConfig, error) {
	// This board promises first, so that no later start of it can use b again.
	own, err := l.handlePrepare(prepareRequest{b, l.cfg.Boards, byWord})
	if err != nil {
		return bootstrapConfig{}, err
	}
	if !own.OK {
		return bootstrapConfig{}, errors.New("this board has promised a later proposal meanwhile")
	}
	promises := callAll[prepareResponse](ctx, l, live, kindPrepare, prepareRequest{b, l.cfg.Boards, byWord})
	l.mu.Lock()
	for _, p := range promises {
		l.founding.highest = max(l.founding.highest, p.Highest.N)
	}
	l.mu.Unlock()
	promises = slices.DeleteFunc(append(promises, own), func(p prepareResponse) bool { return !p.OK })
	c, ok := chooseBootstrap(l.cfg.Boards, promises, ledgerID(randomUint64()|1))
	if !ok || len(promises) < quorum {
		return bootstrapConfig{}, fmt.Errorf("%d of %d boards agree to a proposal, fewer than %d", len(promises), l.cfg.Boards, quorum)
	}
	accepted, err := l.handleAccept(acceptRequest{b, c, byWord})
	if err != nil {
		return bootstrapConfig{}, err
	}
	n := 0
	if accepted.OK {
		n++
	}
	for _, a := range callAll[acceptResponse](ctx, l, live, kindAccept, acceptRequest{b, c, byWord}) {
		if a.OK {
			n++
		}
	}
	if n < majorityOf(l.cfg.Boards) {
		return bootstrapConfig{}, fmt.Errorf("%d of %d boards accepted", n, l.cfg.Boards)
	}
	return c, nil
}

// joinLedger writes to disk that this board belongs to the ledger of an answer, and lets raft start.
func (l *Ledger) joinLedger(founded helloResponse) error {
	id := founded.Ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.files.identity.Ledger; have != 0 {
		if have != id {
			return fmt.Errorf("%w: %s and %s", ErrTwoLedgers, have, id)
		}
		return nil
	}
	l.cfg.noteMarker(id)
	err := l.files.changeIdentity(func(identity *boardIdentity) {
		identity.Ledger, identity.FirstVoters, identity.Superseded, identity.Forks = id, founded.FirstVoters, founded.Superseded, founded.Log.Forks
		identity.MayFound, identity.JoinLedger = false, 0
	})
	if err != nil {
		return err
	}
	close(l.founded)
	return nil
}

func serverNames(servers []raftServer) []string {
	names := []string{}
	for _, s := range servers {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

// selfLocked returns this board as a raft server. mu is held.
func (l *Ledger) selfLocked() raftServer { return raftServer{l.files.identity.Server, l.cfg.Name} }
