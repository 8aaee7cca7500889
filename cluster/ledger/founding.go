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

// founder carries out the rules of found.go: it keeps this board's promises
// on disk and, when it is this board's turn, proposes.
//
// Its fields are guarded by Ledger.mu.
type founder struct {
	acceptor acceptor
	highest  uint64    // highest ballot number heard of
	since    time.Time // when enough boards were first there
	notUntil time.Time // after a failed proposal
	crowded  string    // why it refuses, "" if it does not
}

func readAcceptor(k *keep) (a acceptor, err error) {
	if b := k.get(keyPromise); b != nil {
		if err := json.Unmarshal(b, &a); err != nil {
			return a, fmt.Errorf("promises: %w", err)
		}
	}
	return a, nil
}

func (l *Ledger) keepAcceptor(a acceptor) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return l.files.keep.put(map[string][]byte{keyPromise: b})
}

// answerPromise and answerAccept are the acceptor's side. A board that has a
// ledger answers neither: who asks learns of the ledger by a hello.
func (l *Ledger) answerPromise(q promiseAsk) (promised, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mayFound(); err != nil {
		return promised{}, err
	}
	if q.Boards != l.cfg.Boards {
		return promised{}, fmt.Errorf("this board was told that the rack has %d boards, the asking one %d", l.cfg.Boards, q.Boards)
	}
	a := l.founder.acceptor
	ok, changed := a.promise(q.Ballot)
	if changed {
		if err := l.keepAcceptor(a); err != nil {
			return promised{}, err
		}
		l.founder.acceptor = a
	}
	l.founder.highest = max(l.founder.highest, q.Ballot.N)
	return promised{Seat: l.seatLocked(), OK: ok, Highest: a.Promised, Accepted: a.Accepted, Charter: a.Charter}, nil
}

func (l *Ledger) answerAccept(q acceptAsk) (acceptSaid, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mayFound(); err != nil {
		return acceptSaid{}, err
	}
	a := l.founder.acceptor
	ok, changed := a.accept(q.Ballot, q.Charter)
	if changed {
		if err := l.keepAcceptor(a); err != nil {
			return acceptSaid{}, err
		}
		l.founder.acceptor = a
	}
	return acceptSaid{OK: ok, Highest: a.Promised}, nil
}

// mayFound is called with mu held.
func (l *Ledger) mayFound() error {
	switch {
	case l.files.identity.Ledger != 0:
		return fmt.Errorf("this board has ledger %s", l.files.identity.Ledger)
	case l.files.identity.JoinOnly:
		return errors.New("this board's earlier promises are lost with its damaged files: it only joins")
	case l.founder.crowded != "":
		return errors.New(l.founder.crowded)
	}
	return nil
}

// foundingStep is called every Meet while this board has no ledger: live are
// the boards that answered a hello just now, this one included, and seen is
// how many are said to be there.
func (l *Ledger) foundingStep(ctx context.Context, live []seat, seen int) {
	now := time.Now()
	l.mu.Lock()
	f := &l.founder
	if f.crowded = ""; max(len(live), seen) > l.cfg.Boards {
		n := max(len(live), seen)
		f.crowded = fmt.Sprintf("%d boards are there, but the rack was planned with %d: set the planned number of boards to at least %d on all",
			n, l.cfg.Boards, n)
	}
	err := l.mayFound()
	missing := majority(l.cfg.Boards) - len(live)
	if missing > 0 || err != nil {
		f.since = time.Time{}
	} else if f.since.IsZero() {
		f.since = now
	}
	ready := err == nil && missing <= 0 && now.After(f.notUntil) &&
		(len(live) == l.cfg.Boards || now.Sub(f.since) >= l.cfg.Timing.Settle)
	// The board whose name comes first begins, so that proposals rarely meet;
	// the others take over if it does not get it done.
	slices.SortFunc(live, func(a, b seat) int { return cmp.Compare(a.Name, b.Name) })
	turn := slices.IndexFunc(live, func(s seat) bool { return s.Name == l.cfg.Name })
	if ready && turn > 0 && now.Sub(f.since) < time.Duration(turn)*l.cfg.Timing.Settle {
		ready = false
	}
	b := ballot{max(f.highest, f.acceptor.Promised.N) + 1, l.files.identity.Server}
	l.mu.Unlock()
	if !ready {
		return
	}
	c, err := l.proposeCharter(ctx, b, live)
	if err != nil {
		l.cfg.Logger.Info("ledger: founding will be tried again", "why", err)
		l.mu.Lock()
		f.notUntil = time.Now().Add(l.cfg.Timing.Meet + rand.N(2*l.cfg.Timing.Meet))
		l.mu.Unlock()
		return
	}
	l.cfg.Logger.Info("ledger: founded", "ledger", c.Ledger, "voters", seatNames(c.Voters))
	if err := l.adopt(c.Ledger, c.Voters); err != nil {
		l.cfg.Logger.Error("ledger: founded, but it cannot be written down", "err", err)
	}
}

