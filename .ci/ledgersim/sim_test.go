package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var seeds = flag.Int("seeds", 200, "the number of seeds of TestSeeds")

// theMachine is compiled once for all tests.
var theMachine = sync.OnceValues(func() (*machine, error) { return newMachine(context.Background(), "") })

func compiled(t *testing.T) *machine {
	t.Helper()
	m, err := theMachine()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSeeds: whatever the seed does to the rack, no acknowledged order disappears while a
// card that acknowledged it survives, none is there twice, the order is linearizable, there
// is one ledger, and a rack that keeps a majority of its cards goes on.
func TestSeeds(t *testing.T) {
	m := compiled(t)
	n := *seeds
	if testing.Short() {
		n = 10
	}
	for seed := range n {
		if r := m.run(t.Context(), uint64(seed), "", nil); r.Err != nil {
			t.Errorf("seed %d: %v\n%s", seed, r.Err, r.Output)
		}
	}
}

// TestScenarios: what once lost orders.
func TestScenarios(t *testing.T) {
	m := compiled(t)
	for _, name := range m.scenarios(t.Context()) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				if r := m.run(t.Context(), seed, name, nil); r.Err != nil {
					t.Errorf("seed %d: %v\n%s", seed, r.Err, r.Output)
				}
			}
		})
	}
}

// TestASeedReplaysExactly: the whole trace, every write to a card and the clock at the
// end are the same, alone and beside other runs on all processors.
func TestASeedReplaysExactly(t *testing.T) {
	m := compiled(t)
	for seed := range uint64(3) {
		var trace, again bytes.Buffer
		before := runtime.GOMAXPROCS(1)
		first := m.run(t.Context(), seed, "", &trace)
		runtime.GOMAXPROCS(before)
		results := make([]result, 3)
		var all sync.WaitGroup
		for i := range results {
			all.Go(func() {
				if i == 0 {
					results[i] = m.run(t.Context(), seed, "", &again)
				} else {
					results[i] = m.run(t.Context(), seed, "", nil)
				}
			})
		}
		all.Wait()
		for _, r := range results {
			if r.Digest != first.Digest || r.Virtual != first.Virtual || r.Output != first.Output {
				t.Errorf("seed %d: digest %s after %v, then %s after %v", seed, first.Digest, first.Virtual, r.Digest, r.Virtual)
			}
		}
		if !bytes.Equal(trace.Bytes(), again.Bytes()) || trace.Len() == 0 {
			t.Errorf("seed %d: the traces differ (%d and %d bytes)", seed, trace.Len(), again.Len())
		}
		t.Logf("seed %d: digest %s, %d lines of trace", seed, first.Digest, bytes.Count(trace.Bytes(), []byte("\n")))
	}
}

// TestCardsThatLieAreFound: if a sync does nothing, every seed in which an order is
// acknowledged fails, because no card holds it.
func TestCardsThatLieAreFound(t *testing.T) {
	lying := *compiled(t)
	lying.cardsLie = true
	found := 0
	for seed := range uint64(5) {
		r := lying.run(t.Context(), seed, "", nil)
		switch {
		case errors.Is(r.Err, errCheck) && strings.Contains(r.Output, "is on no card"):
			found++
		case !strings.Contains(r.Output, " 0 acknowledged"):
			t.Errorf("seed %d: %v\n%s", seed, r.Err, r.Output)
		}
	}
	if found == 0 {
		t.Error("in none of the seeds an order is acknowledged")
	}
}

// TestFaultsAreFound: with a fault in the ledger's code, some seed or scenario fails.
func TestFaultsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the world for each fault")
	}
	ledger, err := filepath.Abs("../../cluster/ledger")
	if err != nil {
		t.Fatal(err)
	}
	in := func(file string) string { return filepath.Join(ledger, file) }
	for _, c := range []struct {
		name     string
		faults   []fault
		scenario string
		finds    string // what the failure must say
	}{
		{"a stream is for any life of a board, and a board joins without a leader", []fault{
			{in("lives.go"), "if h.Wanted != self.ID {", "if false {"},
			{in("lives.go"), "case r.Server.ID != wanted:", "case false:"},
			{in("survey.go"), "if hello.HasLeader || ", "if true || "},
		}, "blank card grants the old one's vote", "LOST"},
		{"a batch that arrives twice is new", []fault{
			{in("propose.go"), "w.seen>>(w.highest-id.Number)&1 == 1", "false"},
		}, "", "twice"},
		{"a board that led answers for the leader", []fault{
			{in("barrier.go"), "awaitFuture(ctx, r.VerifyLeader())", "error(nil)"},
			{in("barrier.go"), "r.State() != raft.Leader || ", ""},
		}, "old leader cut off with a follower", "passed a barrier without"},
		{"a board votes only for a candidate that its configuration has", []fault{
			{in("votes.go"), "len(voters) > 0 &&", "false &&"},
		}, "voter that one board does not know yet", "takes no order"},
		{"a leader that stood still answers at once", []fault{
			{in("barrier.go"), "awaitFuture(ctx, r.VerifyLeader())", "error(nil)"},
		}, "leader suspended at a commit", "passed a barrier without"},
		{"a log that could not be written once stays so", []fault{
			{in("logstore.go"), "if time.Since(s.reopenTried) < reopenInterval {", "if true {"},
		}, "all cards full, and free again", "takes orders with room again"},
		{"an order that a full card refused is acknowledged", []fault{
			{in("logstore.go"), "s.writeFailure = err\n", "s.writeFailure, err = err, nil\n"},
		}, "all cards full, and free again", "is on no card"},
		{"a full card is not recognised at the start", []fault{
			{in("boardfiles.go"), "errors.Join(err, os.WriteFile(filepath.Join(dir, \"snapshots\", \"permTest\"), nil, 0o600))", "err"},
		}, "all cards full, started, and free again", "does not wrap ENOSPC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := newMachine(t.Context(), "", c.faults...)
			if err != nil {
				t.Fatal(err)
			}
			const most = 300
			for seed := range uint64(most) {
				if r := m.run(t.Context(), seed, c.scenario, nil); errors.Is(r.Err, errCheck) && strings.Contains(r.Output, c.finds) {
					t.Logf("found with seed %d:\n%s", seed, r.Output)
					return
				}
			}
			t.Errorf("%d seeds do not find it", most)
		})
	}
}
