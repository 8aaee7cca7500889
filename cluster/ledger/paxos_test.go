package ledger

import (
	"fmt"
	"log/slog"
	"testing"

	"pgregory.net/rapid"
)

func TestAcceptor(t *testing.T) {
	b := func(n uint64) ballot { return ballot{n, "a"} }
	var a paxosAcceptor
	steps := []struct {
		name        string
		do          func() (bool, bool)
		ok, changed bool
	}{
		{"the zero ballot is no ballot", func() (bool, bool) { return a.handlePrepare(ballot{}) }, false, false},
		{"promise 2", func() (bool, bool) { return a.handlePrepare(b(2)) }, true, true},
		{"promise 2 again", func() (bool, bool) { return a.handlePrepare(b(2)) }, true, false},
		{"promise 1 is too late", func() (bool, bool) { return a.handlePrepare(b(1)) }, false, false},
		{"accept 1 is too late", func() (bool, bool) { return a.handleAccept(b(1), bootstrapConfig{Ledger: 1}) }, false, false},
		{"accept 2", func() (bool, bool) { return a.handleAccept(b(2), bootstrapConfig{Ledger: 2}) }, true, true},
		{"accept 2 again", func() (bool, bool) { return a.handleAccept(b(2), bootstrapConfig{Ledger: 2}) }, true, false},
		{"accept 4 unasked", func() (bool, bool) { return a.handleAccept(b(4), bootstrapConfig{Ledger: 2}) }, true, true},
		{"promise 3 is too late", func() (bool, bool) { return a.handlePrepare(b(3)) }, false, false},
		{"equal numbers, later name", func() (bool, bool) { return a.handlePrepare(ballot{4, "b"}) }, true, true},
	}
	for _, s := range steps {
		if ok, changed := s.do(); ok != s.ok || changed != s.changed {
			t.Errorf("%s: %v, %v", s.name, ok, changed)
		}
	}
}

func TestChoose(t *testing.T) {
	yes := func(name string) prepareResponse {
		return prepareResponse{Server: raftServer{name + ".1", name}, OK: true}
	}
	had := func(name string, n uint64, id ledgerID) prepareResponse {
		p := yes(name)
		p.Accepted, p.Bootstrap = ballot{n, "x"}, bootstrapConfig{Ledger: id}
		return p
	}
	for _, c := range []struct {
		name    string
		boards  int
		answers []prepareResponse
		want    ledgerID // 0: may not propose
	}{
		{"alone", 1, []prepareResponse{yes("a")}, 9},
		{"one of two", 2, []prepareResponse{yes("a")}, 0},
		{"the same board twice", 3, []prepareResponse{yes("a"), yes("a")}, 0},
		{"a refusal does not count", 3, []prepareResponse{yes("a"), {Server: raftServer{"b.1", "b"}}}, 0},
		{"two of three", 3, []prepareResponse{yes("a"), yes("b")}, 9},
		{"half of four", 4, []prepareResponse{yes("a"), yes("b")}, 0},
		{"one has accepted", 3, []prepareResponse{yes("a"), had("b", 1, 7)}, 7},
		{"the later one counts", 3, []prepareResponse{had("a", 1, 7), had("b", 2, 8)}, 8},
	} {
		got, ok := chooseBootstrap(c.boards, c.answers, 9)
		if ok != (c.want != 0) || got.Ledger != c.want {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
	}
	got, _ := chooseBootstrap(8, []prepareResponse{yes("e"), yes("d"), yes("c"), yes("b"), yes("a"), yes("f")}, 1)
	if len(got.Voters) != 5 || got.Voters[0].Name != "a" {
		t.Errorf("voters %v", got.Voters)
	}
}

// Proposers duel, messages are lost, late and repeated, boards restart: at
// most one configuration is ever accepted by a majority.
func TestFoundingDecidesOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		boards := rapid.IntRange(1, 5).Draw(t, "boards")
		type proposal struct {
			b         ballot
			promises  []prepareResponse
			bootstrap *bootstrapConfig
			accepts   map[int]bool
		}
		acceptors := make([]paxosAcceptor, boards)
		var proposals []*proposal
		decided := map[ledgerID]bool{}
		fresh := ledgerID(0)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			me := rapid.IntRange(0, boards-1).Draw(t, "board")
			if len(proposals) == 0 || rapid.IntRange(0, 9).Draw(t, "what") == 0 {
				// A board proposes. It may have forgotten its earlier proposals in a
				// restart, but not its own promise.
				b := ballot{acceptors[me].Promised.N + 1, fmt.Sprint(me)}
				acceptors[me].handlePrepare(b)
				proposals = append(proposals, &proposal{b: b, accepts: map[int]bool{}})
				continue
			}
			p := rapid.SampledFrom(proposals).Draw(t, "proposal")
			a := &acceptors[me]
			if p.bootstrap == nil {
				ok, _ := a.handlePrepare(p.b)
				p.promises = append(p.promises, prepareResponse{Server: raftServer{fmt.Sprint(me), fmt.Sprint(me)}, OK: ok,
					Accepted: a.Accepted, Bootstrap: a.Bootstrap})
				fresh++
				if c, ok := chooseBootstrap(boards, p.promises, fresh); ok {
					p.bootstrap = &c
				}
				continue
			}
			if ok, _ := a.handleAccept(p.b, *p.bootstrap); ok {
				p.accepts[me] = true
			}
			if len(p.accepts) >= majorityOf(boards) {
				decided[p.bootstrap.Ledger] = true
			}
		}
		if len(decided) > 1 {
			t.Fatalf("decided %v", decided)
		}
	})
}

// A power cut between raft's first term and its first entry does not end a founding: the
// next start writes the entry.
func TestABootstrapThatAPowerCutStopped(t *testing.T) {
	dir := t.TempDir()
	first := bootstrapConfig{1, []raftServer{{"a.1", "a"}}}.raftConfiguration()
	f, err := openFiles(dir, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.log.SetUint64([]byte(keyCurrentTerm), 3); err != nil { // it has voted since
		t.Fatal(err)
	}
	for range 2 {
		f.close()
		if f, err = openFiles(dir, 0, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if err := f.bootstrapLog(first); err != nil {
			t.Fatal(err)
		}
		last, err := f.log.LastIndex()
		term, termErr := f.log.GetUint64([]byte(keyCurrentTerm))
		if last != 1 || term != 3 || err != nil || termErr != nil {
			t.Errorf("last entry %d, term %d, %v, %v; want 1, 3", last, term, err, termErr)
		}
	}
	f.close()
}
