package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"bramble/cluster/durable"
)

// A board's files, under Config.Dir:
//
//	lock            locked while a process has the files open
//	now/state       the stableStore: identity, promises, term and vote, segments
//	now/log/        the log's segments
//	now/high-mark        what the log has had: see mark.go
//	now/snapshots/  the newest snapshot
//	now/diverged    why this board halted, if it differed from the majority: see divergence.go
//	damaged-<n>-<time>/ an earlier "now" in which something was damaged

const (
	dirNow        = "now"
	fileState     = "state"
	dirLog        = "log"
	fileMark      = "high-mark" // sorts before log: who copies a running board copies it first, so that it is not ahead
	damagedPrefix = "damaged-"
	// maxDamaged limits the damaged directories: the newest stay.
	maxDamaged = 2
	// maxSetAsideAge limits their age: nobody can erase a single person in them.
	maxSetAsideAge = 30 * 24 * time.Hour
	setAsideTime   = "20060102T150405Z"
)

// boardFiles are a board's open, checked files.
type boardFiles struct {
	stable         *stableStore
	log            *logStore
	snapshots      *raft.FileSnapshotStore
	lock           *durable.DirLock // nil: they are a copy
	identity       boardIdentity
	snapshotDir    string
	newestSnapshot atomic.Uint64                // index of the newest snapshot that this board took, or found at its start
	checked        atomic.Pointer[openSnapshot] // the one that was found, until raft restores it; nil: none
}

// openSnapshot is a snapshot whose checksum was checked, to be read from its beginning.
type openSnapshot struct {
	*raft.SnapshotMeta
	io.Reader
	io.Closer
}

func (b *boardFiles) close() {
	if s := b.checked.Swap(nil); s != nil {
		s.Close()
	}
	if b.log != nil {
		b.log.close()
	}
	if b.stable != nil {
		b.stable.close()
	}
	if b.lock != nil {
		b.lock.Release()
	}
}

// openFiles opens and checks everything in dir: every record, every log entry and the
// snapshot. It returns a *damageError for damage. Any other error (no space, no
// permission) leaves the files as they are.
func openFiles(dir string, slowSync time.Duration, log *slog.Logger) (f *boardFiles, err error) {
	f = &boardFiles{}
	defer func() {
		if err != nil {
			f.close()
			f = nil
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, err
	}
	if _, err := os.Stat(filepath.Join(dir, fileState)); errors.Is(err, os.ErrNotExist) {
		for _, rest := range []string{dirLog, "snapshots", fileMark} {
			if _, err := os.Stat(filepath.Join(dir, rest)); err == nil {
				return f, &damageError{fileState, "it is missing beside " + rest}
			}
		}
	}
	if err := checkDivergence(dir); err != nil {
		return f, err
	}
	if f.stable, err = openStableStore(filepath.Join(dir, fileState), slowSync); err != nil {
		return f, err
	}
	hlog := hclogAdapter{log: log}
	if f.log, err = openLog(logOptions{dir: filepath.Join(dir, dirLog), stable: f.stable, slowSync: slowSync, logger: hlog}); err != nil {
		return f, err
	}
	if f.snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, 1, hlog); err != nil {
		// Raft tried that too, and its error does not wrap the cause: a full card must be recognised.
		return f, errors.Join(err, os.WriteFile(filepath.Join(dir, "snapshots", "permTest"), nil, 0o600))
	}
	f.log.newestSnapshot = func() (raft.SnapshotMeta, error) { return newestSnapshot(f.snapshots) }
	f.snapshotDir = filepath.Join(dir, "snapshots")
	newest, err := f.checkSnapshot(f.snapshotDir)
	if err != nil {
		return f, err
	}
	after := newest.Index
	f.newestSnapshot.Store(after)
	if err := f.log.verifyEntries(after); err != nil {
		return f, err
	}
	mark, isNew, err := openMark(filepath.Join(dir, fileMark))
	if err != nil {
		return f, err
	}
	f.log.mark = mark
	if err := f.log.checkMark(after, isNew); err != nil {
		if isNew {
			err = errors.Join(err, os.Remove(filepath.Join(dir, fileMark)))
		}
		return f, err
	}
	if err := f.log.dropContradiction(newest); err != nil {
		return f, err
	}
	f.log.noteProven(max(after, mark.get().committed))
	return f, f.stable.getJSON(keyBoard, &f.identity)
}

