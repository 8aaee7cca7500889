package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// stateOf parses a short notation of a rack: "a" leads. A board is "name:kind", kind v voter, f
// nonvoter, n not in the configuration, which is of an older program: it has names as addresses; then
// any of ! silent for ReplaceAfter, !! for RemoveAfter,
// * a new life, + one after some seconds, - far behind, = hears no leader, ? in trouble, ~ not heard yet; then >x called x now.
func stateOf(boards ...string) clusterState {
	v := clusterState{Leader: "a.1", Index: 10_000, Boards: map[string]boardHealth{}}
	t := DefaultTiming()
	for _, b := range boards {
		name, rest := b[:1], b[2:]
		s := raftServer{name + ".1", name}
		r := boardHealth{Server: s, Index: v.Index, Follows: true}
		switch rest[0] {
		case 'v', 'f':
			v.Members = append(v.Members, clusterMember{s.ID, name, rest[0] == 'v'})
		}
		flags, to, renamed := strings.Cut(rest[1:], ">")
		for _, flag := range strings.ReplaceAll(flags, "!!", "R") {
			switch flag {
			case '!':
				r.Silent = t.ReplaceAfter
			case 'R':
				r.Silent = t.RemoveAfter
			case '*', '+':
				second := r
				second.Server.ID = name + ".2"
				v.Boards[second.Server.ID] = second
				r.Silent = t.ReplaceAfter
				if flag == '+' {
					r.Silent = 4 * t.Survey
				}
			case '-':
				r.Index = 1
			case '=':
				r.Follows = false
			case '~':
				r.Unheard = true
			case '?':
				r.Trouble = true
			}
		}
		if renamed {
			r.Server.Name = to
		}
		v.Boards[s.ID] = r
	}
	return v
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name   string
		boards []string
		want   string
	}{
		{"alone", []string{"a:v"}, "nothing"},
		{"a second board comes", []string{"a:v", "b:n"}, "add b.1"},
		{"two vote", []string{"a:v", "b:f"}, "promote b.1"},
		{"not while it is behind", []string{"a:v", "b:f-"}, "nothing"},
		{"not while it refuses the leader's entries", []string{"a:v", "b:f="}, "nothing"},
		{"nor in place of a silent voter", []string{"a:v", "b:v", "c:v!", "d:f="}, "nothing"},
		{"not while it is in trouble", []string{"a:v", "b:f?"}, "nothing"},
		{"not before it has answered this leader", []string{"a:v", "b:v", "c:v~", "d:f~"}, "nothing"},
		{"a voter that was not heard yet is not replaced", []string{"a:v", "b:v", "c:v~", "d:f"}, "nothing"},
		{"nor does a demotion rely on it", []string{"a:v", "b:v", "c:v", "d:v~", "e:v~"}, "nothing"},
		{"of two one is silent: nothing can be committed", []string{"a:v", "b:v!"}, "nothing"},
		{"of two one begins a new life: nothing can be committed", []string{"a:v", "b:v*"}, "nothing"},
		{"three vote", []string{"a:v", "b:v", "c:f"}, "promote c.1"},
		{"a fourth follows", []string{"a:v", "b:v", "c:v", "d:n"}, "add d.1"},
		{"and only follows", []string{"a:v", "b:v", "c:v", "d:f"}, "nothing"},
		{"a voter is silent, a spare takes its place", []string{"a:v", "b:v", "c:v!", "d:f"}, "promote d.1"},
		{"then the silent one loses its vote", []string{"a:v", "b:v", "c:v!", "d:v"}, "demote c.1"},
		{"a silent voter without a spare stays", []string{"a:v", "b:v", "c:v!"}, "nothing"},
		{"a voter begins a new life", []string{"a:v", "b:v", "c:v*"}, "remove c.1"},
		{"and is put on again", []string{"a:v", "b:v", "c:n"}, "add c.1"},
		{"a voter in trouble is replaced", []string{"a:v", "b:v", "c:v?", "d:f"}, "promote d.1"},
		{"a follower begins a new life", []string{"a:v", "b:v", "c:v", "d:f*"}, "remove d.1"},
		{"a follower is long gone", []string{"a:v", "b:v", "c:v", "d:f!!"}, "remove d.1"},
		{"a follower is away", []string{"a:v", "b:v", "c:v", "d:f!"}, "nothing"},
		{"seven boards: five vote", []string{"a:v", "b:v", "c:v", "d:f", "e:f", "f:f", "g:f"}, "promote d.1"},
		{"six boards keep five", []string{"a:v", "b:v", "c:v", "d:v", "e:v", "f:f"}, "nothing"},
		{"five boards need three", []string{"a:v", "b:v", "c:v", "d:v", "e:v"}, "demote e.1"},
		{"two of five are silent", []string{"a:v", "b:v", "c:v", "d:v!", "e:v!"}, "demote d.1"},
		{"then four with one silent", []string{"a:v", "b:v", "c:v", "d:f!", "e:v!"}, "demote e.1"},
		{"all boards have new names", []string{"a:v>x", "b:v>c", "c:v>b", "d:f>y"}, "nothing"},
		{"a nonvoter is silent, and another has its name", []string{"a:v", "b:v", "c:v>d", "d:f!"}, "remove d.1"},
		{"a nonvoter was not heard yet, and another has its name", []string{"a:v", "b:v", "c:v>d", "d:f~"}, "nothing"},
		{"a name of a silent voter is no new life of it", []string{"a:v", "b:v!", "c:v>b"}, "nothing"},
		{"nor if a follower took it", []string{"a:v", "b:v!", "c:v", "d:f>b"}, "promote d.1"},
		{"a new board with the name of a live one waits", []string{"a:v", "b:v", "c:v", "d:n>b"}, "nothing"},
		{"a new board has the name of a silent one", []string{"a:v", "b:v", "c:v!", "d:n>c"}, "remove c.1"},
		{"three of five are silent: nothing", []string{"a:v", "b:v", "c:v!", "d:v!", "e:v!", "f:f"}, "nothing"},
	} {
		s := planChange(stateOf(c.boards...), DefaultTiming())
		got := s.Action.String()
		if s.Action != noAction {
			got += " " + s.Server.ID
		}
		if got != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, got, s.Why, c.want)
		}
	}
}

