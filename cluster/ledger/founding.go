package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// foundingState carries out the rules of found.go: it keeps this board's promises
// on disk and, when it is this board's turn, proposes.
//
// Its fields are guarded by Ledger.mu.
type foundingState struct {
	acceptor      paxosAcceptor
	highest       uint64    // highest ballot number heard of
	majoritySince time.Time // when enough boards were first there
	retryAfter    time.Time // after a failed proposal
	tooMany       string    // why it refuses, "" if it does not
}

func readAcceptor(k *stableStore) (a paxosAcceptor, err error) {
	if b := k.get(keyAcceptor); b != nil {
		if err := json.Unmarshal(b, &a); err != nil {
			return a, fmt.Errorf("promises: %w", err)
		}
	}
	return a, nil
}

func (l *Ledger) saveAcceptor(a paxosAcceptor) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return l.files.stable.put(map[string][]byte{keyAcceptor: b})
}

// handlePrepare and answerAccept are the acceptor's side. A board that has a
// ledger answers neither: who asks learns of the ledger by a hello.
func (l *Ledger) handlePrepare(q prepareRequest) (prepareResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.checkMayFound(); err != nil {
		return prepareResponse{}, err
	}
	if q.Boards != l.cfg.Boards {
		return prepareResponse{}, fmt.Errorf("this board was told that the rack has %d boards, the asking one %d", l.cfg.Boards, q.Boards)
	}
	a := l.founding.acceptor
	ok, changed := a.handlePrepare(q.Ballot)
	if changed {
		if err := l.saveAcceptor(a); err != nil {
			return prepareResponse{}, err
		}
		l.founding.acceptor = a
	}
	l.founding.highest = max(l.founding.highest, q.Ballot.N)
	return prepareResponse{Server: l.selfLocked(), OK: ok, Highest: a.Promised, Accepted: a.Accepted, Bootstrap: a.Bootstrap}, nil
}

func (l *Ledger) handleAccept(q acceptRequest) (acceptResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.checkMayFound(); err != nil {
		return acceptResponse{}, err
	}
	a := l.founding.acceptor
	ok, changed := a.handleAccept(q.Ballot, q.Bootstrap)
	if changed {
		if err := l.saveAcceptor(a); err != nil {
			return acceptResponse{}, err
		}
		l.founding.acceptor = a
	}
	return acceptResponse{OK: ok, Highest: a.Promised}, nil
}

// checkMayFound is called with mu held.
func (l *Ledger) checkMayFound() error {
	switch {
	case l.files.identity.Ledger != 0:
		return fmt.Errorf("this board has ledger %s", l.files.identity.Ledger)
	case l.files.identity.JoinOnly:
		return errors.New("this board's earlier promises are lost with its damaged files: it only joins")
	case l.founding.tooMany != "":
		return errors.New(l.founding.tooMany)
	}
	return nil
}

// tryFounding is called every Meet while this board has no ledger: live are
// the boards that answered a hello just now, this one included, and seen is
// how many are said to be there.
func (l *Ledger) tryFounding(ctx context.Context, live []raftServer, seen int) {
	now := time.Now()
	l.mu.Lock()
	f := &l.founding
	if f.tooMany = ""; max(len(live), seen) > l.cfg.Boards {
		n := max(len(live), seen)
		f.tooMany = fmt.Sprintf("%d boards are there, but the rack was planned with %d: set the planned number of boards to at least %d on all",
			n, l.cfg.Boards, n)
	}
	err := l.checkMayFound()
	missing := majorityOf(l.cfg.Boards) - len(live)
	if missing > 0 || err != nil {
		f.majoritySince = time.Time{}
	} else if f.majoritySince.IsZero() {
		f.majoritySince = now
	}
	ready := err == nil && missing <= 0 && now.After(f.retryAfter) &&
		(len(live) == l.cfg.Boards || now.Sub(f.majoritySince) >= l.cfg.Timing.FoundingWait)
	// The board whose name comes first begins, so that proposals rarely meet;
	// the others take over if it does not get it done.
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
	c, err := l.runPaxos(ctx, b, live)
	if err != nil {
		l.cfg.Logger.Info("ledger: founding will be tried again", "why", err)
		l.mu.Lock()
		f.retryAfter = time.Now().Add(l.cfg.Timing.Survey + rand.N(2*l.cfg.Timing.Survey))
		l.mu.Unlock()
		return
	}
	l.cfg.Logger.Info("ledger: founded", "ledger", c.Ledger, "voters", serverNames(c.Voters))
	if err := l.joinLedger(c.Ledger, c.Voters); err != nil {
		l.cfg.Logger.Error("ledger: founded, but it cannot be written down", "err", err)
	}
}

