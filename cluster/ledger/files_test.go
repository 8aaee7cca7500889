package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"bramble/cluster/ledger"
	"bramble/cluster/ledger/ledgertest"
)

func copyDirectory(t testing.TB, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		name, _ := filepath.Rel(from, path)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// flip flips one bit in the middle of the written part of a file.
func flip(t testing.TB, path string, part float64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	b[int(float64(end-1)*part)] ^= 0x10
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func only(t testing.TB, pattern string) string {
	t.Helper()
	got, err := filepath.Glob(pattern)
	if err != nil || len(got) == 0 {
		t.Fatalf("%s: %v, %v", pattern, got, err)
	}
	return got[len(got)-1]
}

func TestDamageIsFoundSetAsideAndRepaired(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	for i := range 40 {
		r.submit(r.board("b1"), fmt.Sprintf("command %d with some text to it", i))
	}
	r.awaitSameNotes()
	files := []string{"now/log/*.wal", "now/state"}
	for i, part := range []float64{0.01, 0.3, 0.6, 0.9, 0.999} {
		for _, file := range files {
			before := r.board("b2").Status().Server
			r.kill("b2")
			flip(t, only(t, filepath.Join(r.directory("b2"), file)), part)
			r.start("b2")
			s := r.board("b2").Status()
			if s.Damaged == "" {
				t.Errorf("%s: a flipped bit at %v is not noticed", file, part)
			} else if s.Server == before {
				t.Errorf("%s: still %s", file, before)
			}
			t.Log(s.Damaged)
			if got := len(r.awaitSameNotes()); got < 40 {
				t.Errorf("%d commands", got)
			}
			r.voters(3)
			r.submit(r.board("b2"), fmt.Sprintf("again %d", i))
		}
	}
	kept, _ := filepath.Glob(filepath.Join(r.directory("b2"), "damaged-*"))
	if len(kept) != 2 {
		t.Errorf("kept %v", kept)
	}
}

func TestDamagedSnapshot(t *testing.T) {
	skipIfShort(t)
	r := newVotingRack(t, 3)
	for i := range 10 {
		r.submit(r.board("b1"), fmt.Sprint(i))
	}
	r.awaitSameNotes()
	r.compact(r.board("b3"))
	r.kill("b3")
	flip(t, only(t, filepath.Join(r.directory("b3"), "now/snapshots/*/state.bin")), 0.5)
	r.start("b3")
	if s := r.board("b3").Status(); !strings.Contains(s.Damaged, "snapshot") {
		t.Errorf("damaged: %q", s.Damaged)
	}
	r.awaitSameNotes()
}

func TestDamageOnTheOnlyBoard(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.start("b1")
	for i := range 10 {
		r.submit(r.board("b1"), fmt.Sprint(i))
	}
	r.kill("b1")
	flip(t, only(t, filepath.Join(r.directory("b1"), "now/log/*.wal")), 0.7)
	_, err := ledger.Open(r.config("b1"))
	if !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("open: %v", err)
	}
	m := &ledgertest.Diary{}
	found, err := ledger.ReadDir(r.directory("b1"), m)
	if err != nil || found.Damage == "" {
		t.Errorf("read: %+v, %v", found, err)
	}
	t.Logf("%+v: %d notes", found, len(m.Notes()))
}

func TestTornTailIsCutOff(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.start("b1")
	for i := range 9 {
		r.submit(r.board("b1"), fmt.Sprintf("%d %s", i, strings.Repeat("x", 3000)))
	}
	// After a power cut, the log's mark is older too: its last entries were never acknowledged.
	mark, err := os.ReadFile(filepath.Join(r.directory("b1"), "now/high-mark"))
	if err != nil {
		t.Fatal(err)
	}
	r.submit(r.board("b1"), strings.Repeat("x", 3000))
	r.kill("b1")
	if err := os.WriteFile(filepath.Join(r.directory("b1"), "now/high-mark"), mark, 0o644); err != nil {
		t.Fatal(err)
	}
	path := only(t, filepath.Join(r.directory("b1"), "now/log/*.wal"))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(b)
	for b[end-1] == 0 {
		end--
	}
	clear(b[(end-1500)&^511 : end])
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	r.start("b1")
	if s := r.board("b1").Status(); s.Damaged != "" {
		t.Errorf("a torn tail is taken for damage: %s", s.Damaged)
	}
	r.submit(r.board("b1"), "more")
	if got := len(r.board("b1").texts()); got != 10 {
		t.Errorf("%d commands, want 9 and the new one", got)
	}
}

func TestCompactDropsTheLog(t *testing.T) {
	skipIfShort(t)
	r := newVotingRack(t, 3)
	for i := range 10 {
		r.submit(r.board("b1"), fmt.Sprintf("secret %d", i))
	}
	r.awaitSameNotes()
	for _, b := range r.running() {
		r.compact(b)
		logs, _ := filepath.Glob(filepath.Join(r.directory(b.name), "now/log/*.wal"))
		for _, path := range logs {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "secret") {
				t.Errorf("%s still holds a command", path)
			}
		}
	}
	r.submit(r.board("b2"), "after")
	r.kill(r.names...)
	r.start(r.names...)
	r.submit(r.board("b2"), "and again")
	if got := r.awaitSameNotes(); len(got) != 12 {
		t.Errorf("%d commands", len(got))
	}
}

