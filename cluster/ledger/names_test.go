package ledger_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// exchange kills two boards, exchanges their directories, and starts them again.
func (r *rack) exchange(one, other string) {
	r.t.Helper()
	r.kill(one, other)
	r.rename(one, "tmp")
	r.rename(other, one)
	r.rename("tmp", other)
	r.start(one, other)
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

// Two boards exchange their cards, then one gets a new card: the rack has three voters again, and
// nobody is told to rename a board.
func TestANewCardAfterAnExchange(t *testing.T) {
	skipIfShort(t)
	for _, c := range []struct {
		name             string
		isNamed, allStop bool // the configuration has the names already; all boards stop, not only the one
	}{
		{"the leader heard the old card", true, false},
		{"it has just been exchanged", false, false},
		{"all boards stop", true, true},
		{"all boards stop, and the configuration has the old names", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newVotingRack(t, 3)
			r.submit(r.board("b1"), "before")
			r.awaitSameNotes()
			r.exchange("b2", "b3")
			r.submit(r.board("b2"), "exchanged")
			r.awaitSameNotes()
			// While only one of the two runs, it has the name of a silent board, which is reported.
			r.until("no conflict of names", func() bool { return r.describeConflicts() == "" })
			if c.isNamed {
				r.until("the configuration has the names", func() bool { return slices.Equal(r.leader().ConfiguredNames(), r.names) })
			}
			if c.allStop {
				r.kill(r.names...)
			}
			r.kill("b3")
			r.wipe("b3")
			for _, name := range r.names {
				if r.board(name) == nil {
					r.start(name)
				}
			}
			r.until("three voters, and no other member", func() bool {
				if conflicts := r.describeConflicts(); conflicts != "" {
					t.Fatal(conflicts)
				}
				s := r.leader().Status()
				return slices.Equal(s.Voters, r.names) && len(s.Nonvoters) == 0 && slices.Equal(r.leader().ConfiguredNames(), r.names) &&
					r.board("b3").Status().Applied > 0
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
	leader := r.leader().name
	follower := r.others(leader)[0]
	r.kill(follower)
	r.wipe(follower)
	r.start(follower)
	r.until("it names the leader", func() bool {
		return strings.Contains(r.board(follower).Status().Trouble, leader+" leads the ledger")
	})
	if trouble := r.board(follower).Status().Trouble; strings.Contains(trouble, "ledger found") {
		t.Error(trouble)
	}
}
