package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
)

// A snapshot is due when the log since the last one has snapshotEntries entries with
// commands, snapshotCommands commands or snapshotBytes bytes, because a start applies them
// again. On an original board an entry costs 0.7 million instructions, and each order in it
// 0.28 million (BenchmarkPlaceOrder of node/orders, batches of 1 and 256).
//
// If the last snapshot is large it is due later, so that the card is not written too much:
// at most snapshotBytesPerEntry for each entry (an order on its own writes as much itself),
// snapshotBytesPerCommand for each command, and snapshotPerLog times the log.
const (
	snapshotEntries         = 4000
	snapshotCommands        = 10_000
	snapshotBytes           = 8 << 20
	snapshotBytesPerEntry   = 16 << 10
	snapshotBytesPerCommand = 4 << 10
	snapshotPerLog          = 4
)

// logSize is the size of a part of the log.
type logSize struct {
	entries  int64 // with commands
	commands int64
	bytes    int64
	newest   uint64 // index of the last entry with commands
}

func (s *logSize) addEntry(l *raft.Log) {
	if n := countCommands(l); n > 0 {
		s.entries++
		s.commands += int64(n)
		s.newest = l.Index
	}
	s.bytes += int64(len(l.Data)) + 32
}

// isSnapshotDue is the rule: last is the last snapshot's size in bytes, and since the log after it.
func isSnapshotDue(last int64, since logSize) bool {
	return since.entries >= max(snapshotEntries, last/snapshotBytesPerEntry) ||
		since.commands >= max(snapshotCommands, last/snapshotBytesPerCommand) ||
		since.bytes >= max(snapshotBytes, last/snapshotPerLog)
}

// runSnapshots takes a snapshot whenever one is due, until ctx ends.
func (l *Ledger) runSnapshots(ctx context.Context) {
	for {
		sleep(ctx, l.cfg.Timing.SnapshotCheck)
		r := l.runningRaft()
		if ctx.Err() != nil || r == nil {
			return
		}
		last, _ := newestSnapshot(l.files.snapshots) // none that can be read: size 0
		if !isSnapshotDue(last.Size, l.files.log.sizeSinceSnapshot()) || l.applier.state().halted != "" {
			continue
		}
		l.snapshotting.Lock()
		err := l.createSnapshotKeeping(ctx, r, l.files.newestSnapshot.Load())
		l.snapshotting.Unlock()
		if err != nil && ctx.Err() == nil {
			l.cfg.Logger.Warn("ledger: the snapshot failed; the log grows until one succeeds", "error", err)
		}
	}
}

// maxTrailingLogs bounds the entries that stay in the log after a snapshot.
const maxTrailingLogs = 20_000

// keepLogAfter has the next snapshot leave the entries after index in the log. With those after
// the snapshot before, a new board has until the snapshot after the next one to restore
// the one that it was sent, and then needs no second one. A quarter is added for the entries
// that arrive before the next call.
func (l *Ledger) keepLogAfter(r *raft.Raft, index uint64) error {
	last, err := l.files.log.LastIndex()
	if err != nil {
		return err
	}
	since := last - min(last, index)
	return setTrailingLogs(r, min(max(since+since/4, trailingLogs), maxTrailingLogs))
}

// createSnapshotKeeping takes a snapshot that leaves the entries after index in the log, also
// those that arrive while a slow card writes it. snapshotting is held.
func (l *Ledger) createSnapshotKeeping(ctx context.Context, r *raft.Raft, index uint64) error {
	if err := l.keepLogAfter(r, index); err != nil {
		return err
	}
	taken := make(chan error, 1)
	go func() { taken <- l.createSnapshot(ctx, r) }()
	for {
		next := time.NewTimer(l.cfg.Timing.Retry)
		select {
		case err := <-taken:
			next.Stop()
			return err
		case <-next.C:
		}
		if err := l.keepLogAfter(r, index); err != nil {
			l.cfg.Logger.Debug("ledger: the log may keep fewer entries after this snapshot", "error", err)
		}
	}
}