// checkSnapshot opens the newest snapshot, which reads it and checks its CRC, and
// returns its description, zero if there is none. It removes incomplete directories that a power cut left.
func (b *boardFiles) checkSnapshot(dir string) (newest raft.SnapshotMeta, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return newest, err
	}
	complete := 0
	for _, n := range names {
		switch {
		case strings.HasSuffix(n.Name(), ".tmp"):
			if err := os.RemoveAll(filepath.Join(dir, n.Name())); err != nil {
				return newest, err
			}
		case n.IsDir():
			complete++
		}
	}
	newest, err = newestSnapshot(b.snapshots)
	switch {
	case err != nil:
		return newest, err
	case newest.Index == 0 && complete > 0:
		return newest, &damageError{"snapshots", "no snapshot's description can be read"}
	case newest.Index == 0:
		return newest, nil
	}
	if err := checkDescription(filepath.Join(dir, newest.ID)); err != nil {
		return newest, err
	}
	meta, r, err := b.snapshots.Open(newest.ID)
	if err == nil {
		var head bytes.Buffer
		_, err = readSnapshotHeader(io.TeeReader(r, &head))
		b.checked.Store(&openSnapshot{meta, io.MultiReader(&head, r), r})
	}
	if err != nil {
		return newest, classifyReadError(filepath.Join("snapshots", newest.ID), err)
	}
	return newest, nil
}

// openOrSetAside opens the board's files. If something is damaged, or the board must begin
// a new life, it sets the directory aside, and recovers everything from the other boards.
// damaged is why. A rack of one board has no other copy: its files stay if they are
// damaged, and the error is ErrDamaged.
func openOrSetAside(cfg *Config) (f *boardFiles, damaged string, err error) {
	now := filepath.Join(cfg.Dir, dirNow)
	f, err = openFiles(now, cfg.SlowSync, cfg.Logger)
	next := boardIdentity{Server: newServerID(cfg.Name)} // of a new life
	var d *damageError
	switch {
	case errors.As(err, &d) && cfg.Boards == 1:
		return nil, "", fmt.Errorf("%w (%s), and this rack of one board has no other copy: "+
			"take the card out and save the orders with `bramble orders export` from its directory, "+
			"then move %s away, start again, and restore a backup or run bramble ledger found", d, d.File, now)
	case errors.As(err, &d):
		damaged = d.Error()
	case err == nil && f.identity.NewLife != "":
		damaged, next.JoinLedger, next.MayFound = f.identity.NewLife, f.identity.JoinLedger, f.identity.MayFound
		f.close()
	}
	if damaged != "" {
		if err := setAside(cfg.Dir); err != nil {
			return nil, damaged, fmt.Errorf("%s; setting the files aside: %w", damaged, err)
		}
		cfg.Logger.Error("ledger: files set aside; this board recovers from the others", "damaged", damaged)
		f, err = openFiles(now, cfg.SlowSync, cfg.Logger)
	}
	if err != nil {
		return nil, damaged, fmt.Errorf("open the ledger's directory: %w", err)
	}
	if err := f.beginStart(cfg, next, damaged); err != nil {
		f.close()
		return nil, damaged, err
	}
	return f, damaged, nil
}

// beginStart makes the files those of a new life if they are new, recovers them if the operator
// said so, and notes the start.
func (b *boardFiles) beginStart(cfg *Config, next boardIdentity, damaged string) error {
	if b.identity.Server == "" {
		if !next.MayFound { // with an operator's word, a loss does not matter
			next.Lost = cmp.Or(damaged, findLoss(cfg))
			next.JoinOnly = next.Lost != ""
		}
		if err := b.changeIdentity(func(id *boardIdentity) { *id = next }); err != nil {
			return err
		}
	}
	if b.identity.Recover {
		if err := b.recoverAlone(cfg); err != nil {
			return fmt.Errorf("recover the ledger on this board: %w", err)
		}
	}
	cfg.noteMarker(b.identity.Ledger)
	number := uint32(randomUint64())
	if err := b.changeIdentity(func(id *boardIdentity) { id.Starts = id.Starts.addStart(number) }); err != nil {
		// A full card: this start counts as the one before it.
		cfg.Logger.Warn("ledger: this start cannot be written to disk", "error", err)
	}
	return nil
}

// findLoss returns why a board without files had some in an earlier life, "" if nothing
// shows that.
func findLoss(cfg *Config) string {
	if names := SetAside(cfg.Dir); len(names) > 0 {
		return "they were damaged, and set aside as " + filepath.Base(names[0])
	}
	if cfg.Marker != "" {
		b, err := os.ReadFile(cfg.Marker)
		if err == nil {
			return fmt.Sprintf("its directory is empty, and %s shows that it had ledger %.16s", filepath.Base(cfg.Marker), b)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err.Error()
		}
	}
	return cfg.LostFiles
}

