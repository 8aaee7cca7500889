package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Recovery is the result of ReadDir.
type Recovery struct {
	Server   string    // the raft server that wrote the directory
	Ledger   string    // the ledger's identity
	Snapshot uint64    // index of the snapshot that was read, 0 if none
	Index    uint64    // of the last entry that was applied
	At       time.Time // the ledger's clock at that entry
	Batches  int       // applied after the snapshot
	// Unproven is the number of commands at the end, from index Proven+1 on, that
	// nothing in the directory proves to be committed. Most often they are, but the
	// other boards may have gone on without them.
	Unproven int
	Proven   uint64
	// Damage describes the part that could not be read, "" if there is none. Everything before it is
	// applied.
	Damage string
}

// ReadDir reads a board's ledger without running it. It restores m, which must be
// empty, from the latest good snapshot and applies the log after that. dir is the
// Config.Dir of the board, or one of the directories in it. ReadDir changes nothing in
// dir; it makes a temporary copy as large as the log and the snapshot. The error is
// ErrDamaged if nothing could be read.
func ReadDir(dir string, m StateMachine) (Recovery, error) {
	var rec Recovery
	if _, err := os.Stat(filepath.Join(dir, dirNow, fileState)); err == nil {
		dir = filepath.Join(dir, dirNow)
	}
	if _, err := os.Stat(filepath.Join(dir, fileState)); err != nil {
		return rec, fmt.Errorf("%s has no ledger: %w", dir, err)
	}
	tmp, err := os.MkdirTemp("", "bramble-ledger-")
	if err != nil {
		return rec, err
	}
	defer os.RemoveAll(tmp)
	if err := copyDir(tmp, dir); err != nil {
		return rec, fmt.Errorf("copy %s to read it: %w", dir, err)
	}
	return recoverFrom(tmp, m)
}

// HasFiles reports whether dir itself holds a ledger's files, as a directory that was set
// aside does.
func HasFiles(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileState))
	return err == nil
}

// SetAside returns the directories in a board's Config.Dir that hold files of earlier
// lives, newest first.
func SetAside(dir string) []string {
	names, err := filepath.Glob(filepath.Join(dir, damagedPrefix+"*"))
	if err != nil {
		return nil
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names
}

func recoverFrom(dir string, m StateMachine) (rec Recovery, err error) {
	quiet := slog.New(slog.DiscardHandler)
	noteDamage := func(err error) {
		if rec.Damage != "" {
			rec.Damage += "; "
		}
		rec.Damage += err.Error()
	}
	f, err := openFiles(dir, 0, quiet)
	var d *damageError
	switch {
	case errors.As(err, &d):
		noteDamage(d)
		f = openReadable(dir, quiet)
	case err != nil:
		return rec, err
	}
	defer f.close()
	rec.Server, rec.Ledger = f.identity.Server, f.identity.Ledger.String()

	a := newApplier(&Config{StateMachine: m, Logger: quiet}, func(batchID, uint64, [][]byte) {})
	if f.snapshots != nil {
		if err := restoreNewest(f.snapshots, a, &rec); err != nil {
			return rec, fmt.Errorf("%w: the snapshot: %w", ErrDamaged, err)
		}
	}
	if f.log == nil {
		if rec.Snapshot == 0 {
			return rec, fmt.Errorf("%w: %s", ErrDamaged, rec.Damage)
		}
	} else if err := replayLog(f.log, a, &rec); err != nil {
		if !strings.Contains(rec.Damage, err.Error()) {
			noteDamage(err)
		}
	}
	st := a.state()
	rec.Index, rec.At = st.index, st.at
	if st.halted != "" {
		noteDamage(errors.New(st.halted))
	}
	return rec, nil
}

// restoreNewest restores the newest snapshot, if there is one.
func restoreNewest(snapshots *raft.FileSnapshotStore, a *applier, rec *Recovery) error {
	newest, err := newestSnapshot(snapshots)
	if err != nil || newest.Index == 0 {
		return err
	}
	_, from, err := snapshots.Open(newest.ID)
	if err == nil {
		err = a.Restore(from)
	}
	if err == nil {
		rec.Snapshot, rec.Proven = newest.Index, newest.Index
	}
	return err
}

// replayLog applies the log after the snapshot, up to the first entry that cannot be read.
func replayLog(log *logStore, a *applier, rec *Recovery) error {
	first, last, err := log.entryRange()
	if err != nil {
		return err
	}
	if last != 0 && first > rec.Snapshot+1 {
		return &damageError{dirLog, fmt.Sprintf("entries %d to %d are missing", rec.Snapshot+1, first-1)}
	}
	tail := unprovenTail{proven: rec.Proven}
	err = log.forEachBatch(rec.Snapshot+1, func(stored *raft.Log, e entry) error {
		if result := a.Apply(stored).(applyResult); result.err != nil && !errors.Is(result.err, errWrongTerm) {
			return result.err
		}
		rec.Batches++
		tail.add(stored.Index, e)
		return nil
	})
	rec.Proven = tail.proven
	if err == nil {
		rec.Unproven = tail.countCommands()
	}
	return err
}

// unprovenTail holds the end of a log that nothing read so far proves to be committed.
type unprovenTail struct {
	proven uint64    // index of the last entry that is proven
	at     time.Time // its stamp, or that of an entry before it
	after  []batchSize
}

type batchSize struct {
	index    uint64
	commands int
	stamp    time.Time
}

// add adds the next entry. One that its leader had applied was committed.
func (u *unprovenTail) add(index uint64, e entry) {
	u.proven = max(u.proven, e.Seen)
	u.after = append(u.after, batchSize{index, len(e.Commands), e.Stamp})
	for len(u.after) > 0 && u.after[0].index <= u.proven {
		u.at = u.after[0].stamp
		u.after = u.after[1:]
	}
}

func (u *unprovenTail) countCommands() (n int) {
	for _, b := range u.after {
		n += b.commands
	}
	return n
}

// openReadable opens the readable files of a damaged directory.
func openReadable(dir string, log *slog.Logger) *boardFiles {
	f := &boardFiles{}
	var err error
	if f.stable, err = openStableStore(filepath.Join(dir, fileState), 0); err != nil {
		f.stable = nil
	} else {
		_ = f.stable.getJSON(keyBoard, &f.identity)
		if f.log, err = openLog(logOptions{dir: filepath.Join(dir, dirLog), stable: f.stable, lenient: true, logger: hclogAdapter{log: log}}); err != nil {
			f.log = nil
		}
	}
	if f.snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, 1, hclogAdapter{log: log}); err != nil {
		f.snapshots = nil
	}
	return f
}

func copyDir(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
}
