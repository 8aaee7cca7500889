package ledger

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// begins returns where terms begin: of each its first index and number, and the checksum of its first commands.
func begins(values ...uint64) (all []termStart) {
	for i := 0; i < len(values); i += 3 {
		all = append(all, termStart{values[i], values[i+1], uint32(values[i+2])})
	}
	return all
}

// What a board has and another ledger lacks: after a recovery, between two recoveries, and if both were founded apart.
func TestCountAhead(t *testing.T) {
	const old, recovered, other, later = ledgerID(1), ledgerID(2), ledgerID(3), ledgerID(4)
	first := begins(1, 1, 0, 2, 2, 77)
	fork := func(from ledgerID, index uint64, terms []termStart) ledgerFork {
		return ledgerFork{Ledger: from, Index: index, Terms: terms}
	}
	log := func(id ledgerID, last uint64, terms []termStart, forks ...ledgerFork) logDescent {
		return logDescent{Ledger: id, Forks: forks, Newest: last, Last: last, Terms: terms}
	}
	with := func(terms []termStart, more ...uint64) []termStart {
		return append(slices.Clone(terms), begins(more...)...)
	}
	went := fork(old, 10, first)
	went30 := log(recovered, 30, with(first, 11, 3, 88), went)
	again := log(later, 40, with(first, 11, 3, 88, 31, 4, 99), went, fork(recovered, 30, went30.Terms))
	for _, c := range []struct {
		name         string
		board, rival logDescent
		want         uint64
	}{
		{"the given-up board has more", log(old, 17, first), went30, 7},
		{"it has the same", log(old, 10, first), went30, 0},
		{"it has less", log(old, 6, first), went30, 0},
		{"its leader wrote no commands", logDescent{Ledger: old, Newest: 9, Last: 12, Terms: with(first, 11, 3, 0)}, went30, 0},
		{"a later leader's entries after the fork", log(old, 12, with(first, 11, 3, 55)), went30, 2},
		{"it went apart before the fork, and has fewer (m13)", log(old, 26, with(first, 23, 3, 55)), log(recovered, 40, with(first, 31, 4, 88), fork(old, 30, first)), 4},
		{"it went apart before the fork, and has more (s73-2)", log(old, 51, first), log(recovered, 38, with(first, 28, 3, 55, 32, 4, 88), fork(old, 31, with(first, 28, 3, 55))), 24},
		{"a copy used its term again (m11)", log(old, 33, with(first, 24, 3, 55)), log(recovered, 60, nil, fork(old, 50, with(first, 24, 3, 66))), 10},
		{"its log begins later, in the same term", log(old, 17, begins(0, 2, 0)), went30, 7},
		{"it ends where the other's log begins later", log(old, 17, first), log(recovered, 900, begins(0, 3, 0), fork(old, 800, begins(0, 3, 0))), 17},
		{"what was taken since", went30, log(old, 17, first), 20},
		{"two recoveries of one ledger", log(other, 20, with(first, 15, 3, 66), fork(old, 14, first)), went30, 10},
		{"recovered twice, seen from the first", log(old, 17, first), again, 7},
		{"recovered twice, seen from the second", log(recovered, 33, with(first, 11, 3, 88), went), again, 3},
		{"founded apart", log(old, 17, first), log(other, 5, first), 17},
		{"recovered by an older program", log(old, 17, first), log(recovered, 30, nil, fork(old, 10, nil)), 17},
		{"an older program", logDescent{}, went30, 0},
	} {
		if got := c.board.countAhead(c.rival); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// Which of two boards has more of a ledger, and so may be recovered alone: -1 the first, 1 the second, 0 neither.
func TestHasMore(t *testing.T) {
	first := begins(1, 1, 0, 2, 6, 77)
	log := func(proven, newest, last uint64, more ...uint64) logDescent {
		d := logDescent{Ledger: 7, Proven: proven, Newest: newest, Last: last, Terms: append(slices.Clone(first), begins(more...)...)}
		d.Term = d.Terms[len(d.Terms)-1].Term
		return d
	}
	for _, c := range []struct {
		name string
		a, b logDescent
		want int
		most string
	}{
		{"the same", log(50, 50, 50), log(50, 50, 50), 0, "a"},
		{"the other lacks proven entries", log(50, 50, 50), log(31, 31, 31), -1, "a"},
		{"it lacks proven entries", log(31, 31, 31), log(50, 50, 50), 1, "b"},
		{"copies led in a later term, without commands (s71-15)", log(123, 124, 124), log(101, 99, 101, 100, 7, 0), -1, "a"},
		{"copies took orders in a later term", log(123, 124, 124), log(103, 103, 103, 100, 7, 5), 0, "a"},
		{"a card of before the copies' term has most (s73-2)", log(31, 31, 31, 28, 7, 5), log(51, 51, 51), 0, "b"},
		{"a copy used its term again", log(31, 31, 31, 28, 7, 5), log(51, 51, 51, 28, 7, 6), 0, "b"},
		{"both prove the same, one has more", log(40, 45, 45), log(40, 43, 43), -1, "a"},
		{"both prove the same, and have others", log(40, 45, 45), log(40, 43, 43, 42, 7, 5), 0, "b"},
		{"one proves less, and has everything", log(50, 50, 50), log(40, 55, 55), 1, "b"},
		{"a blank board", log(50, 50, 50), logDescent{Ledger: 7}, -1, "a"},
		{"a log that begins later", log(120, 120, 120), logDescent{Ledger: 7, Proven: 110, Newest: 110, Last: 110, Terms: begins(0, 6, 0)}, -1, "a"},
	} {
		got := 0
		if c.a.hasMore(c.b) {
			got--
		}
		if c.b.hasMore(c.a) {
			got++
		}
		hello := func(name string, d logDescent) helloResponse {
			h := helloResponse{Server: raftServer{ID: name, Name: name}, Ledger: 7, Log: d}
			h.Life.Entries = d.Last + 1
			return h
		}
		a, b, foreign := hello("a", c.a), hello("b", c.b), helloResponse{Ledger: 8, Log: log(900, 900, 900)}
		for _, hellos := range [][]helloResponse{{a, foreign, b}, {b, a, foreign}} {
			if most := findFullest(hellos, 7).Server.Name; got != c.want || most != c.most {
				t.Errorf("%s: %d, and %s is named, want %d, %s", c.name, got, most, c.want, c.most)
			}
		}
	}
}

// A log's terms are those of its entries: also after a leader replaced its end, and after a snapshot.
func TestTermsOfALog(t *testing.T) {
	command := func(index, term uint64) raft.Log {
		e := entry{Term: term, Stamp: time.Unix(0, 0), Commands: [][]byte{[]byte("x")}}
		return raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: e.encode()}
	}
	noop := func(index, term uint64) raft.Log { return raft.Log{Index: index, Term: term, Type: raft.LogNoop} }
	sum := func(l raft.Log) uint64 { return uint64(entryChecksum(&l)) }
	for _, c := range []struct {
		name string
		logs []raft.Log
		want []termStart
	}{
		{"none", nil, nil},
		{"two terms", []raft.Log{noop(1, 1), noop(2, 2), command(3, 2), command(4, 2)}, begins(1, 1, 0, 2, 2, sum(command(3, 2)))},
		{"a replaced end", []raft.Log{noop(1, 1), noop(2, 2), command(3, 2), noop(3, 4)}, begins(1, 1, 0, 2, 2, sum(command(3, 2)), 3, 4, 0)},
		{"a replaced term", []raft.Log{noop(1, 1), noop(2, 2), command(3, 2), noop(2, 4)}, begins(1, 1, 0, 2, 4, 0)},
		{"a log after a snapshot", []raft.Log{noop(90, 5), command(91, 5), noop(92, 6)}, begins(0, 5, 0, 92, 6, 0)},
		{"a snapshot from the leader", []raft.Log{noop(1, 1), noop(2, 2), command(90, 5)}, begins(0, 5, 0)},
	} {
		s := logStore{}
		for i := range c.logs {
			s.noteTerm(&c.logs[i])
		}
		if !slices.Equal(s.terms, c.want) {
			t.Errorf("%s: %v, want %v", c.name, s.terms, c.want)
		}
	}
	s := logStore{}
	for i := range uint64(40) {
		l := noop(i+1, i+1)
		s.noteTerm(&l)
	}
	if len(s.terms) != maxTermStarts || s.terms[0].Term != 40-maxTermStarts+1 {
		t.Errorf("%d terms from %v", len(s.terms), s.terms[0])
	}
}

// An identity of before forks were noted is read, and one with a fork keeps it.
func TestIdentitiesOfBefore(t *testing.T) {
	var id boardIdentity
	if err := json.Unmarshal([]byte(`{"Server":"b1.00000001","Ledger":7,"Superseded":[5],"Starts":{"Count":1,"Recent":[9]}}`), &id); err != nil ||
		id.Ledger != 7 || len(id.Superseded) != 1 || id.Forks != nil {
		t.Errorf("%+v, %v", id, err)
	}
	id.Forks = []ledgerFork{{Ledger: 5, Index: 10, Term: 2, Proven: 9, Terms: begins(1, 1, 0)}}
	b, err := json.Marshal(id)
	var again boardIdentity
	if err == nil {
		err = json.Unmarshal(b, &again)
	}
	if err != nil || len(again.Forks) != 1 || !reflect.DeepEqual(again.Forks, id.Forks) {
		t.Errorf("%s: %+v, %v", b, again, err)
	}
}