// settle makes the planned changes until there are none, and returns their number. It fails if raft would
// refuse one, if one changes an address, gives a board with the name of a member a place, loses the majority of
// live voters or the leader's vote, or if they do not end.
func (s *clusterState) settle(t rapid.TB, boards []string) int {
	timing := DefaultTiming()
	limit := 5 * len(s.Boards)
	for step := range limit {
		c := planChange(*s, timing)
		if c.Action == noAction {
			return step
		}
		i := slices.IndexFunc(s.Members, func(m clusterMember) bool { return m.ID == c.Server.ID })
		if c.Server.ID == s.Leader || i >= 0 && c.Address != s.Members[i].Address || i < 0 && c.Address != c.Server.ID {
			t.Fatalf("%v: %v", boards, c)
		}
		switch c.Action {
		case addNonvoter:
			for _, m := range s.Members {
				if s.Boards[m.ID].Server.Name == c.Server.Name {
					t.Fatalf("%v: %v, and %s has that name", boards, c, m.ID)
				}
			}
			s.Members = append(s.Members, clusterMember{c.Server.ID, c.Address, false})
		case promoteToVoter:
			s.Members[i].Voter = true
		case demoteVoter:
			s.Members[i].Voter = false
		case removeServer:
			s.Members = slices.Delete(s.Members, i, i+1)
		}
		voters, live := 0, 0
		for _, m := range s.Members {
			if !m.Voter {
				continue
			}
			voters++
			if r := s.Boards[m.ID]; r.Silent < timing.ReplaceAfter && !r.Trouble && !r.Unheard {
				live++
			}
		}
		if live < majorityOf(voters) {
			t.Fatalf("%v: after %v %d of %d voters live", boards, c, live, voters)
		}
	}
	t.Fatalf("%v: no rest: %+v", boards, planChange(*s, timing))
	return limit
}

