package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Recovery is what ReadDir read out of a folder.
type Recovery struct {
	Server   string    // the board in the life that wrote the folder
	Ledger   string    // the ledger's identity
	Snapshot uint64    // index of the snapshot that was read, 0 if none
	Index    uint64    // of the last entry that was carried out
	At       time.Time // the ledger's clock there
	Batches  int       // carried out after the snapshot
	// Unproven is how many of the commands at the end, from index Proven+1 on,
	// nothing in the folder proves to have been committed. Most often they
	// were; but the others may have gone on without them.
	Unproven int
	Proven   uint64
	// Damage says what could not be read, "" if all could. What comes before
	// is in the machine all the same.
	Damage string
}

// ReadDir reads a board's ledger without its board: the latest good snapshot
// and the log behind it are carried out by m, which must be empty. dir is what
// Config.Dir was, or one of the folders in it. Nothing in dir is changed; a
// copy is made in the system's folder for temporary files, as large as the
// log and the snapshot. The error is ErrDamaged if nothing could be read.
func ReadDir(dir string, m StateMachine) (Recovery, error) {
	var found Recovery
	if _, err := os.Stat(filepath.Join(dir, dirNow, fileState)); err == nil {
		dir = filepath.Join(dir, dirNow)
	}
	if _, err := os.Stat(filepath.Join(dir, fileState)); err != nil {
		return found, fmt.Errorf("%s holds no ledger: %w", dir, err)
	}
	tmp, err := os.MkdirTemp("", "bramble-ledger-")
	if err != nil {
		return found, err
	}
	defer os.RemoveAll(tmp)
	if err := copyDir(tmp, dir); err != nil {
		return found, fmt.Errorf("copy %s to read it: %w", dir, err)
	}
	return recoverFrom(tmp, m)
}

func recoverFrom(dir string, m StateMachine) (found Recovery, err error) {
	quiet := slog.New(slog.DiscardHandler)
	note := func(err error) {
		if found.Damage != "" {
			found.Damage += "; "
		}
		found.Damage += err.Error()
	}
	f, err := openFiles(dir, 0, quiet)
	var d *damageError
	switch {
	case errors.As(err, &d):
		note(d)
		f = openReadable(dir, quiet)
	case err != nil:
		return found, err
	}
	defer f.close()
	found.Server, found.Ledger = f.identity.Server, f.identity.Ledger.String()

	a := newApplier(&Config{StateMachine: m, Logger: quiet}, func(batchID, uint64, [][]byte) {})
	if f.snapshots != nil {
		list, err := f.snapshots.List()
		if err != nil {
			return found, err
		}
		if len(list) > 0 {
			meta, r, err := f.snapshots.Open(list[0].ID)
			if err == nil {
				err = a.Restore(r)
			}
			if err != nil {
				return found, fmt.Errorf("%w: the snapshot: %w", ErrDamaged, err)
			}
			found.Snapshot, found.Proven = meta.Index, meta.Index
		}
	}
	if f.log == nil {
		if found.Snapshot == 0 {
			return found, fmt.Errorf("%w: %s", ErrDamaged, found.Damage)
		}
	} else if err := replayLog(f.log, a, &found); err != nil {
		if !strings.Contains(found.Damage, err.Error()) {
			note(err)
		}
	}
	st := a.state()
	found.Index, found.At = st.index, st.at
	if st.halted != "" {
		note(errors.New(st.halted))
	}
	return found, nil
}

// replayLog carries out the log behind the snapshot up to the first entry that
// cannot be read.
func replayLog(log *logStore, a *applier, found *Recovery) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	if last != 0 && first > found.Snapshot+1 {
		return &damageError{dirLog, fmt.Sprintf("entries %d to %d are missing", found.Snapshot+1, first-1)}
	}
	type counted struct {
		index    uint64
		commands int
	}
	var tail []counted
	for i := max(first, found.Snapshot+1); i <= last && last != 0; i++ {
		var l raft.Log
		if err := log.GetLog(i, &l); err != nil {
			return err
		}
		if l.Type != raft.LogCommand {
			continue
		}
		e, err := decodeEntry(l.Data)
		if err != nil {
			return err
		}
		if done := a.Apply(&l).(applyResult); done.err != nil && !errors.Is(done.err, errWrongTerm) {
			return done.err
		}
		found.Batches++
		// What a leader had carried out was committed.
		found.Proven = max(found.Proven, e.Seen)
		tail = append(tail, counted{i, len(e.Commands)})
		for len(tail) > 0 && tail[0].index <= found.Proven {
			tail = tail[1:]
		}
	}
	for _, c := range tail {
		found.Unproven += c.commands
	}
	return nil
}

// openReadable opens what can be opened of a damaged folder.
func openReadable(dir string, log *slog.Logger) *boardFiles {
	f := &boardFiles{}
	var err error
	if f.stable, err = openStableStore(filepath.Join(dir, fileState), 0); err != nil {
		f.stable = nil
	} else {
		f.identity, _, _ = readIdentity(f.stable)
		if f.log, err = openLog(filepath.Join(dir, dirLog), f.stable, 0, true, hclogAdapter{log: log}); err != nil {
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
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o644)
	})
}
