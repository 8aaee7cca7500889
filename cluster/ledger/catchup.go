package ledger

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// maxReadyLag is the number of entries by which a board that has caught up may lag behind
// the leader and still counts as caught up: about a second of entries at the highest rate
// that a rack was seen at, so that a full card's slow second changes nothing.
const maxReadyLag = 1000

// catchUpState is what this board knows of its distance to the ledger's end.
type catchUpState struct {
	// isDone: a barrier has passed since the start, so this board has applied everything
	// that was acknowledged before.
	isDone atomic.Bool
	// leaderIndex is the last entry that the leader had applied at this board's last survey.
	leaderIndex atomic.Uint64
}

// runCatchUp waits until this board has applied everything that was acknowledged when it
// started, or until ctx ends.
func (l *Ledger) runCatchUp(ctx context.Context) {
	began := time.Now()
	for l.Barrier(ctx) != nil {
		if sleep(ctx, l.cfg.Timing.Retry); ctx.Err() != nil {
			return
		}
	}
	l.cfg.Logger.Info("ledger: this board has caught up", "entry", l.Applied(), "after", time.Since(began).Round(time.Millisecond))
}

// addLag fills in Status.Lag and Status.CatchingUp; everything else is filled in. r is nil
// while raft does not run.
func (l *Ledger) addLag(s *Status, r *raft.Raft) {
	if !s.Founded || s.Foreign != "" {
		return
	}
	isDone := l.catchUp.isDone.Load()
	if r == nil {
		s.CatchingUp = !isDone && s.Halted == "" // it reads its snapshot
		return
	}
	target := l.lastApplicable(s.Commit, s.Applied)
	if !s.Leading {
		target = max(target, l.catchUp.leaderIndex.Load())
	}
	if !isDone { // the commit index is not known yet
		if last, err := l.files.log.LastIndex(); err == nil {
			target = max(target, l.lastApplicable(last, s.Applied))
		}
	}
	s.Lag = target - min(s.Applied, target)
	switch {
	case s.Halted != "": // it applies nothing
	case isDone:
		s.CatchingUp = s.Leader != "" && s.Lag > maxReadyLag
	case s.Leader != "":
		s.CatchingUp = true
	default: // a new board, which waits until the leader adds it
		s.CatchingUp = len(s.Voters) == 0
	}
}

// findReplayEnd returns the index of the last entry in the log that reaches the applier, and the term of the last
// entry, 0 if there is none. Entries of a later term are not from this log.
func (l *Ledger) findReplayEnd() (index, term uint64, err error) {
	last, err := l.files.log.LastIndex()
	if err != nil || last == 0 {
		return 0, 0, err
	}
	var entry raft.Log
	if err := l.files.log.GetLog(last, &entry); err != nil {
		return 0, 0, err
	}
	return l.lastApplicable(last, 0), entry.Term, nil
}

// lastApplicable returns the index of the last entry up to index that reaches the applier,
// if it is after applied: raft writes others for its own use.
func (l *Ledger) lastApplicable(index, applied uint64) uint64 {
	for index > applied {
		var entry raft.Log
		if err := l.files.log.GetLog(index, &entry); err != nil {
			break
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			break
		}
		index--
	}
	return index
}
