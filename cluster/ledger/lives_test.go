package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
)

// wipe empties a board's directory, as a new card does.
func (r *rack) wipe(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(r.directory(name)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// others returns the rack's names without some.
func (r *rack) others(without ...string) []string {
	var names []string
	for _, n := range r.names {
		if !slices.Contains(without, n) {
			names = append(names, n)
		}
	}
	return names
}

// awaitElections gives the running boards the time of several elections.
func (r *rack) awaitElections() { time.Sleep(6 * (r.timing.Heartbeat + r.timing.Election)) }

// expectNoLeader reports a board that leads.
func (r *rack) expectNoLeader(why string) {
	r.t.Helper()
	for _, b := range r.running() {
		if s := b.Status(); s.Leading {
			r.t.Errorf("%s: %s leads, as %s, with voters %v", why, b.name, s.Server, s.Voters)
		}
	}
}

func (r *rack) expectNotes(want ...string) {
	r.t.Helper()
	texts := r.awaitSameNotes()
	for _, w := range want {
		if !slices.Contains(texts, w) {
			r.t.Errorf("%q was acknowledged and is lost; there are %q", w, texts)
		}
	}
}

// A command is on B and C. B's card is lost. A, which does not have the command, and B's
// new life are no majority.
func TestANewLifeDoesNotVoteForTheOldOne(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	r.submit(r.board("b1"), "before")
	r.awaitSameNotes()
	led := r.leader().name
	rest := r.others(led)
	a, c := rest[0], rest[1] // b is the leader: its card is lost
	r.kill(a)
	r.submit(r.board(led), "order")
	r.kill(r.names...)
	r.wipe(led)
	r.start(a, led)
	r.awaitElections()
	r.expectNoLeader("the board that has the order is off")
	r.start(c)
	r.submit(r.board(a), "after")
	r.expectNotes("before", "order", "after")
	r.voters(3)
}

// Z has one command, X and Y six. Y's card is lost: Z does not lead with Y's new life, and
// X's log is not cut back.
func TestALogIsNotCutBackAfterALostCard(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	x := r.leader().name
	rest := r.others(x)
	z, y := rest[0], rest[1]
	r.submit(r.board(x), "order 0")
	r.awaitSameNotes()
	r.kill(z)
	want := []string{"order 0"}
	for i := range 5 {
		want = append(want, fmt.Sprintf("order %d", i+1))
		r.submit(r.board(x), want[i+1])
	}
	r.kill(x, y)
	r.wipe(y)
	r.start(y, z)
	r.awaitElections()
	r.expectNoLeader("x has the orders, and is off")
	r.start(x)
	r.submit(r.board(z), "after")
	r.expectNotes(append(want, "after")...)
	r.voters(3)
}

// A card that is put back from an older copy forgot what it promised: it begins a new life.
func TestACardPutBackFromACopyBeginsANewLife(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	x := r.leader().name
	rest := r.others(x)
	y, z := rest[0], rest[1]
	r.submit(r.board(x), "order 0")
	r.awaitSameNotes()
	r.kill(y)
	image := filepath.Join(t.TempDir(), "image")
	copyDirectory(t, image, r.directory(y))
	r.start(y)
	r.awaitSameNotes()
	r.kill(z)
	r.submit(r.board(x), "order 1")
	before := r.board(y).Status().Server
	r.kill(x, y)
	r.wipe(y)
	copyDirectory(t, r.directory(y), image)
	r.start(y, z, x)
	r.until("it begins a new life", func() bool {
		s := r.board(y).Status()
		return s.Server != before && s.Damaged != ""
	})
	r.submit(r.board(z), "after")
	r.expectNotes("order 0", "order 1", "after")
	r.voters(3)
	t.Log(r.board(y).Status().Damaged)
}

// Two boards run from copies of one card: at most one of them goes on with its server id.
func TestTwoBoardsWithOneServerID(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	r.submit(r.board("b1"), "before")
	r.awaitSameNotes()
	follower := r.others(r.leader().name)[0]
	r.kill(follower)
	copyDirectory(t, r.directory("clone"), r.directory(follower))
	r.start(follower, "clone")
	r.until("one of them is another server", func() bool {
		one, other := r.board(follower).Status(), r.board("clone").Status()
		return one.Server != other.Server && one.Damaged+other.Damaged != ""
	})
	r.submit(r.board("clone"), "after")
	r.expectNotes("before", "after")
}

// A lone board whose directory is empty, but whose marker is not, founds nothing by itself.
func TestALoneBoardThatLostItsFilesWaitsForAWord(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 1)
	r.marked = true
	r.start("b1")
	r.submit(r.board("b1"), "order")
	r.kill("b1")
	r.wipe("b1")
	r.start("b1")
	r.until("it says why", func() bool { return strings.Contains(r.board("b1").Status().Trouble, "bramble ledger found") })
	r.awaitElections()
	if s := r.board("b1").Status(); s.Founded || s.Damaged != "" {
		t.Errorf("it founds: %+v", s)
	}
	if _, _, err := r.board("b1").Submit(t.Context(), []byte("x")); !errors.Is(err, ledger.ErrNotFounded) {
		t.Error(err)
	}
	r.kill("b1")
	r.start("b1") // it does not forget
	r.awaitElections()
	if s := r.board("b1").Status(); s.Founded {
		t.Errorf("it founds after another start: %+v", s)
	}
	if err := r.board("b1").Found(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.submit(r.board("b1"), "new")
}

// The file system of a card was made again: the board is told, and founds nothing.
func TestALostFileSystemFoundsNothing(t *testing.T) {
	r := newRack(t, 1)
	cfg := r.config("b1")
	cfg.LostFiles = "e2fsck gave up"
	l, err := ledger.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if s := l.Status(); !strings.Contains(s.Trouble, "e2fsck gave up") || !strings.Contains(s.Trouble, "bramble ledger found") {
		t.Errorf("trouble: %q", s.Trouble)
	}
}

// Two of three cards are lost, and start before the third: they found no second ledger.
func TestTwoLostCardsFoundNoSecondLedger(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	r.submit(r.board("b1"), "order")
	r.awaitSameNotes()
	r.kill(r.names...)
	r.wipe("b2", "b3")
	r.start("b2", "b3")
	r.awaitElections()
	for _, b := range r.running() {
		if s := b.Status(); s.Founded || s.MissingBoards != 1 || !strings.Contains(s.Trouble, "bramble ledger found") {
			t.Errorf("%s: %+v", b.name, s)
		}
	}
	r.start("b1")
	r.until("the new lives know what to do", func() bool {
		return strings.Contains(r.board("b2").Status().Trouble, "bramble ledger recover b1")
	})
	r.expectNoLeader("one voter of three is there")
	if err := r.board("b2").Found(t.Context()); !errors.Is(err, ledger.ErrRefused) {
		t.Errorf("found beside a ledger: %v", err)
	}
	p, err := r.board("b1").Recover(t.Context(), "b1")
	if err != nil || len(p.CountedOut) != 2 || p.Ledger == "" {
		t.Fatalf("recover: %+v, %v", p, err)
	}
	t.Logf("%+v", p)
	r.submitUntilOpen("b2", "after")
	r.expectNotes("order", "after")
	r.voters(3)
	if _, err := r.board("b2").PlanRecovery(t.Context(), "b1"); !errors.Is(err, ledger.ErrRefused) {
		t.Errorf("recover a healthy ledger: %v", err)
	}
}

// After a recovery the boards that were counted out come back with the old ledger: they
// are a majority of it, and accept nothing, until an operator chooses.
func TestCountedOutBoardsComeBack(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	r.submit(r.board("b1"), "order")
	r.awaitSameNotes()
	r.kill("b2", "b3")
	r.until("no leader", func() bool { return r.board("b1").Status().Leader == "" })
	if _, err := r.board("b1").Recover(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	r.submitUntilOpen("b1", "after the recovery")
	recovered := r.board("b1").Status().Ledger
	r.start("b2", "b3")
	r.until("they are told", func() bool {
		s := r.board("b2").Status()
		return s.Superseded == recovered && s.Foreign != "" && r.board("b3").Status().Superseded == recovered
	})
	r.submit(r.board("b1"), "meanwhile")
	for _, name := range []string{"b2", "b3"} {
		if _, _, err := r.board(name).Submit(t.Context(), []byte("forked")); !errors.Is(err, ledger.ErrTwoLedgers) {
			t.Errorf("%s accepts for the old ledger: %v", name, err)
		}
	}
	if s := r.board("b1").Status(); s.Outdated == "" || s.Foreign != "" {
		t.Errorf("b1: %+v", s)
	}
	if err := r.board("b2").Choose(t.Context(), "0123456789abcdef"); !errors.Is(err, ledger.ErrRefused) {
		t.Errorf("a ledger that nobody has: %v", err)
	}
	if err := r.board("b3").Choose(t.Context(), recovered); err != nil {
		t.Fatal(err)
	}
	r.voters(3)
	r.expectNotes("order", "after the recovery", "meanwhile")
	if got := r.board("b2").Status(); got.Ledger != recovered || !strings.Contains(got.Damaged, "an operator chose") {
		t.Errorf("b2: %+v", got)
	}
}

func TestChooseBetweenTwoLedgers(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 4)
	r.planned = 2 // set wrongly
	r.net.Partition(r.names[:2], r.names[2:])
	r.start(r.names...)
	r.submit(r.board("b1"), "one")
	r.submit(r.board("b3"), "other")
	r.net.Heal()
	r.until("both notice", func() bool { return r.board("b1").Status().Foreign != "" && r.board("b3").Status().Foreign != "" })
	chosen := r.board("b1").Status().Ledger
	if err := r.board("b4").Choose(t.Context(), chosen); err != nil {
		t.Fatal(err)
	}
	r.submitUntilOpen("b3", "after")
	r.expectNotes("one", "after")
	r.voters(3)
}

// In a rack of two with one lost card, the other goes on after an operator's word.
func TestRecoverARackOfTwo(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 2)
	r.start(r.names...)
	r.voters(2)
	r.submit(r.board("b1"), "order")
	if err := r.board("b1").Compact(t.Context()); err != nil { // its log is empty
		t.Fatal(err)
	}
	r.kill("b2")
	r.wipe("b2")
	r.until("no leader", func() bool { return r.board("b1").Status().Leader == "" })
	if _, err := r.board("b1").Recover(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	r.submitUntilOpen("b1", "alone")
	r.start("b2")
	r.voters(2)
	r.expectNotes("order", "alone")
	r.kill(r.names...)
	r.start(r.names...)
	r.submit(r.board("b2"), "restarted")
	r.expectNotes("order", "alone", "restarted")
}

func TestARenamedBoardStaysAMember(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	r.submit(r.board("b1"), "before")
	follower := r.others(r.leader().name)[0]
	server := r.board(follower).Status().Server
	r.kill(follower)
	r.rename(follower, "till")
	r.start("till")
	r.submit(r.board("till"), "renamed")
	r.until("the others know its name", func() bool {
		return slices.Contains(r.leader().Status().Voters, "till") && !slices.Contains(r.leader().Status().Voters, follower)
	})
	if got := r.board("till").Status().Server; got != server {
		t.Errorf("it is %s, was %s", got, server)
	}
	other := r.others(follower, r.leader().name)[0]
	r.kill(other) // the renamed board's vote is needed now
	r.submit(r.board("till"), "two of three")
	r.expectNotes("before", "renamed", "two of three")
}

// All boards get new names at once: the first two swap theirs. No leader can announce that.
func TestAllBoardsRenamedAtOnce(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	r.submit(r.board("b1"), "before")
	r.awaitSameNotes()
	r.kill(r.names...)
	r.rename("b1", "tmp")
	r.rename("b2", "b1")
	r.rename("tmp", "b2")
	r.rename("b3", "till")
	r.names = []string{"b1", "b2", "till"}
	r.start(r.names...)
	r.submit(r.board("b1"), "after")
	r.expectNotes("before", "after")
	r.until("they have their names", func() bool { return slices.Equal(r.leader().Status().Voters, r.names) })
}

// A board takes the name of one that is switched off: that one gets no vote back through
// it, and an operator is told.
func TestADuplicateNameGivesNoVote(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 4)
	r.start(r.names...)
	r.until("three voters, one follower", func() bool {
		s := r.leader().Status()
		return len(s.Voters) == 3 && len(s.Nonvoters) == 1
	})
	spare := r.leader().Status().Nonvoters[0]
	off := r.others(spare, r.leader().name)[0]
	server := r.board(off).Status().Server
	r.submit(r.leader(), "before")
	r.awaitSameNotes()
	r.kill(off, spare)
	r.rename(off, "off")
	r.rename(spare, off)
	r.start(off) // the spare board, under the name of the other
	r.until("an operator is told", func() bool { return len(r.leader().Status().NameConflicts) == 1 })
	t.Log(r.leader().Status().NameConflicts)
	r.submit(r.board(off), "after")
	r.until("the spare board replaces it", func() bool {
		for _, b := range r.leader().Boards(t.Context()) {
			if b.Server == server && b.Voter {
				return false
			}
		}
		return len(r.leader().Status().Voters) == 3
	})
	r.expectNotes("before", "after")
}

func TestOneProcessOpensADirectory(t *testing.T) {
	r := newRack(t, 1)
	l, err := ledger.Open(r.config("b1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(r.config("b1")); !errors.Is(err, ledger.ErrInUse) {
		t.Errorf("a second process: %v", err)
	} else {
		t.Log(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := ledger.Open(r.config("b1"))
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// A majority of the cards is damaged: nothing goes on by itself, each board says what to
// do, and the survivor's ledger is recovered.
func TestDamageOnAMajority(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	for i := range 20 {
		r.submit(r.board("b1"), fmt.Sprintf("order %d with some text to it", i))
	}
	r.awaitSameNotes()
	r.kill(r.names...)
	for _, name := range []string{"b1", "b2"} {
		flip(t, only(t, filepath.Join(r.directory(name), "now/log/*.wal")), 0.5)
	}
	r.start(r.names...)
	r.until("b1 knows what to do", func() bool {
		s := r.board("b1").Status()
		return s.Damaged != "" && s.MissingBoards == 0 && strings.Contains(s.Trouble, "bramble ledger recover b3")
	})
	if _, err := r.board("b1").Recover(t.Context(), "b3"); err != nil {
		t.Fatal(err)
	}
	r.submitUntilOpen("b1", "after")
	r.expectNotes("order 0 with some text to it", "order 19 with some text to it", "after")
	r.voters(3)
}

// rename moves a board's directory to another name.
func (r *rack) rename(from, to string) {
	r.t.Helper()
	if err := os.Rename(r.directory(from), r.directory(to)); err != nil {
		r.t.Fatal(err)
	}
}

// submitUntilOpen submits a command to a board that restarts meanwhile.
func (r *rack) submitUntilOpen(name, command string) {
	r.t.Helper()
	r.until("it accepts "+command, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _, err := r.board(name).Submit(ctx, []byte(command))
		return err == nil
	})
}
