package ledger_test

import (
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
	r := newVotingRack(t, 3)
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
	r := newVotingRack(t, 3)
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
	r := newVotingRack(t, 3)
	x := r.leader().name
	rest := r.others(x)
	y, z := rest[0], rest[1]
	r.submit(r.board(x), "order 0")
	r.awaitSameNotes()
	r.kill(y)
	image := filepath.Join(t.TempDir(), "image")
	copyDirectory(t, image, r.directory(y))
	r.start(y)
	r.until("all know of its start", func() bool {
		return r.board(x).HasSeenStart(r.board(y).Ledger) && r.board(z).HasSeenStart(r.board(y).Ledger)
	})
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
	r := newVotingRack(t, 3)
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

func TestARenamedBoardStaysAMember(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
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
	r := newVotingRack(t, 3)
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
	// Until the operator is told, the silent board keeps its place.
	r.timing.ReplaceAfter = time.Hour
	r.start(r.names...)
	r.submit(r.board("b1"), "before")
	spare, off, server := "", "", ""
	for isTold := false; !isTold; {
		r.awaitSameNotes()
		var led *board
		r.until("three voters, one follower, and a leader that has heard all", func() bool {
			led = r.leader()
			s := led.Status()
			return len(s.Voters) == 3 && len(s.Nonvoters) == 1 && led.HasHeard(4)
		})
		term := led.Status().Term
		spare = led.Status().Nonvoters[0]
		off = r.others(spare, led.name)[0]
		server = r.board(off).Status().Server
		r.kill(off, spare)
		r.rename(off, "off")
		r.rename(spare, off)
		r.start(off) // the spare board, under the name of the other
		r.until("an operator is told", func() bool {
			s := r.leader().Status()
			isTold = len(s.NameConflicts) == 1
			return isTold || s.Term != term
		})
		if !isTold { // another leader has not heard the silent board: once more, with all boards
			r.kill(off)
			r.rename(off, spare)
			r.rename("off", off)
			r.start(off, spare)
		}
	}
	t.Log(r.leader().Status().NameConflicts)
	r.submit(r.board(off), "after")
	r.timing = quick()
	r.kill(r.others(spare)...)
	r.start(r.others(spare)...)
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

// A board whose calls never reach the leader, as with two boards of one name, accepts no commands and reports why.
func TestALeaderThatDoesNotAnswer(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	r.submit(r.leader(), "order")
	r.until("no trouble", func() bool {
		return !slices.ContainsFunc(r.running(), func(b *board) bool { return b.Status().Trouble != "" })
	})
	leader, other := "", ""
	r.until("it reports the silent leader", func() bool {
		if now := r.leader().name; now != leader { // also if another board leads meanwhile
			leader, other = now, r.others(now)[0]
			r.net.Heal()
			r.net.DropCalls(other, leader, 1)
		}
		s := r.board(other).Status()
		return s.Leader == leader && strings.Contains(s.Trouble, "does not answer this board")
	})
	r.net.Heal()
	r.until("that passes", func() bool { return r.board(other).Status().Trouble == "" })
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

// rename moves a board's directory to another name.
func (r *rack) rename(from, to string) {
	r.t.Helper()
	if err := os.Rename(r.directory(from), r.directory(to)); err != nil {
		r.t.Fatal(err)
	}
}