// Whatever the state of the rack, no change loses the majority, the leader keeps
// its vote, and the changes end if nothing else changes.
func TestPlanIsSafeAndSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		boards := []string{"a:v" + rapid.SampledFrom([]string{"", "", ">b", ">x"}).Draw(t, "leader")}
		for i := range rapid.IntRange(0, 8).Draw(t, "others") {
			kind := rapid.SampledFrom([]string{"v", "f", "n"}).Draw(t, "kind")
			state := rapid.SampledFrom([]string{"", "", "", "!", "!!", "*", "-", "?", "~", "~!"}).Draw(t, "state")
			if kind == "n" && strings.HasPrefix(state, "~") {
				state = "" // the leader knows of boards that are no members because they answered
			}
			name := rapid.SampledFrom([]string{"", "", "", ">a", ">b", ">c", ">d", ">x"}).Draw(t, "name")
			boards = append(boards, fmt.Sprintf("%c:%s%s%s", 'b'+i, kind, state, name))
		}
		v := stateOf(boards...)
		v.settle(t, boards)
	})
}

// A member without an address, as after a fault of the card, keeps raft from any change: it gets one first.
func TestAMemberWithoutAnAddress(t *testing.T) {
	for _, flags := range []string{"", "~", "~!"} {
		s := stateOf("a:v", "b:v", "c:v"+flags, "d:f!!", "e:n")
		s.Members[2].Address = ""
		if got := planChange(s, DefaultTiming()); got.Action != addNonvoter || got.Server.ID != "c.1" || got.Address != "c.1" {
			t.Errorf("%q: %v", flags, got)
		}
	}
}

// Boards take names that other boards have or had, and new boards join. The planner comes to an
// end in each case, with every board that can vote as a voter.
func TestNamesSettle(t *testing.T) {
	for _, c := range []struct {
		name   string
		boards []string
		want   string // the members in the end: server id, v if it votes, name if it is not that of the id
		steps  int    // -1: any number within settle's limit
	}{
		{"three boards rotated their names", []string{"a:v>b", "b:v>c", "c:v>a"}, "a.1v=b b.1v=c c.1v=a", 0},
		{"exchanged, then c's card is new", []string{"a:v", "b:v!>c", "c:v>b", "d:n>c"}, "a.1v c.1v=b d.1v=c", -1},
		{"a new card", []string{"a:v", "b:v!", "c:v", "d:n>b"}, "a.1v c.1v d.1v=b", 3},
		{"exchanged, c's card is new, and this leader never heard the old one",
			[]string{"a:v", "b:v~!", "c:v>b", "d:n>c"}, "a.1v c.1v=b d.1v=c", -1},
		{"the same, before its time is over", []string{"a:v", "b:v~", "c:v>b", "d:n>c"}, "a.1v b.1v c.1v=b d.1=c", 1},
		{"exchanged, and the leader's card is new", []string{"a:v", "b:v>c", "c:v!>b", "d:n>b"}, "a.1v b.1v=c d.1v=b", -1},
		{"a clone of a runs as c, whose card is lost; a began a new life",
			[]string{"a:v>c", "b:v", "c:v!", "d:n>a"}, "a.1v=c b.1v d.1v=a", -1},
		{"the same, and b leads", []string{"a:v", "b:v>c", "c:v~!", "d:n>b"}, "a.1v b.1v=c d.1v=b", -1},
		{"the clone began the new life", []string{"a:v", "b:v", "c:v!", "d:n>c"}, "a.1v b.1v d.1v=c", 3},
		{"a new board has the old name of a renamed one", []string{"a:v", "b:v", "c:v>x", "d:n>c"}, "a.1v b.1v c.1v=x d.1=c", 1},
		{"the same, and the renamed one is off", []string{"a:v", "b:v", "c:v!>x", "d:n>c"}, "a.1v b.1v c.1=x d.1v=c", -1},
		{"two live members with one name", []string{"a:v", "b:v", "c:v>b"}, "a.1v b.1v c.1v=b", 0},
		{"a new board with the name of a live member", []string{"a:v", "b:v", "c:v", "d:n>c"}, "a.1v b.1v c.1v", 0},
		{"two new boards with one name", []string{"a:v", "b:v", "c:v", "d:n>x", "e:n>x"}, "a.1v b.1v c.1v d.1=x", 1},
		{"exchanged, and a new board has one of the names", []string{"a:v", "b:v>c", "c:v>b", "d:n>b"}, "a.1v b.1v=c c.1v=b", 0},
		{"a name of a silent voter", []string{"a:v", "b:v!", "c:v>b"}, "a.1v b.1v c.1v=b", 0},
	} {
		s := stateOf(c.boards...)
		if steps := s.settle(t, c.boards); c.steps >= 0 && steps != c.steps {
			t.Errorf("%s: %d steps, want %d", c.name, steps, c.steps)
		}
		var got []string
		for _, m := range s.Members {
			text := m.ID
			if m.Voter {
				text += "v"
			}
			if name := s.Boards[m.ID].Server.Name; birthName(m.ID) != name {
				text += "=" + name
			}
			got = append(got, text)
		}
		slices.Sort(got)
		if all := strings.Join(got, " "); all != c.want {
			t.Errorf("%s: %s, want %s", c.name, all, c.want)
		}
	}
}

