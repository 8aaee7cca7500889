package purge

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// memory is an Applier that remembers what it applied.
type memory struct{ applied []string }

func (m *memory) Apply(p Purge) {
	soft := ""
	if p.Soft {
		soft = "soft "
	}
	m.applied = append(m.applied, soft+p.Kind.String()+":"+p.Target)
}

func tag(s string) Purge { return Purge{Kind: Tag, Target: s} }

func issue(t *testing.T, l *ReplicatedLog, purges ...Purge) {
	t.Helper()
	for _, p := range purges {
		if err := l.Issue(p); err != nil {
			t.Fatal(err)
		}
	}
}

// pass sends one log what it lacks of another, in as many batches as it takes.
func pass(t *testing.T, from, to *ReplicatedLog) {
	t.Helper()
	for range 2 + maxRecords/maxBatch {
		batch := from.Missing(to.Vector())
		if len(batch) == 0 {
			return
		}
		if err := to.Merge(batch); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("one log still lacks something of the other: %v and %v", from.Vector(), to.Vector())
}

func TestLogsConvergeInAnyOrder(t *testing.T) {
	var memories [4]memory
	var logs [4]*ReplicatedLog
	for i := range logs {
		logs[i] = newLog(Issuer(i+1), &memories[i])
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		issue(t, logs[random.IntN(4)], tag(fmt.Sprint(n)))
		if random.IntN(3) == 0 {
			pass(t, logs[random.IntN(4)], logs[random.IntN(4)])
		}
	}
	for range 2 { // twice round, so that what reached the last log reaches the first
		for i := range logs {
			pass(t, logs[i], logs[(i+1)%4])
		}
	}
	for i := range logs {
		if len(memories[i].applied) != 300 {
			t.Errorf("board %d applied %d purges, want each of 300 once", i, len(memories[i].applied))
		}
		if logs[i].Digest() != logs[0].Digest() {
			t.Errorf("boards 0 and %d have applied the same purges but have different digests", i)
		}
	}
}

func TestMergeAppliesEachPurgeOnce(t *testing.T) {
	var m memory
	l := newLog(1, &m)
	first := Range{Issuer: 7, Purges: []Purge{tag("a"), tag("b")}}
	overlapping := Range{Issuer: 7, After: 1, Purges: []Purge{tag("b"), tag("c")}}
	for range 2 {
		for _, s := range []Range{first, overlapping} {
			if err := l.Merge([]Range{s}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []string{"tag:a", "tag:b", "tag:c"}; !slices.Equal(m.applied, want) {
		t.Errorf("applied %v, want %v", m.applied, want)
	}
}

func TestSoftPurgeStaysSoft(t *testing.T) {
	var here, there memory
	l, other := newLog(1, &here), newLog(2, &there)
	issue(t, l, Purge{Kind: URL, Target: "a", Soft: true}, Purge{Kind: All, Soft: true}, tag("b"))
	text, err := json.Marshal(l.Missing(other.Vector()))
	if err != nil {
		t.Fatal(err)
	}
	var batch []Range
	if err := json.Unmarshal(text, &batch); err != nil {
		t.Fatal(err)
	}
	if err := other.Merge(batch); err != nil {
		t.Fatal(err)
	}
	if want := []string{"soft url:a", "soft all:", "tag:b"}; !slices.Equal(there.applied, want) || !slices.Equal(here.applied, want) {
		t.Errorf("applied %v here and %v there, want %v", here.applied, there.applied, want)
	}
}

func TestGapPurgesEverything(t *testing.T) {
	var m memory
	l := newLog(1, &m)
	if err := l.Merge([]Range{{Issuer: 7, After: 5, Purges: []Purge{tag("f")}}}); err != nil {
		t.Error(err)
	}
	if want := []string{"all:", "tag:f"}; !slices.Equal(m.applied, want) {
		t.Errorf("applied %v, want %v", m.applied, want)
	}
	if v := l.Vector(); v[7] != 6 {
		t.Errorf("the vector is %v, want 6 of issuer 7", v)
	}
}

// A board that was away for more purges than the log holds forgets everything.
func TestTheLogIsBounded(t *testing.T) {
	var here, away memory
	l, late := newLog(1, &here), newLog(2, &away)
	for n := range maxRecords + 10 {
		issue(t, l, tag(fmt.Sprint(n)))
	}
	if l.records != maxRecords || len(l.histories[1].records) != maxRecords {
		t.Errorf("%d records in the log, want %d", l.records, maxRecords)
	}
	pass(t, l, late)
	if away.applied[0] != "all:" || len(away.applied) != maxRecords+1 {
		t.Errorf("the late board applied %d purges, the first %q; want everything forgotten first", len(away.applied), away.applied[0])
	}
	if l.Digest() != late.Digest() {
		t.Error("the logs still differ")
	}
}

func TestTooManyIssuersAreAppliedButNotRemembered(t *testing.T) {
	var m memory
	l := newLog(1, &m)
	for n := range maxIssuers + 3 {
		if err := l.Merge([]Range{{Issuer: Issuer(n + 10), Purges: []Purge{tag("x")}}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.histories) != maxIssuers {
		t.Errorf("%d issuers remembered, want %d", len(l.histories), maxIssuers)
	}
	if last := m.applied[len(m.applied)-1]; last != "all:" {
		t.Errorf("the last issuer's purge became %q, want everything purged", last)
	}
}

func TestInvalidPurgesAreRefused(t *testing.T) {
	for _, p := range []Purge{
		{}, {Kind: URL}, {Kind: Tag}, {Kind: All, Target: "x"}, {Soft: true}, {Kind: Tag, Soft: true}, {Kind: 9, Target: "x"},
		{Kind: Tag, Target: strings.Repeat("x", MaxTarget+1)},
	} {
		var m memory
		l := newLog(1, &m)
		if err := l.Issue(p); err == nil {
			t.Errorf("%v was issued", p)
		}
		if err := l.Merge([]Range{{Issuer: 2, Purges: []Purge{tag("good"), p}}}); err == nil {
			t.Errorf("%v was merged", p)
		}
		if len(m.applied) > 0 {
			t.Errorf("%v was refused but %v was applied", p, m.applied)
		}
	}
}

func TestVectorCovers(t *testing.T) {
	cases := []struct {
		v, w Vector
		want bool
	}{
		{nil, nil, true},
		{Vector{1: 2}, nil, true},
		{nil, Vector{1: 1}, false},
		{Vector{1: 2, 2: 1}, Vector{1: 2}, true},
		{Vector{1: 2}, Vector{1: 3}, false},
		{Vector{1: 5}, Vector{1: 3, 2: 1}, false},
	}
	for _, c := range cases {
		if got := c.v.Covers(c.w); got != c.want {
			t.Errorf("%v covers %v: %v, want %v", c.v, c.w, got, c.want)
		}
	}
}