// After Compact the log has not even the entry of the snapshot. A leader that sends the entry after it once
// more, because an answer was lost, makes raft compare the term there: without it the board would refuse for good.
func TestALogWithoutEntriesKnowsTheSnapshotsTerm(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.start("b1")
	r.submit(r.board("b1"), "order")
	b := r.board("b1")
	r.until("its log is empty", func() bool { return b.Compact(context.Background()) == nil })
	snapshot, term := b.Status().Snapshot, b.Status().Term
	r.kill("b1")
	entry, err := ledger.EntryOnDisk(t, r.directory("b1"), snapshot)
	if err != nil || entry.Index != snapshot || entry.Term != term || len(entry.Data) != 0 {
		t.Errorf("entry %d: %+v, %v; want an empty one of term %d", snapshot, entry, err, term)
	}
	for _, index := range []uint64{0, snapshot - 1, snapshot + 1} {
		if _, err := ledger.EntryOnDisk(t, r.directory("b1"), index); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("entry %d: %v", index, err)
		}
	}
}

func TestReadDirOfADeadBoard(t *testing.T) {
	skipIfShort(t)
	r := newVotingRack(t, 3)
	for i := range 30 {
		r.submit(r.board("b1"), fmt.Sprint(i))
		if i == 15 {
			r.compact(r.board("b1"))
		}
	}
	r.awaitSameNotes()
	server := r.board("b1").Status().Server
	r.kill("b1")
	before := listing(t, r.directory("b1"))
	m := &ledgertest.Diary{}
	found, err := ledger.ReadDir(r.directory("b1"), m)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Notes()) != 30 || found.Server != server || found.Damage != "" || found.Unproven > 2 || found.Snapshot == 0 {
		t.Errorf("%+v, %d notes", found, len(m.Notes()))
	}
	if after := listing(t, r.directory("b1")); after != before {
		t.Errorf("the directory was changed:\n%s\n%s", before, after)
	}
	if _, err := ledger.ReadDir(t.TempDir(), m); err == nil {
		t.Error("an empty directory is no error")
	}
}

func listing(t testing.TB, dir string) string {
	var b strings.Builder
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && !d.IsDir() {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime())
		}
		return nil
	})
	return b.String()
}

func TestManySnapshotsAndReturnAfterThem(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	var away string
	for _, n := range r.names {
		if n != r.leader().name {
			away = n
		}
	}
	r.kill(away)
	led := r.leader()
	for i := range 160 {
		r.submit(led, fmt.Sprintf("%d %s", i, strings.Repeat("y", 60000)))
	}
	r.until("a snapshot was taken", func() bool { return led.Status().Snapshot > 0 })
	r.start(away)
	if got := len(r.awaitSameNotes()); got != 160 {
		t.Errorf("%d commands", got)
	}
	r.until("it votes again", func() bool { return len(r.leader().Status().Voters) == 3 })
}
