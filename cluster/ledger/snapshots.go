package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// snapshotBytes is the size of the log since the last snapshot at which a new one is
// due, unless the last snapshot is larger: then that size is. So the ledger never
// writes more than twice the size of the commands to the card, and never reads more
// than twice the state, or 8 MB, when it starts.
const snapshotBytes = 8 << 20

// runSnapshots takes a snapshot whenever one is due, until ctx ends.
func (l *Ledger) runSnapshots(ctx context.Context) {
	for {
		sleep(ctx, l.cfg.Timing.SnapshotCheck)
		r := l.runningRaft()
		if ctx.Err() != nil || r == nil {
			return
		}
		var last int64
		if list, err := l.files.snapshots.List(); err == nil && len(list) > 0 {
			last = list[0].Size
		}
		if l.files.log.bytes.Load() < max(snapshotBytes, last) || l.applier.state().halted != "" {
			continue
		}
		l.snapshotting.Lock()
		err := l.createSnapshot(ctx, r)
		l.snapshotting.Unlock()
		if err != nil && ctx.Err() == nil {
			l.cfg.Logger.Warn("ledger: the snapshot failed; the log grows until one succeeds", "error", err)
		}
	}
}

// createSnapshot takes a snapshot now. snapshotting is held.
func (l *Ledger) createSnapshot(ctx context.Context, r *raft.Raft) error {
	before := l.files.log.bytes.Load()
	if err := awaitFuture(ctx, r.Snapshot()); err != nil {
		return err
	}
	l.files.log.bytes.Add(-before)
	if list, err := l.files.snapshots.List(); err == nil && len(list) > 0 {
		l.files.newestSnapshot.Store(list[0].Index)
	}
	return nil
}

// maxCompactTries limits the attempts of Compact to find the log at rest.
const maxCompactTries = 20

// Compact takes a snapshot and drops all log entries on this board, so that no file
// of the ledger still holds data that the state machine has erased. (The flash of a
// card may still hold blocks that no file uses.) While new entries arrive it retries a
// limited number of times, and then returns ErrBusy: call it later. It affects only
// this board.
func (l *Ledger) Compact(ctx context.Context) error {
	l.snapshotting.Lock()
	defer l.snapshotting.Unlock()
	r := l.runningRaft()
	if r == nil {
		return l.notFounded()
	}
	if h := l.applier.state().halted; h != "" {
		return fmt.Errorf("compact: %w: %s", ErrHalted, h)
	}
	if err := setTrailingLogs(r, 0); err != nil {
		return err
	}
	defer setTrailingLogs(r, trailingLogs)
	for range maxCompactTries {
		if err := l.createSnapshot(ctx, r); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			return fmt.Errorf("compact: %w", err)
		}
		last, err := l.files.log.LastIndex()
		if err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		if last == 0 {
			return nil
		}
		if sleep(ctx, l.cfg.Timing.Retry); ctx.Err() != nil {
			return fmt.Errorf("compact: %w", ctx.Err())
		}
	}
	return fmt.Errorf("compact: %w: the log is never at rest", ErrBusy)
}

func setTrailingLogs(r *raft.Raft, n uint64) error {
	c := r.ReloadableConfig()
	c.TrailingLogs = n
	return r.ReloadConfig(c)
}
