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
	l.clock.stamp(l.applier.state().at)
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
		if err := l.takes(); err != nil {
			return err
		}
		if said, ok := l.askCommit(ctx); ok && said.OK {
			return l.Wait(ctx, said.Index)
		}
		l.pause(ctx, l.cfg.Timing.Resend)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrNoMajority, err)
		}
	}
}

func (l *Ledger) askCommit(ctx context.Context) (commitSaid, bool) {
	leader, _, ok := l.leader()
	if !ok {
		return commitSaid{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Ask)
	defer cancel()
	if leader == l.cfg.Name {
		said, err := l.answerCommit(ctx)
		return said, err == nil
	}
	b, err := l.cfg.Link.Ask(ctx, leader, kindCommit, []byte("{}"))
	if err != nil {
		return commitSaid{}, false
	}
	said, err := readJSON[commitSaid](b)
	return said, err == nil
}

// answerCommit gives an index up to which everything that was acknowledged
// anywhere by now is, if this board leads: its term is open, so it knows all
// that was committed before, and a majority still follows it.
func (l *Ledger) answerCommit(ctx context.Context) (commitSaid, error) {
	r := l.live()
	if r == nil || r.State() != raft.Leader || l.applier.state().term != r.CurrentTerm() {
		return commitSaid{}, nil
	}
	index := r.CommitIndex()
	if err := await(ctx, r.VerifyLeader()); err != nil {
		return commitSaid{}, nil
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
	return commitSaid{OK: true, Index: index}, nil
}

// Status is what this board knows now.
func (l *Ledger) Status() Status {
	st := l.applier.state()
	l.mu.Lock()
	s := Status{
		Server:  l.files.identity.Server,
		Ledger:  l.files.identity.Ledger.String(),
		Founded: l.files.identity.Ledger != 0,
		Damaged: l.found,
	}
	r := l.raft
	if !s.Founded {
		s.Waiting = max(0, majority(l.cfg.Boards)-l.meeting.there)
		s.Trouble = l.whyNotFounded()
	}
	l.mu.Unlock()
	s.Applied, s.Halted, s.Passing = st.index, st.halted, st.passing
	s.LogBytes = l.files.log.bytes.Load()
	s.Foreign = l.foreign.text()
	if t := l.files.log.trouble.Load(); t != nil {
		s.Trouble = *t
	}
	if r == nil {
		return s
	}
	leader, _ := r.LeaderWithID()
	s.Leader, s.Leading = string(leader), r.State() == raft.Leader
	s.Term, s.Commit = r.CurrentTerm(), r.CommitIndex()
	s.Snapshot = l.files.newest.Load()
	get := r.GetConfiguration()
	if get.Error() == nil {
		for _, m := range get.Configuration().Servers {
			if m.Suffrage == raft.Voter {
				s.Voters = append(s.Voters, string(m.Address))
			} else {
				s.Others = append(s.Others, string(m.Address))
			}
		}
		slices.Sort(s.Voters)
		slices.Sort(s.Others)
	}
	if s.Leader == "" && s.Trouble == "" {
		s.Trouble = "no leader: fewer than half of the voters can be reached"
	}
	return s
}
