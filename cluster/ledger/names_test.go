package ledger_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// exchange kills some boards, exchanges the directories of two of them, and starts them again.
func (r *rack) exchange(one, other string, killed ...string) {
	r.t.Helper()
	r.kill(killed...)
	r.rename(one, "tmp")
	r.rename(other, one)
	r.rename("tmp", other)
	r.start(killed...)
}

// awaitStarts waits until each running board has noted the present start of each other, with its name.
func (r *rack) awaitStarts() {
	r.t.Helper()
	r.until("each board knows the others' names", func() bool {
		for _, b := range r.running() {
			for _, other := range r.running() {
				if b != other && !b.HasSeenStart(other.Ledger) {
					return false
				}
			}
		}
		return true
	})
}

// describeConflicts returns the conflicts of names that the running boards report, "" if there are none.
func (r *rack) describeConflicts() string {
	var all []string
	for _, b := range r.running() {
		for _, conflict := range b.Status().NameConflicts {
			all = append(all, b.name+": "+conflict)
		}
	}
	return strings.Join(all, "; ")
}

// Two boards exchange their cards, then one gets a new card: the rack has three voters again. If the boards
// had heard of the exchange, nobody is told to rename a board.
func TestANewCardAfterAnExchange(t *testing.T) {
	skipIfShort(t)
	all, two, one := []string{"b1", "b2", "b3"}, []string{"b2", "b3"}, []string{"b3"}
	for _, c := range []struct {
		name               string
		atExchange, atLoss []string // the boards that stop
		isHeard            bool     // each board has heard of the exchange before the loss
	}{
		{"the others run on", all, one, true},
		{"all boards stop", all, all, true},
		{"the others run on, and may not have heard of the exchange", two, one, false},
		{"all boards stop, and may not have heard of the exchange", all, all, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newVotingRack(t, 3)
			r.submit(r.board("b1"), "before")
			r.awaitSameNotes()
			r.exchange("b2", "b3", c.atExchange...)
			r.submit(r.board("b2"), "exchanged")
			r.awaitSameNotes()
			if c.isHeard {
				r.awaitStarts()
			}
			r.kill(c.atLoss...)
			r.wipe("b3")
			r.start(c.atLoss...)
			r.until("three voters, no other member, and no conflict of names", func() bool {
				conflicts := r.describeConflicts()
				if c.isHeard && conflicts != "" {
					t.Fatal(conflicts)
				}
				s := r.leader().Status()
				return conflicts == "" && slices.Equal(s.Voters, r.names) && len(s.Nonvoters) == 0 && r.board("b3").Status().Applied > 0
			})
			r.submit(r.board("b3"), "after")
			r.expectNotes("before", "exchanged", "after")
		})
	}
}

// While the rack still waits for the old card, the board with the new one names the leader, and does
// not advise to found a ledger.
func TestANewCardNamesTheLeader(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	r.timing.ReplaceAfter = time.Minute
	r.start(r.names...)
	r.voters(3)
	follower := r.others(r.leader().name)[0]
	r.kill(follower)
	r.wipe(follower)
	r.start(follower)
	r.until("it names the leader", func() bool {
		return strings.Contains(r.board(follower).Status().Trouble, r.leader().name+" leads the ledger")
	})
	if trouble := r.board(follower).Status().Trouble; strings.Contains(trouble, "ledger found") {
		t.Error(trouble)
	}
}