// noteMarker notes a ledger in the marker file, if it is not there already. Without the
// file, an emptied directory looks like a new board's.
func (c *Config) noteMarker(id ledgerID) {
	if c.Marker == "" || id == 0 {
		return
	}
	want := []byte(id.String() + "\n")
	if have, err := os.ReadFile(c.Marker); err == nil && bytes.Equal(have, want) {
		return
	}
	if err := durable.WriteFile(c.Marker, want, 0o600); err != nil {
		c.Logger.Warn("ledger: this board's ledger cannot be noted outside its directory", "error", err)
	}
}

// keyCurrentTerm is raft's name for the term.
const keyCurrentTerm = "CurrentTerm"

// bootstrapLog makes the ledger's first configuration the first entry of an empty log.
// raft.BootstrapCluster does the same, but it takes a term without an entry for a log: a
// board whose power failed in between would never begin. The entry is the same on all
// first voters, so it may also come late.
func (b *boardFiles) bootstrapLog(first raft.Configuration) error {
	if last, err := b.log.LastIndex(); err != nil || last > 0 || b.newestSnapshot.Load() > 0 {
		return err
	}
	term, err := b.log.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !errors.Is(err, errNoKey) {
		return err
	}
	if term == 0 {
		if err := b.log.SetUint64([]byte(keyCurrentTerm), 1); err != nil {
			return err
		}
	}
	return b.log.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(first)})
}

// recoverAlone makes this board the only voter: it appends a configuration that names no
// other to the log, under a new term, as etcd's --force-new-cluster does. Everything in
// the log stays. The ledger gets a new identity, so that the boards that were counted
// out can never vote in it with what they have. The board begins a new life in it: others may
// have seen a later state of the old one, as after an older copy of its card, and would refuse it.
func (b *boardFiles) recoverAlone(cfg *Config) error {
	term, err := b.log.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !errors.Is(err, errNoKey) {
		return err
	}
	last, err := b.log.LastIndex()
	if err != nil {
		return err
	}
	fork := ledgerFork{Ledger: b.identity.Ledger}
	if last > 0 {
		var entry raft.Log
		if err := b.log.GetLog(last, &entry); err != nil {
			return err
		}
		fork.Term = entry.Term
	}
	newest, err := newestSnapshot(b.snapshots)
	if err != nil {
		return err
	}
	fork.Index, fork.Term, fork.Proven = max(last, newest.Index), max(fork.Term, newest.Term), max(b.log.proven.Load(), newest.Index)
	fork.Terms, _ = b.log.listTerms()
	last, term = fork.Index, max(term, fork.Term)+1
	server := newServerID(cfg.Name)
	only := bootstrapConfig{Voters: []raftServer{{server, cfg.Name}}}.raftConfiguration()
	if err := b.log.StoreLog(&raft.Log{Index: last + 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(only)}); err != nil {
		return err
	}
	if err := b.log.SetUint64([]byte(keyCurrentTerm), term); err != nil {
		return err
	}
	err = b.changeIdentity(func(id *boardIdentity) {
		id.Superseded = addLedger(id.Superseded, fork.Ledger)
		id.Forks = append(slices.Clone(id.Forks), fork)[max(0, len(id.Forks)+1-maxSuperseded):]
		id.Server, id.Starts = server, startHistory{}
		id.Ledger, id.FirstVoters, id.Recover = ledgerID(randomUint64()|1), nil, false
	})
	if err != nil {
		return err
	}
	cfg.Logger.Error("ledger: recovered on this board alone, by an operator's word", "before", fork.Ledger, "ledger", b.identity.Ledger, "entries", last)
	return nil
}

// setAside moves the files to a directory of their own, and removes the oldest such directories.
func setAside(dir string) error {
	names := SetAside(dir)
	slices.Reverse(names) // the oldest first
	// The number keeps them in order on a board whose clock is not set.
	number := 1
	if len(names) > 0 {
		fmt.Sscanf(filepath.Base(names[len(names)-1]), damagedPrefix+"%d", &number)
		number++
	}
	to := filepath.Join(dir, fmt.Sprintf("%s%04d-%s", damagedPrefix, number, time.Now().UTC().Format(setAsideTime)))
	if err := os.Rename(filepath.Join(dir, dirNow), to); err != nil {
		return err
	}
	for len(names) >= maxDamaged {
		if err := os.RemoveAll(names[0]); err != nil {
			return err
		}
		names = names[1:]
	}
	return durable.SyncDir(dir)
}

// dropOldSetAside removes the directories that were set aside more than maxSetAsideAge ago. Those from when
// the board's clock was not set stay, because nobody knows their age.
func dropOldSetAside(dir string, now time.Time) (err error) {
	for _, name := range SetAside(dir) {
		at, unreadable := time.Parse(setAsideTime, name[strings.LastIndexByte(name, '-')+1:])
		if unreadable == nil && isPlausible(at) && now.Sub(at) > maxSetAsideAge {
			err = errors.Join(err, os.RemoveAll(name))
		}
	}
	return err
}
