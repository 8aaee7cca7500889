package ledger_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
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
