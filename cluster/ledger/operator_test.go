package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
)

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
	r.command("found", r.board("b1").Found)
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
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	r.until("the status names the fault and the command", func() bool {
		trouble := l.Status().Trouble
		return strings.Contains(trouble, "e2fsck gave up") && strings.Contains(trouble, "bramble ledger found")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Two of three cards are lost, and start before the third: they found no second ledger.
func TestTwoLostCardsFoundNoSecondLedger(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	r.submit(r.board("b1"), "order")
	r.awaitSameNotes()
	r.kill(r.names...)
	r.wipe("b2", "b3")
	r.start("b2", "b3")
	r.awaitElections()
	for _, b := range r.running() {
		r.until("it waits for one board, and names the command", func() bool {
			s := b.Status()
			return s.MissingBoards == 1 && strings.Contains(s.Trouble, "bramble ledger found")
		})
		if s := b.Status(); s.Founded {
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
	p := r.recover("b1", "b1")
	if len(p.CountedOut) != 2 || p.Ledger == "" {
		t.Fatalf("recover: %+v", p)
	}
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
	r := newVotingRack(t, 3)
	r.submit(r.board("b1"), "order")
	r.awaitSameNotes()
	r.recoverAlone("b1")
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
	r.until("b1 names the outdated boards", func() bool {
		s := r.board("b1").Status()
		return s.Outdated != "" && s.Foreign == ""
	})
	if err := r.board("b2").Choose(t.Context(), "0123456789abcdef"); !errors.Is(err, ledger.ErrRefused) {
		t.Errorf("a ledger that nobody has: %v", err)
	}
	r.choose("b3", recovered)
	r.voters(3)
	r.expectNotes("order", "after the recovery", "meanwhile")
	if got := r.board("b2").Status(); got.Ledger != recovered || !strings.Contains(got.Damaged, "an operator chose") {
		t.Errorf("b2: %+v", got)
	}
}

// An operator may choose the ledger that a recovery gave up, if it turns out to have more.
func TestChooseTheLedgerOfBefore(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	r.submit(r.board("b1"), "order")
	r.awaitSameNotes()
	before := r.board("b1").Status().Ledger
	r.recoverAlone("b1")
	r.submitUntilOpen("b1", "after the recovery")
	recovered := r.board("b1").Status().Ledger
	r.start("b2", "b3")
	r.until("they are told, and one of them leads", func() bool {
		b2, b3 := r.board("b2").Status(), r.board("b3").Status()
		return b2.Superseded == recovered && b3.Superseded == recovered && (b2.Leading || b3.Leading)
	})
	r.choose("b1", before)
	r.submitUntilOpen("b2", "again")
	r.submitUntilOpen("b3", "and again")
	r.voters(3)
	r.expectNotes("order", "again", "and again")
}

// The other board starts with its new card at once, before the first has noticed the loss and has no leader any
// more: it may have got a part of the old ledger. It joins what was recovered without another word.
func TestRecoverARackOfTwoWhoseNewCardIsQuick(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 2)
	r.submit(r.board("b1"), "order")
	r.kill("b2")
	r.wipe("b2")
	r.start("b2")
	r.until("no leader", func() bool { return r.board("b1").Status().Leader == "" && r.board("b2").Status().Leader == "" })
	r.recover("b1", "b1")
	r.voters(2)
	r.submitUntilOpen("b2", "with both")
	r.expectNotes("order", "with both")
}

// Boards that are planned for different numbers say so, each of them, and an operator's word changes nothing.
func TestBoardsWithDifferentPlans(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.start("b1", "b2")
	r.planned = 4
	r.start("b3")
	for _, name := range r.names {
		r.until(name+" reports the different plans", func() bool {
			return strings.Contains(r.board(name).Status().Trouble, "is planned for a rack of")
		})
	}
	if err := r.board("b1").Found(t.Context()); !errors.Is(err, ledger.ErrRefused) {
		t.Errorf("found: %v", err)
	}
}

// A ledger that cannot go on is not chosen: the boards of the other one would set theirs aside for nothing.
func TestChooseNeedsALeader(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newTwoLedgers(t)
	chosen := r.board("b1").Status().Ledger
	r.kill("b2")
	r.net.Heal()
	r.until("b1 has no leader", func() bool { return r.board("b1").Status().Leader == "" })
	err := r.board("b4").Choose(t.Context(), chosen)
	if !errors.Is(err, ledger.ErrRefused) || !strings.Contains(err.Error(), "recover b1") {
		t.Errorf("choose a ledger without a leader: %v", err)
	}
}

func TestChooseBetweenTwoLedgers(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newTwoLedgers(t)
	r.net.Heal()
	r.until("both notice", func() bool { return r.board("b1").Status().Foreign != "" && r.board("b3").Status().Foreign != "" })
	chosen := r.board("b1").Status().Ledger
	r.choose("b4", chosen)
	r.submitUntilOpen("b3", "after")
	r.expectNotes("one", "after")
	r.voters(3)
}

// In a rack of two with one lost card, the other goes on after an operator's word.
func TestRecoverARackOfTwo(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 2)
	r.submit(r.board("b1"), "order")
	r.compact(r.board("b1")) // its log is empty
	r.kill("b2")
	r.wipe("b2")
	r.until("no leader", func() bool { return r.board("b1").Status().Leader == "" })
	r.recover("b1", "b1")
	r.submitUntilOpen("b1", "alone")
	r.start("b2")
	r.voters(2)
	r.expectNotes("order", "alone")
	r.kill(r.names...)
	r.start(r.names...)
	r.submit(r.board("b2"), "restarted")
	r.expectNotes("order", "alone", "restarted")
}

// A majority of the cards is damaged: nothing goes on by itself, each board says what to
// do, and the survivor's ledger is recovered.
func TestDamageOnAMajority(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
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
	r.recover("b1", "b3")
	r.submitUntilOpen("b1", "after")
	r.expectNotes("order 0 with some text to it", "order 19 with some text to it", "after")
	r.voters(3)
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

// The operator recovers the board that is behind. A board with more comes back: all boards say how much, recover refuses
// it by name, and the given-up ledger can still be chosen though it has no leader.
func TestAReturningBoardHasMore(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	r.submit(r.board("b1"), "first")
	r.submit(r.board("b1"), "second")
	r.awaitSameNotes()
	entries := r.board("b3").Status().LastEntry
	r.kill("b3")
	r.submit(r.leader(), "acknowledged")
	r.submit(r.leader(), "acknowledged too")
	r.awaitSameNotes()
	entries = r.board("b1").Status().LastEntry - entries + 2 // 2: of a term that begins now
	r.kill("b1", "b2")
	r.wipe("b2")
	r.start("b3", "b2")
	r.until("b3 has no leader", func() bool { s := r.board("b3").Status(); return s.Founded && s.Leader == "" && s.LastEntry > 0 })
	before := r.board("b3").Status().Ledger
	plan := r.planRecovery("b3")
	if plan.ProvenAt.Year() < 2020 || plan.Holds != "a diary" || plan.Waiting == 0 {
		t.Fatalf("plan: %+v", plan)
	}
	r.recover("b3", "b3")
	r.submitUntilOpen("b2", "sold again")
	recovered := r.board("b3").Status().Ledger
	r.start("b1")
	r.until("every board says what b1 has", func() bool {
		for _, b := range r.running() {
			if a := b.Status().Ahead; len(a) != 1 || a[0].Board != "b1" || a[0].Ledger != before || a[0].Entries < 2 || a[0].Entries > entries {
				return false
			}
		}
		return r.board("b1").Status().Superseded == recovered
	})
	if s := r.board("b1").Status(); strings.Contains(s.Trouble, "recover") {
		t.Errorf("two ways out: %s", s.Trouble)
	}
	r.submit(r.board("b2"), "it goes on")
	for _, name := range []string{"b1", "b3"} {
		_, err := r.board("b2").Recover(t.Context(), name)
		if !errors.Is(err, ledger.ErrRefused) || !strings.Contains(err.Error(), "choose "+before) || !strings.Contains(err.Error(), "choose "+recovered) {
			t.Errorf("recover %s: %v", name, err)
		}
	}
	choice, err := r.board("b2").PlanChoice(t.Context(), recovered)
	if err != nil || choice.Recovers != "" || len(choice.SetAside) != 1 || choice.SetAside[0].Entries < 2 {
		t.Errorf("plan to choose the recovered one: %+v, %v", choice, err)
	}
	choice, err = r.board("b2").PlanChoice(t.Context(), before)
	if err != nil || choice.Recovers != "b1" || len(choice.SetAside) != 2 || choice.SetAside[0].Entries < 2 {
		t.Errorf("plan to choose the one of before: %+v, %v", choice, err)
	}
	r.choose("b2", before)
	third := ""
	r.until("b1 leads alone", func() bool { s := r.board("b1").Status(); third = s.Ledger; return s.Leading && third != before })
	r.until("the others are told", func() bool {
		return r.board("b2").Status().Superseded == third && r.board("b3").Status().Superseded == third
	})
	r.choose("b1", third)
	r.submitUntilOpen("b3", "after")
	r.expectNotes("first", "second", "acknowledged", "acknowledged too", "after")
}
