package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotBytes is the size of the log behind the last snapshot at which a
// new one is due, unless the snapshot itself is larger: then its own size is.
// So a card is never written more than twice what the commands take, and a
// start never reads more than twice the state or 8 MB.
const snapshotBytes = 8 << 20

// runSnapshots looks now and then whether one is due, until ctx ends.
func (l *Ledger) runSnapshots(ctx context.Context) {
	for {
		l.sleep(ctx, l.cfg.Timing.SnapshotCheck)
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
			l.cfg.Logger.Warn("ledger: no snapshot could be taken; the log grows until one can", "err", err)
		}
	}
}

// createSnapshot is called with compacting held.
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

// maxCompactTries is how often Compact tries to catch the log at rest.
const maxCompactTries = 20

// Compact takes a snapshot and drops all log entries on this board, so that
// what the machine has forgotten is in no file of the ledger any more (the
// flash of a card may still hold blocks that no file uses). While entries
// keep coming it tries again a bounded number of times, and then returns
// ErrBusy: try later. It concerns this board alone.
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
		select {
		case <-ctx.Done():
			return fmt.Errorf("compact: %w", ctx.Err())
		case <-time.After(l.cfg.Timing.Retry):
		}
	}
	return fmt.Errorf("compact: %w: the log is never at rest", ErrBusy)
}

func setTrailingLogs(r *raft.Raft, n uint64) error {
	c := r.ReloadableConfig()
	c.TrailingLogs = n
	return r.ReloadConfig(c)
}