// createSnapshot takes a snapshot now. snapshotting is held.
func (l *Ledger) createSnapshot(ctx context.Context, r *raft.Raft) error {
	before := l.files.log.sizeSinceSnapshot()
	if err := awaitFuture(ctx, r.Snapshot()); err != nil {
		return err
	}
	if err := l.files.log.mark.sync(); err != nil {
		l.cfg.Logger.Warn("ledger: the log's mark cannot be synced", "error", err)
	}
	l.files.log.addSize(logSize{-before.entries, -before.commands, -before.bytes, 0})
	if newest, err := newestSnapshot(l.files.snapshots); err == nil {
		l.files.newestSnapshot.Store(newest.Index)
	}
	return nil
}

// newestSnapshot returns the newest snapshot; its Index is 0 if there is none.
func newestSnapshot(snapshots *raft.FileSnapshotStore) (raft.SnapshotMeta, error) {
	list, err := snapshots.List()
	if err != nil || len(list) == 0 {
		return raft.SnapshotMeta{}, err
	}
	return *list[0], nil
}

// maxCompactTries limits the attempts of Compact to find the log at rest.
const maxCompactTries = 20

// Compact takes a snapshot and drops all log entries on this board, so that no file
// of the ledger still holds data that the state machine has erased. (The flash of a
// card may still hold blocks that no file uses.) While new entries arrive it retries a
// limited number of times, and then returns ErrBusy: call it later. It affects only
// this board.
func (l *Ledger) Compact(ctx context.Context) error {
	last, err := l.files.log.LastIndex()
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return l.CompactThrough(ctx, last)
}

// CompactThrough is Compact of the entries up to an index. Then Status and the other boards have the
// index as compacted. It also removes files that were set aside more than maxSetAsideAge ago.
func (l *Ledger) CompactThrough(ctx context.Context, through uint64) error {
	l.snapshotting.Lock()
	defer l.snapshotting.Unlock()
	r := l.runningRaft()
	if r == nil {
		return l.notFounded()
	}
	if h := l.applier.state().halted; h != "" {
		return fmt.Errorf("compact: %w: %s", ErrHalted, h)
	}
	if err := errors.Join(dropOldSetAside(l.cfg.Dir, l.cfg.Clock()), setTrailingLogs(r, 0)); err != nil {
		return err
	}
	defer setTrailingLogs(r, trailingLogs)
	seen := uint64(0)
	for try := range maxCompactTries {
		last, err := l.files.log.LastIndex()
		// While entries arrive, the log is not empty after a snapshot, and it is large.
		if err == nil && l.files.log.oldestOnDisk() <= through && (try == 0 || last == seen) {
			if err = l.createSnapshot(ctx, r); errors.Is(err, raft.ErrNothingNewToSnapshot) {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		if l.files.log.oldestOnDisk() > through {
			l.compacted.Store(max(through, l.compacted.Load()))
			return nil
		}
		seen = last
		if sleep(ctx, l.cfg.Timing.Retry); ctx.Err() != nil {
			return fmt.Errorf("compact: %w", ctx.Err())
		}
	}
	return fmt.Errorf("compact: %w: the log is never at rest", ErrBusy)
}

// oldestOnDisk returns the index of the first entry that a file of the log may have, also one that is deleted;
// 0 if the files cannot be listed. Each file's name begins with its own, but the one file of an empty log can have any name.
func (s *logStore) oldestOnDisk() uint64 {
	last, unread := s.LastIndex()
	names, err := filepath.Glob(filepath.Join(s.dir, "*.wal"))
	if err != nil || len(names) == 0 {
		return 0
	}
	if unread == nil && last == 0 && len(names) == 1 { // its next entry follows the snapshot
		newest, err := s.newestSnapshot()
		if err == nil {
			return newest.Index + 1
		}
	}
	number, _, _ := strings.Cut(filepath.Base(slices.Min(names)), "-") // they have leading zeros
	first, _ := strconv.ParseUint(number, 10, 64)
	return first
}

// LogSince returns when the oldest file of the log began, by this board's clock; zero if the log has no entry.
func (l *Ledger) LogSince() (since time.Time) {
	var files types.PersistentState
	last, err := l.files.log.LastIndex()
	if err == nil {
		err = l.files.stable.getJSON(keySegments, &files)
	}
	if err != nil || last == 0 || len(files.Segments) == 0 {
		return time.Time{}
	}
	return files.Segments[0].CreateTime
}

func setTrailingLogs(r *raft.Raft, n uint64) error {
	c := r.ReloadableConfig()
	c.TrailingLogs = n
	return r.ReloadConfig(c)
}
