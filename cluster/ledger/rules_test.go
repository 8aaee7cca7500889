package ledger

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestAgreeRules(t *testing.T) {
	for _, c := range []struct {
		name         string
		own, inForce uint32
		versions     map[string]uint32
		want         uint32
		heldBy       []string
	}{
		{"a rack of one", 2, 1, nil, 2, nil},
		{"all know it", 2, 1, map[string]uint32{"a": 2, "b": 3}, 2, nil},
		{"one does not", 3, 1, map[string]uint32{"a": 2, "b": 3}, 2, []string{"a"}},
		{"one never told", 2, 1, map[string]uint32{"a": 0, "b": 2}, 1, []string{"a"}},
		{"it never falls", 2, 2, map[string]uint32{"a": 1}, 2, nil},
		{"the leader is the older one", 1, 1, map[string]uint32{"a": 2}, 1, nil},
	} {
		rules, heldBy := agreeRules(c.own, c.inForce, c.versions)
		if rules != c.want || !slices.Equal(heldBy, c.heldBy) {
			t.Errorf("%s: %d, held by %v", c.name, rules, heldBy)
		}
	}
}

func TestJudgeMajority(t *testing.T) {
	for _, c := range []struct {
		agree, differ, voters int
		want                  comparison
	}{
		{1, 0, 1, inMajority}, {1, 1, 2, undecided}, {1, 0, 3, undecided}, {2, 1, 3, inMajority},
		{1, 2, 3, diverged}, {1, 1, 3, undecided}, {2, 3, 5, diverged}, {3, 2, 5, inMajority}, {2, 2, 5, undecided},
	} {
		if v := judgeMajority(c.agree, c.differ, c.voters); v != c.want {
			t.Errorf("%+v: %v", c, v)
		}
	}
}

// Entries and snapshots are written in version 1 as long as that can express them.
func TestVersionsOfEntriesAndSnapshots(t *testing.T) {
	stamp := time.Unix(7, 8).UTC()
	for _, e := range []entry{{Term: 1, Stamp: stamp, Rules: 1}, {Term: 1, Stamp: stamp, Rules: 2}, {Term: 1, Stamp: stamp, Rules: 1, Flags: flagClockSet}} {
		b := e.encode()
		want := byte(entryVersion1)
		if e.Rules > 1 || e.Flags != 0 {
			want = entryVersion2
		}
		got, err := decodeEntry(b)
		if err != nil || b[0] != want || got.Rules != e.Rules || got.Flags != e.Flags || !got.Stamp.Equal(stamp) {
			t.Errorf("%+v: version %d, read as %+v, %v", e, b[0], got, err)
		}
	}
	future := (&entry{Rules: 2}).encode()
	future[0] = 3
	if _, err := decodeEntry(future); !errors.Is(err, errProgramTooOld) {
		t.Errorf("an entry of version 3: %v", err)
	}
	for _, rules := range []uint32{1, 2, 9} {
		h := snapshotHeader{index: 3, term: 2, at: stamp, digest: 5, rules: rules}
		b := h.encode()
		if got, err := readSnapshotHeader(bytes.NewReader(b)); err != nil || got != h || (b[7] == '1') != (rules == 1) {
			t.Errorf("rules %d: %+v, %v", rules, got, err)
		}
		b[7] = '3'
		if _, err := readSnapshotHeader(bytes.NewReader(b)); !errors.Is(err, errProgramTooOld) {
			t.Errorf("a snapshot of version 3: %v", err)
		}
	}
}

// A program that is older than the ledger applies nothing more and says what to do. It loses nothing:
// the newer program goes on from the same log.
func TestAnOlderProgramHaltsAndLosesNothing(t *testing.T) {
	logs := []*raft.Log{}
	for i, e := range []entry{{Rules: 1}, {Rules: 2}, {Rules: 1}} {
		e.Term, e.Commands = 1, [][]byte{[]byte("a")}
		logs = append(logs, &raft.Log{Index: uint64(i + 1), Term: 1, Data: e.encode()})
	}
	run := func(m StateMachine) applierState {
		a := newApplier(&Config{StateMachine: m, Logger: slog.New(slog.DiscardHandler)}, func(batchID, uint64, [][]byte) {})
		for _, l := range logs {
			a.Apply(l)
		}
		return a.state()
	}
	old := run(&blockedStateMachine{})
	if old.index != 1 || old.rules != 1 || !strings.Contains(old.halted, "knows rules 1, the ledger uses 2: install") || old.haltTransient {
		t.Errorf("the older program: %+v", old)
	}
	if newer := run(&newerStateMachine{}); newer.index != 3 || newer.rules != 2 || newer.halted != "" {
		t.Errorf("the newer program: %+v", newer)
	}
}

// newerStateMachine knows one rules version more.
type newerStateMachine struct{ blockedStateMachine }

func (*newerStateMachine) MaxRules() uint32 { return firstRules + 1 }