func TestOnceInTerm(t *testing.T) {
	var o batchDedup
	for i, c := range []struct {
		term, number uint64
		want         bool
	}{
		{1, 1, true}, {1, 1, false}, {1, 3, true}, {1, 2, true}, {1, 2, false}, {1, 100, true},
		{1, 36, false}, {1, 37, true}, {1, 3, false}, {2, 3, true}, {1, 4, false}, {2, 3, false},
	} {
		if got := o.admit(c.term, batchID{7, c.number}); got != c.want {
			t.Errorf("%d: term %d number %d: %v", i, c.term, c.number, got)
		}
	}
}

func TestNameConflicts(t *testing.T) {
	for _, c := range []struct {
		name   string
		boards []string
		want   string // a part of the only conflict, "" if there is none
	}{
		{"none", []string{"a:v", "b:v", "c:f"}, ""},
		{"two boards have swapped names", []string{"a:v", "b:v>c", "c:v>b"}, ""},
		{"a new life is no conflict", []string{"a:v", "b:v*", "c:v"}, ""},
		{"a new life that has just begun", []string{"a:v", "b:v+", "c:v"}, ""},
		{"the old life is no member any more", []string{"a:v", "b:n+", "c:v"}, ""},
		{"exchanged, then c's card is new", []string{"a:v", "b:v!>c", "c:v>b", "d:n>c"}, ""},
		{"the same, and this leader never heard the old one", []string{"a:v", "b:v~!", "c:v>b", "d:n>c"}, ""},
		{"a new board has the name of a live one", []string{"a:v", "b:v", "c:n>b"},
			"the boards b.1 and c.1 are all called b: give c.1 (a new board) another [board] name"},
		{"a member has the name of a live one", []string{"a:v", "b:v", "c:v>b"},
			"the boards b.1 and c.1 are all called b: give c.1 (before: c) another [board] name"},
		{"a new board has the name of a renamed one", []string{"a:v", "b:v>x", "c:n>x"},
			"the boards b.1 and c.1 are all called x: give c.1 (a new board) another [board] name"},
		{"two new boards have one name", []string{"a:v", "b:n>x", "c:n>x"}, "give c.1 (a new board) another"},
		{"the board that was born under it has the higher id", []string{"a:v", "b:v>c", "c:v"}, "give b.1 (before: b) another"},
		{"of three, one is told after the other", []string{"a:v", "b:v", "c:v>b", "d:n>b"}, "b.1 and c.1 and d.1 are all called b: give d.1 (a"},
		{"a member has the name of a silent one", []string{"a:v", "b:v!", "c:v>b"}, "b.1 and c.1 are all called b"},
	} {
		got := newPlanner(stateOf(c.boards...), DefaultTiming()).nameConflicts()
		if (c.want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "; "), c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
