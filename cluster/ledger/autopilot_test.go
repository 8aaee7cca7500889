package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// stateOf parses a short notation of a rack: "a" leads. A board is "name:kind", kind v voter, f
// nonvoter, n not in the configuration; then ! silent for ReplaceAfter, !! for RemoveAfter,
// * a new life, + one after some seconds, - far behind, ? in trouble, ~ not heard yet, >x renamed to x.
func stateOf(boards ...string) clusterState {
	v := clusterState{Leader: "a.1", Index: 10_000, Boards: map[string]boardHealth{}}
	t := DefaultTiming()
	for _, b := range boards {
		name, rest := b[:1], b[2:]
		s := raftServer{name + ".1", name}
		r := boardHealth{Server: s, Index: v.Index}
		switch rest[0] {
		case 'v', 'f':
			v.Members = append(v.Members, clusterMember{s, rest[0] == 'v'})
		}
		switch kind := rest[1:]; kind {
		case "!":
			r.Silent = t.ReplaceAfter
		case "!!":
			r.Silent = t.RemoveAfter
		case "*":
			second := r
			second.Server.ID = name + ".2"
			v.Boards[second.Server.ID] = second
			r.Silent = t.ReplaceAfter
		case "+":
			second := r
			second.Server.ID = name + ".2"
			v.Boards[second.Server.ID] = second
			r.Silent = 4 * t.Survey
		case "-":
			r.Index = 1
		case "~":
			r.Unheard = true
		case "?":
			r.Trouble = true
		default:
			if to, renamed := strings.CutPrefix(kind, ">"); renamed {
				r.Server.Name = to
			}
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
		{"a board has a new name", []string{"a:v", "b:v>x", "c:v"}, "rename b.1"},
		{"the leader has a new name", []string{"a:v>x", "b:v", "c:v"}, "rename a.1"},
		{"a follower has a new name", []string{"a:v", "b:v", "c:v", "d:f>x"}, "rename d.1"},
		{"two boards have swapped names", []string{"a:v", "b:v>c", "c:v>b"}, "nothing"},
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

// Whatever the state of the rack, no change loses the majority, the leader keeps
// its vote, and the changes end if nothing else changes.
func TestPlanIsSafeAndSettles(t *testing.T) {
	timing := DefaultTiming()
	rapid.Check(t, func(t *rapid.T) {
		boards := []string{"a:v"}
		for i := range rapid.IntRange(0, 8).Draw(t, "others") {
			kind := rapid.SampledFrom([]string{"v", "f", "n"}).Draw(t, "kind")
			state := rapid.SampledFrom([]string{"", "", "", "!", "!!", "*", "-", "?", ">a", ">b", ">c", ">x"}).Draw(t, "state")
			boards = append(boards, fmt.Sprintf("%c:%s%s", 'b'+i, kind, state))
		}
		v := stateOf(boards...)
		for range 60 {
			s := planChange(v, timing)
			if s.Action == noAction {
				return
			}
			if s.Server.ID == v.Leader {
				t.Fatalf("%v: %v", boards, s)
			}
			i := slices.IndexFunc(v.Members, func(m clusterMember) bool { return m.ID == s.Server.ID })
			switch s.Action {
			case addNonvoter:
				v.Members = append(v.Members, clusterMember{s.Server, false})
			case promoteToVoter:
				v.Members[i].Voter = true
			case demoteVoter:
				v.Members[i].Voter = false
			case removeServer:
				v.Members = slices.Delete(v.Members, i, i+1)
			case renameBoard:
				v.Members[i].Name = s.Server.Name
			}
			voters, live := 0, 0
			for _, m := range v.Members {
				if !m.Voter {
					continue
				}
				voters++
				if r := v.Boards[m.ID]; r.Silent < timing.ReplaceAfter && !r.Trouble {
					live++
				}
			}
			if live < majorityOf(voters) {
				t.Fatalf("%v: after %v %d of %d voters live", boards, s, live, voters)
			}
		}
		t.Fatalf("%v: no rest: %+v", boards, planChange(v, timing))
	})
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
		{"a new board has the name of a live one", []string{"a:v", "b:v", "c:n>b"}, "b.1 and c.1 are all called b"},
		{"a member has the name of a silent one", []string{"a:v", "b:v!", "c:v>b"}, "b.1 and c.1 are all called b"},
	} {
		got := newPlanner(stateOf(c.boards...), DefaultTiming()).nameConflicts()
		if (c.want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "; "), c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