// proposeCharter goes through both phases. Only if a majority accepted does
// it return the charter.
func (l *Ledger) proposeCharter(ctx context.Context, b ballot, live []seat) (charter, error) {
	// This board promises first: a later start can then not use b again.
	own, err := l.answerPromise(promiseAsk{b, l.cfg.Boards})
	if err != nil {
		return charter{}, err
	}
	if !own.OK {
		return charter{}, errors.New("this board promised a later proposal meanwhile")
	}
	said := askAll[promised](ctx, l, live, kindPromise, promiseAsk{b, l.cfg.Boards})
	l.mu.Lock()
	for _, p := range said {
		l.founder.highest = max(l.founder.highest, p.Highest.N)
	}
	l.mu.Unlock()
	c, ok := choose(l.cfg.Boards, append(said, own), ledgerID(random64()|1))
	if !ok {
		return charter{}, fmt.Errorf("fewer than %d of %d boards agree to a proposal", majority(l.cfg.Boards), l.cfg.Boards)
	}
	mine, err := l.answerAccept(acceptAsk{b, c})
	if err != nil {
		return charter{}, err
	}
	n := 0
	if mine.OK {
		n++
	}
	for _, a := range askAll[acceptSaid](ctx, l, live, kindAccept, acceptAsk{b, c}) {
		if a.OK {
			n++
		}
	}
	if n < majority(l.cfg.Boards) {
		return charter{}, fmt.Errorf("%d of %d boards accepted", n, l.cfg.Boards)
	}
	return c, nil
}

// askAll asks the boards at the same time and returns the answers that came,
// without this board's.
func askAll[T any](ctx context.Context, l *Ledger, boards []seat, kind string, q any) []T {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Ask)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return nil
	}
	answers := make(chan *T, len(boards))
	slots := make(chan struct{}, maxAsking)
	asked := 0
	for _, s := range boards {
		if s.Name == l.cfg.Name {
			continue
		}
		asked++
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			b, err := l.cfg.Link.Ask(ctx, s.Name, kind, body)
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

// maxAsking is how many boards are asked at the same time.
const maxAsking = 16

// adopt writes down that this board belongs to a ledger; raft starts then.
func (l *Ledger) adopt(id ledgerID, first []seat) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.files.identity.Ledger; have != 0 {
		if have != id {
			return fmt.Errorf("%w: %s and %s", ErrTwoLedgers, have, id)
		}
		return nil
	}
	changed := l.files.identity
	changed.Ledger, changed.First = id, first
	if err := changed.write(l.files.keep); err != nil {
		return err
	}
	l.files.identity = changed
	close(l.founded)
	return nil
}

func seatNames(seats []seat) []string {
	names := []string{}
	for _, s := range seats {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

func (l *Ledger) seatLocked() seat { return seat{l.files.identity.Server, l.cfg.Name} }
