package ledger

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// FirstLogIndex returns the index of the first entry in the log of a board that does not run.
func FirstLogIndex(t *testing.T, dir string) uint64 {
	t.Helper()
	f, err := openFiles(filepath.Join(dir, dirNow), 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	first, err := f.log.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// EntryOnDisk returns an entry as raft reads it on a board that does not run.
func EntryOnDisk(t *testing.T, dir string, index uint64) (entry raft.Log, err error) {
	t.Helper()
	f, err := openFiles(filepath.Join(dir, dirNow), 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	err = f.log.GetLog(index, &entry)
	return entry, err
}

// HasSeenStart reports whether this board knows another's present start, with its name, on disk.
func (l *Ledger) HasSeenStart(other *Ledger) bool {
	newest := other.proveLife().Starts.newest()
	newest.Name = other.cfg.Name
	l.known.mu.Lock()
	defer l.known.mu.Unlock()
	return l.known.starts[other.Status().Server] == newest
}

// HasHeard reports whether this board leads and has answers of at least a number of boards, itself included.
func (l *Ledger) HasHeard(boards int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.survey.answers)+1 >= boards
}

func TestIsSnapshotDue(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		name  string
		last  int64
		since logSize
		want  bool
	}{
		{"nothing", 0, logSize{}, false},
		{"few small commands", 0, logSize{500, snapshotCommands - 1, 2 * mb, 0}, false},
		{"many small commands", 0, logSize{500, snapshotCommands, 2 * mb, 0}, true},
		{"many entries of one", 0, logSize{snapshotEntries, snapshotEntries, mb, 0}, true},
		{"few large commands", 0, logSize{130, 130, 8 * mb, 0}, true},
		{"300,000 orders", 67 * mb, logSize{4287, 17_151, 4 * mb, 0}, false},
		{"300,000 orders, 4,288 entries later", 67 * mb, logSize{4288, 4288, mb, 0}, true},
		{"300,000 orders, 17,152 commands later", 67 * mb, logSize{100, 17_152, 4 * mb, 0}, true},
		{"300,000 orders, large commands later", 67 * mb, logSize{200, 200, 17 * mb, 0}, true},
		{"a million orders", 242 * mb, logSize{15_487, 61_951, 20 * mb, 0}, false},
		{"a million orders, 62,000 commands later", 242 * mb, logSize{500, 61_952, 20 * mb, 0}, true},
	} {
		if got := isSnapshotDue(c.last, c.since); got != c.want {
			t.Errorf("%s: due is %t, want %t", c.name, got, c.want)
		}
	}
}

// TestASnapshotIsCheckedOnceAtTheStart checks that raft gets the whole snapshot that openFiles has
// checked, and that every later reading checks it again.
func TestASnapshotIsCheckedOnceAtTheStart(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	f, err := openFiles(dir, 0, log)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := f.snapshots.Create(1, 7, 2, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := append(snapshotHeader{index: 7, term: 2, rules: firstRules}.encode(), make([]byte, 100_000)...)
	if _, err := sink.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	f.close()
	if f, err = openFiles(dir, 0, log); err != nil {
		t.Fatal(err)
	}
	defer f.close()
	snapshots := f.raftSnapshots(nil)
	path := filepath.Join(dir, "snapshots", sink.ID(), "state.bin")
	for n := range 2 {
		meta, from, err := snapshots.Open(sink.ID())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(from); err != nil || !bytes.Equal(got, want) || meta.Index != 7 {
			t.Errorf("opened %d times: %d bytes of %d, index %d, %v", n+1, len(got), len(want), meta.Index, err)
		}
		if err := from.Close(); err != nil {
			t.Error(err)
		}
	}
	want[len(want)-1]++
	if err := os.WriteFile(path, want, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := snapshots.Open(sink.ID()); err == nil {
		t.Error("a snapshot that was damaged after the start is read")
	}
	if f.checked.Load() != nil {
		t.Error("the checked snapshot is still open")
	}
}

// TestADamagedDescription: a flipped bit anywhere in the description of a snapshot, which has
// the voters, is damage. A description of before its checksum is believed.
func TestADamagedDescription(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "now"), slog.New(slog.DiscardHandler)
	f, err := openFiles(dir, 0, log)
	if err != nil {
		t.Fatal(err)
	}
	voters := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "a.1", Address: "a"}}}
	sink, err := f.raftSnapshots(nil).Create(1, 7, 2, voters, 1, &raft.NetworkTransport{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sink.Write(snapshotHeader{index: 7, term: 2, rules: firstRules}.encode())
	if err = errors.Join(err, sink.Close()); err != nil {
		t.Fatal(err)
	}
	f.close()
	reopen := func() error {
		f, err := openFiles(dir, 0, log)
		if err == nil {
			f.close()
		}
		return err
	}
	path := filepath.Join(dir, "snapshots", sink.ID(), descriptionFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		var damage *damageError
		if err := reopen(); !errors.As(err, &damage) {
			t.Errorf("byte %d of %s: %v", at, whole, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := reopen(); err != nil {
		t.Errorf("the whole description: %v", err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(path), descriptionSumFile)); err != nil {
		t.Fatal(err)
	}
	if err := reopen(); err != nil {
		t.Errorf("without a checksum: %v", err)
	}
}

// TestALogThatContradictsASnapshot: a board has entries that were never committed, and installs a
// leader's snapshot with another entry at their place. Raft must start again, and the log is
// empty then, also if the board stopped in between.
func TestALogThatContradictsASnapshot(t *testing.T) {
	for _, c := range []struct {
		last, index, term uint64 // of the log's last entry, and of the snapshot
		restarts          bool
	}{{5, 5, 3, true}, {7, 5, 3, true}, {5, 5, 2, false}, {5, 9, 3, false}} {
		dir, log := filepath.Join(t.TempDir(), "now"), slog.New(slog.DiscardHandler)
		f, err := openFiles(dir, 0, log)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.last {
			if err := f.log.StoreLogs([]*raft.Log{{Index: i + 1, Term: 2, Type: raft.LogNoop}}); err != nil {
				t.Fatal(err)
			}
		}
		restarts := 0
		sink, err := f.raftSnapshots(func() { restarts++ }).Create(1, c.index, c.term, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = sink.Write(snapshotHeader{index: c.index, term: c.term, rules: firstRules}.encode())
		if err = errors.Join(err, sink.Close()); err != nil || (restarts > 0) != c.restarts {
			t.Errorf("%+v: %d restarts, %v", c, restarts, err)
		}
		f.close()
		if f, err = openFiles(dir, 0, log); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if last, err := f.log.LastIndex(); err != nil || (last == 0) != c.restarts {
			t.Errorf("%+v: the log ends at %d, %v", c, last, err)
		}
		f.close()
	}
}
