package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bramble/cluster/ledger"
)

// logLosses are the ways in which a board's log loses what it had, while its state stays. old is
// the board's directory as it was before.
var logLosses = []struct {
	name string
	lose func(t testing.TB, dir, old string)
}{
	{"the directory is gone", func(t testing.TB, dir, _ string) {
		must(t, os.RemoveAll(filepath.Join(dir, "now/log")))
	}},
	{"the files are empty", func(t testing.TB, dir, _ string) {
		must(t, os.Truncate(only(t, filepath.Join(dir, "now/log/*.wal")), 0))
	}},
	{"the end is zeros", func(t testing.TB, dir, _ string) {
		clearEnd(t, only(t, filepath.Join(dir, "now/log/*.wal")), 700)
	}},
	{"the files are gone", func(t testing.TB, dir, _ string) {
		must(t, os.Remove(only(t, filepath.Join(dir, "now/log/*.wal"))))
	}},
	{"it is an older copy", func(t testing.TB, dir, old string) {
		must(t, os.RemoveAll(filepath.Join(dir, "now/log")))
		copyDirectory(t, filepath.Join(dir, "now/log"), filepath.Join(old, "now/log"))
	}},
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clearEnd replaces the last used bytes of a file by zeros.
func clearEnd(t testing.TB, path string, n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	clear(b[end-n : end])
	must(t, os.WriteFile(path, b, 0o644))
}

// A has missed five orders. B's log loses them: A and B do not go on without C.
func TestABoardWhoseLogLostItsEndDoesNotVote(t *testing.T) {
	skipIfShort(t)
	for _, c := range logLosses {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, led, a, b := newRackWithOrder(t)
			want := []string{"order 0"}
			old := filepath.Join(t.TempDir(), "old")
			copyDirectory(t, old, r.directory(b))
			r.kill(a)
			for i := range 5 {
				want = append(want, fmt.Sprintf("order %d %s", i+1, strings.Repeat("x", 200)))
				r.submit(r.board(led), want[i+1])
			}
			r.until("b has them", func() bool { return len(r.board(b).texts()) == len(want) })
			r.kill(r.names...)
			c.lose(t, r.directory(b), old)
			r.start(a, b)
			if s := r.board(b).Status(); !strings.Contains(s.Damaged, "log is damaged") {
				t.Errorf("damaged: %q", s.Damaged)
			} else {
				t.Log(s.Damaged)
			}
			r.awaitElections()
			r.expectNoLeader("the board that has the orders is off")
			r.start(led)
			r.submit(r.board(a), "after")
			r.expectNotes(append(want, "after")...)
			r.voters(3)
		})
	}
}

// Two of three logs lost their ends: the third one waits for an operator.
func TestTwoBoardsWhoseLogsLostTheirEnds(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	for i := range 5 {
		r.submit(r.board("b1"), fmt.Sprintf("order %d %s", i, strings.Repeat("x", 200)))
	}
	r.awaitSameNotes()
	r.kill(r.names...)
	for _, name := range []string{"b1", "b2"} {
		clearEnd(t, only(t, filepath.Join(r.directory(name), "now/log/*.wal")), 700)
	}
	r.start(r.names...)
	r.awaitElections()
	r.expectNoLeader("one of three boards has the orders")
	r.planRecovery("b3")
}

func TestARackOfOneWhoseLogLostItsEnd(t *testing.T) {
	skipIfShort(t)
	for _, c := range logLosses {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 1)
			r.start("b1")
			r.submit(r.board("b1"), "order 0")
			old := filepath.Join(t.TempDir(), "old")
			copyDirectory(t, old, r.directory("b1"))
			for i := range 5 {
				r.submit(r.board("b1"), fmt.Sprintf("order %d %s", i+1, strings.Repeat("x", 200)))
			}
			r.kill("b1")
			c.lose(t, r.directory("b1"), old)
			for range 2 { // it stays so
				l, err := ledger.Open(r.config("b1"))
				if !errors.Is(err, ledger.ErrDamaged) {
					t.Fatalf("open: %v", err)
				}
				if l != nil {
					l.Close()
				}
			}
		})
	}
}

// Files of the program before have no mark. A log that is gone is noticed there too.
func TestAMissingLogWithoutAMark(t *testing.T) {
	skipIfShort(t)
	for _, i := range []int{0, 1, 3} {
		t.Run(logLosses[i].name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, 1)
			r.start("b1")
			r.submit(r.board("b1"), "order")
			r.kill("b1")
			must(t, os.Remove(filepath.Join(r.directory("b1"), "now/high-mark")))
			r.start("b1") // a mark is made
			r.kill("b1")
			must(t, os.Remove(filepath.Join(r.directory("b1"), "now/high-mark")))
			logLosses[i].lose(t, r.directory("b1"), "")
			for range 2 {
				if _, err := ledger.Open(r.config("b1")); !errors.Is(err, ledger.ErrDamaged) {
					t.Fatalf("open: %v", err)
				}
			}
		})
	}
}

// A and B go on without five orders, because nothing on B's card shows that they were there. C keeps
// them, the rack stops, and an operator makes C's log the rack's.
func TestCommittedEntriesAreNotCutBack(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r, c, a, b := newRackWithOrder(t)
	want := []string{"order 0"}
	r.kill(a)
	for i := range 5 {
		want = append(want, fmt.Sprintf("order %d %s", i+1, strings.Repeat("x", 200)))
		r.submit(r.board(c), want[i+1])
	}
	r.until("b has them", func() bool { return len(r.board(b).texts()) == len(want) })
	r.kill(r.names...)
	must(t, os.Remove(filepath.Join(r.directory(b), "now/high-mark")))
	clearEnd(t, only(t, filepath.Join(r.directory(b), "now/log/*.wal")), 700)
	r.start(a, b)
	r.submit(r.board(a), "without them")
	r.start(c)
	for _, name := range r.names {
		r.until(name+" knows it", func() bool { return r.board(name).Status().Kept != "" })
		if _, _, err := r.board(name).Submit(t.Context(), []byte("no")); !errors.Is(err, ledger.ErrHalted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Log(r.board(a).Status().Kept)
	p := r.recover(a, c)
	if len(p.CountedOut) != 2 {
		t.Fatalf("recover: %+v", p)
	}
	r.chooseRecovered(c, p)
	r.submit(r.board(c), "after")
	r.expectNotes(append(want, "after")...)
	r.voters(3)
}
