package ledger

import (
	"strings"
	"testing"
)

// The answers of the boards decide which way out is named: the missing boards while they can make a majority, else a recovery.
func TestTheOutlookNamesTheWayOut(t *testing.T) {
	voters := func(names ...string) (all []raftServer) {
		for _, n := range names {
			all = append(all, raftServer{n + ".1", n})
		}
		return all
	}
	three, five := voters("a", "b", "c"), voters("a", "b", "c", "d", "e")
	log := func(last, term uint64) logDescent {
		return logDescent{Ledger: 7, Newest: last, Last: last, Term: term, Proven: last, Terms: []termStart{{Term: 1, Index: 1, Sum: 1}, {Term: term, Index: 6, Sum: uint32(term)}}}
	}
	hello := func(name, life string, d logDescent, voters []raftServer) helloResponse {
		h := helloResponse{Server: raftServer{name + life, name}, Ledger: 7, Log: d, Voters: voters}
		h.Life.Entries = d.Last + 1
		return h
	}
	accused := func(h helloResponse) helloResponse { h.Accused = true; return h }
	a := hello("a", ".1", log(9, 2), three)
	bare := logDescent{Ledger: 7}
	unfounded := helloResponse{Server: raftServer{"b.2", "b"}}
	const (
		start    = "Only if their cards are lost for good: bramble ledger recover a"
		wayOut   = "The one way out: bramble ledger recover a"
		harmless = "nothing is lost"
		lost     = "These lost files or have older ones, so they cannot vote: "
	)
	for _, c := range []struct {
		name        string
		hellos      []helloResponse
		wants, nots []string
	}{
		{"two are off", []helloResponse{a}, []string{"1 of 3 voters can vote. Start the missing boards: b, c. ", harmless, start}, []string{wayOut, lost}},
		{"one has a new card, one is off", []helloResponse{a, hello("b", ".2", bare, nil)},
			[]string{"Start the missing boards: c. ", lost + "b. ", start}, []string{harmless, wayOut}},
		{"two have new cards", []helloResponse{a, hello("b", ".2", bare, nil), hello("c", ".2", bare, nil)},
			[]string{"1 of 3 voters can vote", lost + "b, c. ", "No board is missing", wayOut}, []string{"tart the", harmless}},
		{"one is not in the ledger yet", []helloResponse{unfounded, a, hello("c", ".2", bare, nil)}, []string{lost + "b, c. ", wayOut}, []string{"tart the"}},
		{"one has older files, one a new card", []helloResponse{accused(hello("b", ".1", log(5, 1), three)), a, hello("c", ".2", bare, nil)},
			[]string{lost + "b, c. ", wayOut}, []string{"tart the", "went apart"}},
		{"older files took orders", []helloResponse{accused(hello("b", ".1", log(7, 3), three)), a, hello("c", ".2", bare, nil)},
			[]string{lost + "b, c. ", wayOut, "The logs went apart: b may have orders that a lacks; without --accept-loss"}, []string{"tart the", harmless}},
		{"logs apart, and the third is off", []helloResponse{hello("b", ".1", log(7, 3), three), accused(a)},
			[]string{"1 of 3", "Start the missing boards: c", "went apart"}, []string{harmless}},
		{"a majority answers", []helloResponse{a, hello("b", ".1", log(5, 1), three)}, []string{"2 of 3 voters can vote. They elect"}, []string{"recover", "tart the"}},
		{"a copy of a card in another board", []helloResponse{a, hello("b", ".1", log(9, 2), three), accused(hello("c", ".1", log(5, 1), three)), hello("d", ".1", log(5, 1), three)},
			[]string{"2 of 3 voters can vote", lost + "c. They elect"}, nil},
		{"three of five lost, one off", []helloResponse{hello("a", ".1", log(9, 2), five), hello("b", ".2", bare, nil), hello("c", ".2", bare, nil), hello("d", ".2", bare, nil)},
			[]string{"1 of 5", lost + "b, c, d. ", "may have later entries, so start them first: e. " + wayOut}, []string{harmless}},
		{"a voter has the last name of one that is off", []helloResponse{hello("a", ".1", log(9, 2), five), {Server: raftServer{"c.1", "b"}, Ledger: 7}},
			[]string{"2 of 5 voters can vote. Start the missing boards: b, d, e. "}, []string{lost}},
		{"an older program", []helloResponse{hello("a", ".1", log(9, 2), nil)}, []string{"half of the voters or fewer", "Start the missing boards. ", start}, []string{" 0 of"}},
	} {
		o := newOutlook(c.hellos, 7)
		got := o.describe()
		if o.fullest != "a" {
			t.Errorf("%s: %s is the fullest", c.name, o.fullest)
		}
		for _, want := range c.wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing in %q", c.name, want, got)
			}
		}
		for _, not := range c.nots {
			if strings.Contains(got, not) {
				t.Errorf("%s: %q is in %q", c.name, not, got)
			}
		}
		if strings.Contains(got, "found") || strings.Count(got, "bramble ledger") > 1 {
			t.Errorf("%s: more than one way out: %q", c.name, got)
		}
	}
}