// A board whose digest differs is suspect; a later leader's digest clears it, its own does not.
func TestALaterLeaderEndsTheSuspicion(t *testing.T) {
	a := newApplier(&Config{StateMachine: &blockedStateMachine{}, Logger: slog.New(slog.DiscardHandler)}, func(batchID, uint64, [][]byte) {})
	index := uint64(0)
	apply := func(term, seen, digest uint64) applierState {
		index++
		e := entry{Term: term, Seen: seen, Digest: digest, Commands: [][]byte{[]byte("a")}}
		a.Apply(&raft.Log{Index: index, Term: term, Data: e.encode()})
		return a.state()
	}
	if st := apply(1, 0, 0); st.halted != "" {
		t.Error(st.halted)
	}
	if st := apply(1, 1, 99); !st.suspect || !st.haltTransient || st.index != 2 {
		t.Errorf("a leader with another digest: %+v", st)
	}
	if _, err := a.Snapshot(); !errors.Is(err, ErrHalted) {
		t.Errorf("a snapshot of a suspect: %v", err)
	}
	a.leadTerm(2)
	if st := apply(2, 2, 1); !st.suspect {
		t.Error("its own entry ends the suspicion")
	}
	if st := apply(3, 3, 1); st.suspect || st.halted != "" || st.index != 4 {
		t.Errorf("another leader agrees: %+v", st)
	}
}

// A board that differs from its own log is told only by a recorded entry or a board that does not
// differ from its own.
func TestABoardDivergesFromItsOwnLog(t *testing.T) {
	a := newApplier(&Config{StateMachine: &blockedStateMachine{}, Logger: slog.New(slog.DiscardHandler)}, func(batchID, uint64, [][]byte) {})
	a.replayEnd = 2
	for index, e := range []entry{{}, {Seen: 1, Digest: 99}} {
		e.Term, e.Commands = 1, [][]byte{[]byte("a")}
		a.Apply(&raft.Log{Index: uint64(index + 1), Term: 1, Data: e.encode()})
	}
	if st := a.state(); !st.fromLog || st.haltTransient || !strings.Contains(st.halted, "install the program that wrote the log") {
		t.Errorf("%+v", st)
	}
	empty := entry{Term: 2, Commands: [][]byte{[]byte("a")}} // of a leader that differs from its log too
	a.Apply(&raft.Log{Index: 3, Term: 2, Data: empty.encode()})
	if st := a.state(); !st.fromLog {
		t.Error("an entry without a digest confirms it")
	}
	right := entry{Term: 3, Seen: 3, Digest: 1, Commands: [][]byte{[]byte("a")}}
	a.Apply(&raft.Log{Index: 4, Term: 3, Data: right.encode()})
	if st := a.state(); st.fromLog || st.halted != "" {
		t.Errorf("after the entry of a board that is sure: %+v", st)
	}
}

func TestOlderProgramsAreNamed(t *testing.T) {
	var s surveyState
	for _, c := range []struct {
		name  string
		rules uint32
		want  string
	}{{"b3", 0, "b3"}, {"b2", 0, "b2 b3"}, {"b2", 0, "b2 b3"}, {"b3", 1, "b2"}, {"b2", 2, ""}} {
		s.noteMaxRules(raftServer{c.name + ".1", c.name}, c.rules)
		if got := strings.Join(s.olderPrograms, " "); got != c.want {
			t.Errorf("after %s with rules %d: %q, want %q", c.name, c.rules, got, c.want)
		}
	}
}

func TestFilesAreSetAsideAfterTheSecondDivergence(t *testing.T) {
	dir := t.TempDir()
	for times := 1; times <= divergencesTolerated; times++ {
		if err := checkDivergence(dir); err != nil {
			t.Errorf("before time %d: %v", times, err)
		}
		if n, err := noteDivergence(dir, "it\ndiffers"); n != times || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	var d *damageError
	if err := checkDivergence(dir); !errors.As(err, &d) {
		t.Errorf("error %v", err)
	}
}

// A board whose earlier life was just removed, and which is no member yet, keeps the rules from rising.
func TestWhoseRulesCount(t *testing.T) {
	now := time.Now()
	answer := func(id, name string, rules uint32, ago time.Duration) surveyAnswer {
		return surveyAnswer{helloResponse{Server: raftServer{id, name}, MaxRules: rules}, now.Add(-ago)}
	}
	members := []raft.Server{{ID: "a.1", Address: "a"}, {ID: "b.1", Address: "b"}, {ID: "c.1", Address: "c"}}
	for _, c := range []struct {
		name    string
		told    map[string]uint32
		answers []surveyAnswer
		want    map[string]uint32
	}{
		{"members", map[string]uint32{"b.1": 2, "c.1": 3}, nil, map[string]uint32{"b.1": 2, "c.1": 3}},
		{"one that never told", map[string]uint32{"b.1": 2}, nil, map[string]uint32{"b.1": 2, "c.1": 0}},
		{"a board that comes", map[string]uint32{"b.1": 2, "c.1": 2}, []surveyAnswer{answer("d.1", "d", 1, 0)}, map[string]uint32{"b.1": 2, "c.1": 2, "d.1": 1}},
		{"one that is gone", map[string]uint32{"b.1": 2, "c.1": 2}, []surveyAnswer{answer("d.1", "d", 1, time.Minute)}, map[string]uint32{"b.1": 2, "c.1": 2}},
		{"a member's new life with an older program", map[string]uint32{"b.1": 2, "c.1": 2}, []surveyAnswer{answer("c.2", "c", 1, 0)}, map[string]uint32{"b.1": 2, "c.1": 2, "c.2": 1}},
		{"this board", map[string]uint32{"b.1": 2, "c.1": 2}, []surveyAnswer{answer("a.1", "a", 1, 0)}, map[string]uint32{"b.1": 2, "c.1": 2}},
	} {
		s := surveyState{maxRules: c.told, answers: map[string]surveyAnswer{}}
		for _, a := range c.answers {
			s.answers[a.hello.Server.ID] = a
		}
		if got := s.listRules(members, "a.1", now.Add(-time.Second)); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
