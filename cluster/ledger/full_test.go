package ledger

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// fullDisk is a disk that fails writes in one of three ways.
type fullDisk struct {
	*fs.FS
	half   atomic.Bool // half of each write is done
	sync   atomic.Bool // the write is done, but reported as failed
	create atomic.Bool // a new file is incomplete
}

func (d *fullDisk) Create(dir, name string, size uint64) (types.WritableFile, error) {
	if d.create.Load() {
		return nil, errors.Join(syscall.ENOSPC, os.WriteFile(filepath.Join(dir, name), make([]byte, 100), 0o600))
	}
	f, err := d.FS.Create(dir, name, size)
	return fullFile{f, d}, err
}

func (d *fullDisk) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := d.FS.OpenWriter(dir, name)
	if err != nil {
		return nil, err
	}
	return fullFile{f, d}, nil
}

type fullFile struct {
	types.WritableFile
	disk *fullDisk
}

func (f fullFile) WriteAt(p []byte, at int64) (int, error) {
	if f.disk.half.Load() {
		n, err := f.WritableFile.WriteAt(p[:len(p)/2], at)
		return n, errors.Join(syscall.ENOSPC, err)
	}
	return f.WritableFile.WriteAt(p, at)
}

func (f fullFile) Sync() error {
	if err := f.WritableFile.Sync(); err != nil || !f.disk.sync.Load() {
		return err
	}
	return syscall.ENOSPC
}

// A log that could not be written is writable again when there is room. No
// acknowledged entry is lost, and no refused one stays.
func TestTheLogRecoversWhenTheDiskHasRoom(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(*fullDisk) *atomic.Bool{
		"half a write":        func(d *fullDisk) *atomic.Bool { return &d.half },
		"a write not on disk": func(d *fullDisk) *atomic.Bool { return &d.sync },
		"no next segment":     func(d *fullDisk) *atomic.Bool { return &d.create },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			disk := &fullDisk{FS: fs.New()}
			k, err := openStableStore(filepath.Join(dir, "keep"), 0)
			if err != nil {
				t.Fatal(err)
			}
			quiet := hclogAdapter{ctx: t.Context(), log: slog.New(slog.DiscardHandler)}
			s, err := openLog(logOptions{dir: filepath.Join(dir, "log"), disk: disk, stable: k, logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			next := uint64(1)
			store := func() error {
				one := &raft.Log{Index: next, Term: 1, Type: raft.LogCommand, Data: make([]byte, 100_000)}
				two := &raft.Log{Index: next + 1, Term: 1, Type: raft.LogCommand, Data: []byte("behind it")}
				err := s.StoreLogs([]*raft.Log{one, two})
				if err == nil {
					next += 2
				}
				return err
			}
			for range 3 {
				if err := store(); err != nil {
					t.Fatal(err)
				}
			}
			full := of(disk)
			full.Store(true)
			for range 2 * segmentSize / 100_000 {
				if err = store(); err != nil {
					break
				}
			}
			if err == nil {
				t.Fatal("the full disk took two segments")
			}
			if err = store(); err == nil {
				t.Fatal("the full disk took more")
			}
			if got := s.trouble.Load(); got == nil || !strings.Contains(*got, "no space left") {
				t.Errorf("it does not say why: %v", err)
			}
			full.Store(false)
			if err = store(); err == nil {
				t.Error("it is tried again all the time")
			}
			s.reopenTried = time.Time{}
			for range 2 * segmentSize / 100_000 {
				if err := store(); err != nil {
					t.Fatalf("with room again, at entry %d: %v", next, err)
				}
			}
			if got := s.trouble.Load(); got != nil {
				t.Errorf("it still says %s", *got)
			}
			for _, when := range []string{"in use", "after a restart"} {
				last, err := s.LastIndex()
				if err = errors.Join(err, s.verifyEntries(0)); err != nil || last != next-1 {
					t.Errorf("%s: the log ends at entry %d and not %d: %v", when, last, next-1, err)
				}
				if err := s.close(); err != nil {
					t.Fatal(err)
				}
				if s, err = openLog(logOptions{dir: filepath.Join(dir, "log"), disk: disk, stable: k, logger: quiet}); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(s.close(), k.close()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