// runPaxos goes through both phases. Only if a majority accepted does
// it return the charter.
func (l *Ledger) runPaxos(ctx context.Context, b ballot, live []raftServer) (bootstrapConfig, error) {
	// This board promises first: a later start can then not use b again.
	own, err := l.handlePrepare(prepareRequest{b, l.cfg.Boards})
	if err != nil {
		return bootstrapConfig{}, err
	}
	if !own.OK {
		return bootstrapConfig{}, errors.New("this board promised a later proposal meanwhile")
	}
	said := callAll[prepareResponse](ctx, l, live, kindPrepare, prepareRequest{b, l.cfg.Boards})
	l.mu.Lock()
	for _, p := range said {
		l.founding.highest = max(l.founding.highest, p.Highest.N)
	}
	l.mu.Unlock()
	c, ok := chooseBootstrap(l.cfg.Boards, append(said, own), ledgerID(randomUint64()|1))
	if !ok {
		return bootstrapConfig{}, fmt.Errorf("fewer than %d of %d boards agree to a proposal", majorityOf(l.cfg.Boards), l.cfg.Boards)
	}
	mine, err := l.handleAccept(acceptRequest{b, c})
	if err != nil {
		return bootstrapConfig{}, err
	}
	n := 0
	if mine.OK {
		n++
	}
	for _, a := range callAll[acceptResponse](ctx, l, live, kindAccept, acceptRequest{b, c}) {
		if a.OK {
			n++
		}
	}
	if n < majorityOf(l.cfg.Boards) {
		return bootstrapConfig{}, fmt.Errorf("%d of %d boards accepted", n, l.cfg.Boards)
	}
	return c, nil
}

// callAll asks the boards at the same time and returns the answers that came,
// without this board's.
func callAll[T any](ctx context.Context, l *Ledger, boards []raftServer, kind string, q any) []T {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Call)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return nil
	}
	answers := make(chan *T, len(boards))
	slots := make(chan struct{}, maxConcurrentCalls)
	asked := 0
	for _, s := range boards {
		if s.Name == l.cfg.Name {
			continue
		}
		asked++
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			b, err := l.cfg.Transport.Call(ctx, s.Name, kind, body)
			if err != nil {
				answers <- nil
				return
			}
			v, err := readJSON[T](b)
			if err != nil {
				answers <- nil
				return
			}
			answers <- &v
		}()
	}
	var got []T
	for range asked {
		select {
		case v := <-answers:
			if v != nil {
				got = append(got, *v)
			}
		case <-ctx.Done():
			return got
		}
	}
	return got
}

// maxConcurrentCalls is how many boards are asked at the same time.
const maxConcurrentCalls = 16

// joinLedger writes down that this board belongs to a ledger; raft starts then.
func (l *Ledger) joinLedger(id ledgerID, first []raftServer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.files.identity.Ledger; have != 0 {
		if have != id {
			return fmt.Errorf("%w: %s and %s", ErrTwoLedgers, have, id)
		}
		return nil
	}
	changed := l.files.identity
	changed.Ledger, changed.FirstVoters = id, first
	if err := changed.saveTo(l.files.stable); err != nil {
		return err
	}
	l.files.identity = changed
	close(l.founded)
	return nil
}

func serverNames(seats []raftServer) []string {
	names := []string{}
	for _, s := range seats {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

func (l *Ledger) selfLocked() raftServer { return raftServer{l.files.identity.Server, l.cfg.Name} }
