package ledger

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// A board's files, under Config.Dir:
//
//	now/state       the keep: identity, promises, term and vote, segments
//	now/log/        the log's segments
//	now/snapshots/  the newest snapshot
//	damaged-<time>/ an earlier "now" in which something was damaged

const (
	dirNow        = "now"
	fileState     = "state"
	dirLog        = "log"
	damagedPrefix = "damaged-"
	// maxDamaged is how many damaged folders are kept, the newest.
	maxDamaged = 2
)

// files are a board's open, checked files.
type files struct {
	keep     *keep
	log      *logStore
	snaps    *raft.FileSnapshotStore
	identity identity
	fresh    bool          // the folder was empty
	newest   atomic.Uint64 // index of the newest snapshot that this board took, or found at its start
}

func (f *files) close() {
	if f.log != nil {
		f.log.close()
	}
	if f.keep != nil {
		f.keep.close()
	}
}

// openFiles opens and checks everything in dir: every record, every log
// entry, the snapshot. Damage is a *damage error; anything else (no space, no
// permission) leaves the files as they are.
func openFiles(dir string, slow time.Duration, log *slog.Logger) (f *files, err error) {
	f = &files{}
	defer func() {
		if err != nil {
			f.close()
			f = nil
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return f, err
	}
	if _, err := os.Stat(filepath.Join(dir, fileState)); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, dirLog)); err == nil {
			return f, &damage{fileState, "it is missing beside a log"}
		}
		f.fresh = true
	}
	if f.keep, err = openKeep(filepath.Join(dir, fileState), slow); err != nil {
		return f, err
	}
	hlog := quietLogger{log: log}
	if f.log, err = openLog(filepath.Join(dir, dirLog), f.keep, slow, false, hlog); err != nil {
		return f, err
	}
	if f.snaps, err = raft.NewFileSnapshotStoreWithLogger(dir, 1, hlog); err != nil {
		return f, err
	}
	after, err := checkSnapshot(f.snaps, filepath.Join(dir, "snapshots"))
	if err != nil {
		return f, err
	}
	f.newest.Store(after)
	if err := f.log.check(after); err != nil {
		return f, err
	}
	f.identity, _, err = readIdentity(f.keep)
	return f, err
}

// checkSnapshot reads the newest snapshot through, which checks its CRC, and
// returns its index. Folders that a power cut left half made are removed.
func checkSnapshot(snaps *raft.FileSnapshotStore, dir string) (uint64, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	whole := 0
	for _, n := range names {
		switch {
		case strings.HasSuffix(n.Name(), ".tmp"):
			if err := os.RemoveAll(filepath.Join(dir, n.Name())); err != nil {
				return 0, err
			}
		case n.IsDir():
			whole++
		}
	}
	list, err := snaps.List()
	if err != nil {
		return 0, err
	}
	if len(list) == 0 {
		if whole > 0 {
			return 0, &damage{"snapshots", "no snapshot's description can be read"}
		}
		return 0, nil
	}
	meta, r, err := snaps.Open(list[0].ID)
	if err != nil {
		return 0, asDamage(filepath.Join("snapshots", list[0].ID), err)
	}
	defer r.Close()
	if _, err := readSnapshotHead(r); err != nil {
		return 0, asDamage(filepath.Join("snapshots", list[0].ID), err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return 0, asDamage(filepath.Join("snapshots", list[0].ID), err)
	}
	return meta.Index, nil
}

// openOrSetAside opens the board's files; if something is damaged it sets the
// folder aside and begins a new life that the other boards fill. found says
// what was damaged. A board that is alone in its rack has nobody to be filled
// from: its files stay, and the error is ErrDamaged.
func openOrSetAside(cfg *Config) (f *files, found string, err error) {
	now := filepath.Join(cfg.Dir, dirNow)
	f, err = openFiles(now, cfg.SlowSync, cfg.Logger)
	var d *damage
	if errors.As(err, &d) {
		if cfg.Boards == 1 {
			return nil, "", fmt.Errorf("%w (%s), and this rack of one board has no other copy: "+
				"take the card out and save the orders with `bramble orders export` from its folder, "+
				"then move %s away and start again", d, d.File, now)
		}
		found = d.Error()
		if err := setAside(cfg.Dir); err != nil {
			return nil, found, fmt.Errorf("%s; setting it aside: %w", found, err)
		}
		cfg.Logger.Error("ledger: damaged files set aside; this board fills itself from the others", "found", found)
		f, err = openFiles(now, cfg.SlowSync, cfg.Logger)
	}
	if err != nil {
		return nil, found, fmt.Errorf("open the ledger's folder: %w", err)
	}
	if f.identity.Server == "" {
		f.identity = identity{Server: newServer(cfg.Name), JoinOnly: found != "" || hasDamaged(cfg.Dir)}
		if err := f.identity.write(f.keep); err != nil {
			f.close()
			return nil, found, err
		}
	}
	return f, found, nil
}

func hasDamaged(dir string) bool {
	names, _ := filepath.Glob(filepath.Join(dir, damagedPrefix+"*"))
	return len(names) > 0
}

func setAside(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, damagedPrefix+"*"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	// The number keeps the order on a board whose clock is not set.
	number := 1
	if len(names) > 0 {
		fmt.Sscanf(filepath.Base(names[len(names)-1]), damagedPrefix+"%d", &number)
		number++
	}
	to := filepath.Join(dir, fmt.Sprintf("%s%04d-%s", damagedPrefix, number, time.Now().UTC().Format("20060102T150405Z")))
	if err := os.Rename(filepath.Join(dir, dirNow), to); err != nil {
		return err
	}
	for len(names) >= maxDamaged {
		if err := os.RemoveAll(names[0]); err != nil {
			return err
		}
		names = names[1:]
	}
	return syncDir(dir)
}
