package orderservice

import (
	"fmt"
	"strings"
	"testing"

	"bramble/cluster/ledger"
)

// Every pair of ledger problems that can stand together names one ledger command, and one board's or ledger's.
func TestNoticesNameOneWayOut(t *testing.T) {
	const own, other = "00000000000000aa", "00000000000000bb"
	noLeader := func(s *ledger.Status) { s.Leader, s.Trouble = "", ledger.NoLeader+": test: bramble ledger recover b1" }
	ahead := []ledger.AheadBoard{{Board: "b1", Ledger: own, Entries: 7}}
	problems := []struct {
		name string
		set  func(*ledger.Status)
		way  string // the command; "" if it needs none
		rank int    // of two commands, the one of the higher rank stands
	}{
		{"no leader", noLeader, "bramble ledger recover b1", 1},
		{"no leader, and nothing here", func(s *ledger.Status) { noLeader(s); s.CatchingUp, s.LastEntry = true, 0 }, "bramble ledger recover b1", 1},
		{"led apart", func(s *ledger.Status) {
			s.Leader, s.Trouble = "", ledger.NoLeader+" reaches this board, though b2 leads the ledger"
		}, "", 0},
		{"given up", func(s *ledger.Status) { noLeader(s); s.Superseded, s.Foreign, s.Ahead = other, "b3 ("+other+")", ahead },
			"bramble ledger choose " + other, 5},
		{"kept", func(s *ledger.Status) { s.Kept = "b2 has entries 5 to 9, and the leader lacks them" }, "bramble ledger recover b2", 4},
		{"two ledgers", func(s *ledger.Status) { s.Foreign = "b3 (" + other + ")" }, "bramble ledger choose LEDGER", 3},
		{"outdated", func(s *ledger.Status) { s.Outdated = "b4 (00000000000000cc)" }, "bramble ledger choose " + own, 2},
		{"halted", func(s *ledger.Status) { s.Halted = "entry 7" }, "a person must look at it", 0},
		{"catching up", func(s *ledger.Status) { s.CatchingUp, s.Lag, s.LastEntry = true, 5, 9 }, "", 0},
		{"damaged", func(s *ledger.Status) { s.Damaged = "log is damaged" }, "", 0},
		{"rules", func(s *ledger.Status) { s.RulesHeldSeconds, s.RulesHeldBy = 9999, []string{"b4"} }, "", 0},
	}
	for i, a := range problems {
		for _, b := range problems[i:] {
			t.Run(a.name+" and "+b.name, func(t *testing.T) {
				s, l := newTestService(t)
				status := ledger.Status{Founded: true, Ledger: own, Leader: "b2", LastEntry: 9}
				a.set(&status)
				b.set(&status)
				if status.Outdated != "" && (a.name == "no leader" || b.name == "no leader") {
					noLeader(&status)
				}
				l.set(func() { l.status = &status })
				s.pause.Store(1) // as it is while orders are paused
				notices := strings.Join(s.Notices("b1"), "\n")
				want := a
				if b.rank > a.rank {
					want = b
				}
				commands := map[string]bool{}
				for _, verb := range []string{"recover", "choose"} {
					for _, rest := range strings.Split(notices, "bramble ledger "+verb+" ")[1:] {
						word := strings.FieldsFunc(rest, func(c rune) bool { return strings.ContainsRune(" .:;\n", c) })[0]
						commands[fmt.Sprintf("bramble ledger %s %s", verb, word)] = true
					}
				}
				isBoth := strings.HasPrefix(a.name, "no leader") && b.name == "outdated" // first a majority, then the others join
				if len(commands) > 1 && !isBoth || want.rank > 0 && !strings.Contains(notices, want.way) && !(want.rank == 1 && (status.Halted != "" || b.name == "led apart")) {
					t.Errorf("commands %v, want %q in:\n%s", commands, want.way, notices)
				}
				if status.Superseded != "" && (strings.Contains(notices, "Nothing is lost") || !strings.Contains(notices, "b1 has up to 7 entries") ||
					!strings.Contains(notices, "bramble orders export --stale")) {
					t.Errorf("a given-up board:\n%s", notices)
				}
				if strings.Contains(notices, "tart the missing boards") && strings.Contains(notices, "take the missing ones out") {
					t.Errorf("two orders about missing boards:\n%s", notices)
				}
			})
		}
	}
}

// TestASilentLeaderIsNoCardFault: the notice of a leader that does not answer does not
// send anybody to the card.
func TestASilentLeaderIsNoCardFault(t *testing.T) {
	s, l := newTestService(t)
	l.set(func() {
		l.status = &ledger.Status{Founded: true, Leader: "b2", LastEntry: 9, Trouble: ledger.LeaderSilent + ", b2, does not answer this board"}
	})
	s.pause.Store(1)
	want := "Orders are paused on b1: the leader, b2, does not answer this board."
	if notices := strings.Join(s.Notices("b1"), "\n"); !strings.Contains(notices, want) || strings.Contains(notices, "card") {
		t.Errorf("notices:\n%s", notices)
	}
}
