package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Now is the ledger's clock, UTC, the same on every board within some tens of
// milliseconds. It never goes back. known is false while this board has not
// learnt it, and t is then its own clock.
func (l *Ledger) Now() (t time.Time, known bool) {
	l.clock.stampBatch(l.applier.state().at)
	return l.clock.now()
}

// Applied is the index of the last entry that this board has carried out.
func (l *Ledger) Applied() uint64 { return l.applier.state().index }

// Changed is closed at the next entry that this board carries out.
func (l *Ledger) Changed() <-chan struct{} { return l.applier.state().changed }

// Wait returns when this board has carried out index. An error says that ctx
// or Run ended first, or is ErrHalted.
func (l *Ledger) Wait(ctx context.Context, index uint64) error {
	for {
		st := l.applier.state()
		if st.halted != "" {
			return fmt.Errorf("%w: %s", ErrHalted, st.halted)
		}
		if st.index >= index {
			return nil
		}
		select {
		case <-st.changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for entry %d (this board has %d): %w", index, st.index, ctx.Err())
		case <-l.stopped:
			return ErrStopped
		}
	}
}

// Barrier returns when this board has carried out all that was acknowledged
// before it was called. It asks the leader, who asks a majority; nothing is
// written. An error is of the kinds of Submit.
func (l *Ledger) Barrier(ctx context.Context) error {
	for {
		if err := l.checkAccepting(); err != nil {
			return err
		}
		if said, ok := l.fetchCommitIndex(ctx); ok && said.OK {
			return l.Wait(ctx, said.Index)
		}
		l.sleep(ctx, l.cfg.Timing.Retry)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrNoMajority, err)
		}
	}
}

func (l *Ledger) fetchCommitIndex(ctx context.Context) (commitIndexResponse, bool) {
	leader, _, ok := l.currentLeader()
	if !ok {
		return commitIndexResponse{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Call)
	defer cancel()
	if leader == l.cfg.Name {
		said, err := l.handleCommitIndex(ctx)
		return said, err == nil
	}
	b, err := l.cfg.Transport.Call(ctx, leader, kindCommitIndex, []byte("{}"))
	if err != nil {
		return commitIndexResponse{}, false
	}
	said, err := readJSON[commitIndexResponse](b)
	return said, err == nil
}

// handleCommitIndex gives an index up to which everything that was acknowledged
// anywhere by now is, if this board leads: its term is open, so it knows all
// that was committed before, and a majority still follows it.
func (l *Ledger) handleCommitIndex(ctx context.Context) (commitIndexResponse, error) {
	r := l.runningRaft()
	if r == nil || r.State() != raft.Leader || l.applier.state().term != r.CurrentTerm() {
		return commitIndexResponse{}, nil
	}
	index := r.CommitIndex()
	if err := awaitFuture(ctx, r.VerifyLeader()); err != nil {
		return commitIndexResponse{}, nil
	}
	// Entries that raft writes for itself never reach the applier.
	for index > l.applier.state().index {
		var entry raft.Log
		if err := l.files.log.GetLog(index, &entry); err != nil {
			break
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			break
		}
		index--
	}
	return commitIndexResponse{OK: true, Index: index}, nil
}

// Status is what this board knows now.
func (l *Ledger) Status() Status {
	st := l.applier.state()
	l.mu.Lock()
	s := Status{
		Server:  l.files.identity.Server,
		Ledger:  l.files.identity.Ledger.String(),
		Founded: l.files.identity.Ledger != 0,
		Damaged: l.damagedAtStart,
	}
	r := l.raft
	if !s.Founded {
		s.MissingBoards = max(0, majorityOf(l.cfg.Boards)-l.survey.reachable)
		s.Trouble = l.whyNotFounded()
	}
	l.mu.Unlock()
	s.Applied, s.Halted, s.HaltPassing = st.index, st.halted, st.haltPassing
	s.LogBytes = l.files.log.bytes.Load()
	s.Foreign = l.foreign.joinedNames()
	if t := l.files.log.trouble.Load(); t != nil {
		s.Trouble = *t
	}
	if r == nil {
		return s
	}
	leader, _ := r.LeaderWithID()
	s.Leader, s.Leading = string(leader), r.State() == raft.Leader
	s.Term, s.Commit = r.CurrentTerm(), r.CommitIndex()
	s.Snapshot = l.files.newestSnapshot.Load()
	get := r.GetConfiguration()
	if get.Error() == nil {
		for _, m := range get.Configuration().Servers {
			if m.Suffrage == raft.Voter {
				s.Voters = append(s.Voters, string(m.Address))
			} else {
				s.Nonvoters = append(s.Nonvoters, string(m.Address))
			}
		}
		slices.Sort(s.Voters)
		slices.Sort(s.Nonvoters)
	}
	if s.Leader == "" && s.Trouble == "" {
		s.Trouble = "no leader: fewer than half of the voters can be reached"
	}
	return s
}
