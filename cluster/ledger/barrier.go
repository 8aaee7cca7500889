package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Now returns the ledger's clock, UTC, the same on every board within some tens of
// milliseconds. It goes back only if an operator sets it back. known is false until this
// board has learnt it; t is then a guess.
func (l *Ledger) Now() (t time.Time, known bool) {
	return l.clock.now()
}

// Applied returns the index of the last entry that this board has applied.
func (l *Ledger) Applied() uint64 { return l.applier.state().index }

// Changed returns a channel that is closed at the next entry that this board applies.
func (l *Ledger) Changed() <-chan struct{} { return l.applier.state().changed }

// Wait returns when this board has applied index. An error means that ctx or Run
// ended first, or is ErrHalted.
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

// Barrier returns when this board has applied everything that was acknowledged before
// the call, and knows the ledger's clock. The leader confirms its lead with a majority; nothing is written. Errors
// are those of Submit.
func (l *Ledger) Barrier(ctx context.Context) error {
	for {
		if err := l.checkAccepting(); err != nil {
			return err
		}
		sent := l.clock.monotonic()
		if response, ok := l.fetchCommitIndex(ctx); ok && response.OK {
			err := l.Wait(ctx, response.Index)
			if err == nil {
				l.learnClock(response, sent)
				l.catchUp.isDone.Store(true)
			}
			return err
		}
		sleep(ctx, l.cfg.Timing.Retry)
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
	if leader == l.cfg.Name {
		ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Call)
		defer cancel()
		response, err := l.handleCommitIndex(ctx)
		return response, err == nil
	}
	response, err := call[commitIndexResponse](ctx, l, l.cfg.Timing.Call, leader, kindCommitIndex, commitIndexRequest{l.ledger()})
	return response, err == nil
}

// handleCommitIndex returns an index that covers everything acknowledged anywhere so
// far, if this board leads: its term is open, so it knows all earlier commits, a
// majority still follows it, and it knows the ledger's clock.
func (l *Ledger) handleCommitIndex(ctx context.Context) (commitIndexResponse, error) {
	r := l.runningRaft()
	if r == nil || r.State() != raft.Leader || l.applier.state().term != r.CurrentTerm() {
		return commitIndexResponse{}, nil
	}
	index := r.CommitIndex()
	if err := awaitFuture(ctx, r.VerifyLeader()); err != nil {
		return commitIndexResponse{}, nil
	}
	st := l.applier.state()
	index = l.lastApplicable(index, st.index)
	now, known := l.clock.now()
	return commitIndexResponse{OK: known, Index: index, Clock: now.UnixNano(), ClockSetIndex: st.marks.SetIndex}, nil
}

// maxLeaderSilence is the number of surveys for which a leader may leave this board's calls
// unanswered before the board counts as unable to accept commands. Raft may still follow it, because
// raft dials servers and calls go by name.
const maxLeaderSilence = 8

// Status returns the ledger's state, as far as this board knows.
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
	if s.RulesHeldBy = slices.Clone(l.survey.rulesHeldBy); len(s.RulesHeldBy) > 0 {
		s.RulesHeldSeconds = int64(time.Since(l.survey.rulesHeldAt).Seconds())
	}
	if !s.Founded {
		if !l.files.identity.JoinOnly && l.survey.whyNotJoin == "" {
			s.MissingBoards = max(0, l.foundingQuorum()-l.survey.reachable)
		}
		s.Trouble = l.whyNotFounded()
	}
	s.NameConflicts = slices.Clone(l.survey.nameConflicts)
	s.OlderPrograms = slices.Clone(l.survey.olderPrograms)
	s.Superseded = l.superseded
	leadsApart, outlook, offer, isSurveyed := l.survey.leadsApart, l.survey.outlook, l.survey.offer, l.survey.reachable > 0
	leaderSilent := !l.survey.leaderHeard.IsZero() && time.Since(l.survey.leaderHeard) > maxLeaderSilence*l.cfg.Timing.Survey
	l.mu.Unlock()
	s.Kept = l.describeKept()
	s.Applied, s.Halted, s.HaltTransient = st.index, st.halted, st.haltTransient
	s.Clock = l.clockStatus(st)
	s.Rules, s.MaxRules = st.rules, l.applier.maxRules
	size := l.files.log.sizeSinceSnapshot()
	s.LogBytes, s.LogCommands, s.Compacted = size.bytes, size.commands, l.compacted.Load()
	s.Foreign, s.Outdated = l.otherLedgers.describe(false), l.otherLedgers.describe(true)
	s.Ahead = l.listAhead(s.Superseded)
	if t := l.files.log.trouble.Load(); t != nil {
		s.Trouble = *t
	}
	if r == nil {
		l.addLag(&s, r)
		return s
	}
	if _, leader := r.LeaderWithID(); leader != "" {
		s.Leader = l.boardName(string(leader))
	}
	s.Leading = r.State() == raft.Leader
	s.Term, s.Commit = r.CurrentTerm(), r.CommitIndex()
	s.LastEntry = r.LastIndex()
	s.Snapshot = l.files.newestSnapshot.Load()
	for _, server := range listMembers(r) {
		name := l.boardName(string(server.ID))
		if server.Suffrage == raft.Voter {
			s.Voters = append(s.Voters, name)
		} else {
			s.Nonvoters = append(s.Nonvoters, name)
		}
	}
	slices.Sort(s.Voters)
	slices.Sort(s.Nonvoters)
	switch {
	case s.Leader != "" && !s.Leading && s.Trouble == "" && leaderSilent:
		s.Trouble = fmt.Sprintf("%s, %s, does not answer this board, though it sends it entries: look for two boards with one name, or a bad cable", LeaderSilent, s.Leader)
	case s.Leader != "" || s.Trouble != "":
	case len(s.OlderPrograms) > 0:
		s.Trouble = strings.Join(s.OlderPrograms, " and ") + " run an older program, which does not speak with this one: " +
			"stop all boards, and start all with the new program; nothing is lost"
	case s.Superseded != "" || s.Foreign != "" || s.Kept != "": // each has another way out
		s.Trouble = NoLeader + " of this board's ledger"
	case leadsApart != "":
		s.Trouble = fmt.Sprintf("%s reaches this board, though %s leads the ledger: that board lets it in with a majority of the voters; "+
			"if it does not, look for two boards with one name, or a bad cable", NoLeader, leadsApart)
	case !isSurveyed:
		s.Trouble = NoLeader + ": this board asks the others"
	case outlook.fullest == "": // it joined, and nothing has arrived yet
		s.Trouble = NoLeader + ", and this board has nothing of the ledger yet: start the missing boards" + offer
	default:
		s.Fullest, s.Trouble = outlook.fullest, NoLeader+": "+outlook.describe()
	}
	l.addLag(&s, r)
	return s
}
