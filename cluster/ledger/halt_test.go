package ledger_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/cluster/ledger/ledgertest"
)

// divergingDiary is a state machine whose reply to one command differs from the others'.
type divergingDiary struct{ ledgertest.Diary }

func (d *divergingDiary) Apply(b ledger.Batch) ([][]byte, error) {
	for i := range b.Commands {
		if string(b.Commands[i]) == "trap" {
			b.Commands[i] = []byte("trapped")
		}
	}
	return d.Diary.Apply(b)
}

func TestABoardThatDivergesHalts(t *testing.T) {
	r := newVotingRack(t, 3)
	led := r.leader()
	var odd string
	for _, n := range r.names {
		if n != led.name {
			odd = n
		}
	}
	r.kill(odd)
	r.diverging = []string{odd}
	r.start(odd)
	r.submit(led, "straight")
	if h := r.board(odd).Status().Halted; h != "" {
		t.Errorf("halted early: %s", h)
	}
	r.submit(led, "trap")
	r.submit(led, "next")
	r.until("it halts", func() bool { return strings.Contains(r.board(odd).Status().Halted, "differ") })
	// It applies its log again, begins a new life, and diverges again: then it stays as it is.
	r.until("it halts for good", func() bool { return strings.Contains(r.board(odd).Status().Halted, "again in a new life") })
	if _, _, err := r.board(odd).Submit(context.Background(), []byte("x")); !errors.Is(err, ledger.ErrHalted) {
		t.Errorf("Submit on the halted board returns %v", err)
	}
	if err := r.board(odd).Wait(context.Background(), 1<<40); !errors.Is(err, ledger.ErrHalted) {
		t.Errorf("Wait there returns %v", err)
	}
	r.submit(led, "the others go on")
}

// If the leader is the one that differs, the majority decides against it: it halts, another board leads,
// and those that suspected themselves go on.
func TestALeaderThatDivergesHalts(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.diverging = []string{"b2", "b3"} // to the two, b1 is the odd one
	r.start(r.names...)
	r.voters(3)
	for r.leader().name != "b1" { // should another one lead again before the trap, b1 halts as a follower
		led := r.leader().name
		r.kill(led)
		r.leader()
		r.start(led)
		r.voters(3)
	}
	r.submit(r.board("b1"), "straight")
	r.submit(r.board("b1"), "trap")
	r.submit(r.board("b2"), "next")   // b1 may have halted
	r.until("b1 halts", func() bool { // in this life, or already again in its next one
		s := r.board("b1").Status()
		return s.Halted != "" && strings.Contains(s.Halted+s.Damaged, "2 of the 3 voters")
	})
	for _, n := range r.diverging {
		r.until("the others go on", func() bool { return r.board(n).Status().Halted == "" })
		r.submit(r.board(n), "after by "+n)
	}
	r.until("another board leads", func() bool { return r.leader().name != "b1" })
}

// The rules rise when every board's program knows them: not before the last one is replaced, and then at once.
// A board that goes back to the program before halts, says so, and loses nothing.
func TestRulesRiseWhenAllBoardsKnowThem(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.rules = map[string]uint32{}
	r.start(r.names...)
	r.voters(3)
	r.submit(r.leader(), "under the first rules")
	update := func(name string, rules uint32) {
		r.kill(name)
		r.rules[name] = rules
		r.start(name)
		r.voters(3)
		r.submit(r.leader(), name+" is updated")
	}
	update("b1", 2)
	update("b2", 2)
	r.until("the leader says who holds them back", func() bool {
		s := r.leader().Status()
		return s.Rules == 1 && (s.MaxRules == 1 || slices.Equal(s.RulesHeldBy, []string{"b3"}))
	})
	update("b3", 2)
	for _, b := range r.running() {
		r.until("they rise", func() bool { return b.Status().Rules == 2 && len(b.Status().RulesHeldBy) == 0 })
	}
	index := r.submit(r.leader(), "under the second rules")
	if err := r.board("b1").Wait(context.Background(), index); err != nil {
		t.Fatal(err)
	}
	notes := r.board("b1").diary.Notes()
	if first, last := notes[0], notes[len(notes)-1]; first.Rules != 1 || last.Rules != 2 {
		t.Errorf("applied under rules %d and %d", first.Rules, last.Rules)
	}

	for _, compacted := range []bool{false, true} { // it finds the newer rules in its log, or in its snapshot
		if compacted {
			r.until("its log is empty", func() bool { return r.board("b1").Compact(context.Background()) == nil })
		}
		r.kill("b1")
		r.rules["b1"] = 1
		r.start("b1")
		r.until("it says what to do", func() bool {
			return strings.Contains(r.board("b1").Status().Halted, "knows rules 1, the ledger uses 2: install the newer program")
		})
		r.submit(r.board("b2"), "without it")
		if s := r.board("b1").Status(); s.HaltTransient {
			t.Error("it says that this passes by itself")
		}
		r.until("its lag is true", func() bool { return r.board("b1").Status().Lag > 0 })
		r.kill("b1")
		r.rules["b1"] = 2
		r.start("b1")
		r.awaitSameNotes()
	}
}

// A new ledger has the newest rules at once. Those of an old one wait until each board has been up
// with the new program for a while, so that a board that returns to its old program goes on.
func TestTheRulesWaitForABoardThatHasJustStarted(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.timing.RulesWait = time.Hour
	r.rules = map[string]uint32{"b1": 2, "b2": 2, "b3": 2}
	r.start(r.names...)
	r.voters(3)
	r.until("a new ledger begins with the newest rules", func() bool { return r.leader().Status().Rules == 2 })
	for _, name := range r.names {
		r.kill(name)
		r.rules[name] = 3
		r.start(name)
		r.voters(3)
		r.submit(r.leader(), name+" is updated")
	}
	time.Sleep(10 * r.timing.Survey)
	r.kill("b3")
	r.rules["b3"] = 2 // its trial has failed
	r.start("b3")
	r.submit(r.board("b3"), "by the old program")
	r.awaitSameNotes() // b3 may learn the answer before it has read its own log
	if s := r.board("b3").Status(); s.Halted != "" || s.Rules != 2 {
		t.Errorf("%+v", s)
	}
}

// A program that does something else with an old command shows that at the replay, on all boards. No
// majority of such boards confirms itself, and the right program goes on without a repair.
func TestBoardsThatDivergeFromTheirOwnLogHalt(t *testing.T) {
	skipIfShort(t)
	r := newVotingRack(t, 3)
	for _, command := range []string{"straight", "trap", "next", "last"} {
		r.submit(r.leader(), command)
	}
	r.awaitSameNotes()
	restart := func() {
		r.kill(r.names...)
		r.start(r.names...)
	}
	r.diverging = r.names
	restart()
	for _, name := range r.names {
		r.until("it reports the divergence from its own log", func() bool {
			s := r.board(name).Status()
			return strings.Contains(s.Halted, "its own log records") && !s.HaltTransient
		})
	}
	time.Sleep(10 * r.timing.Survey)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, _, err := r.board("b1").Submit(ctx, []byte("no")); err == nil {
		t.Error("it accepts a command")
	}
	r.diverging = nil
	restart()
	r.submit(r.leader(), "again")
	r.awaitSameNotes()
	for _, b := range r.running() {
		if s := b.Status(); s.Halted != "" || s.Damaged != "" {
			t.Errorf("%s: %+v", b.name, s)
		}
	}
}

// A board that has not yet applied all of its log does not know whether it differs from it: two such boards do
// not confirm the third one, which knows that it differs. No board accepts a command meanwhile, or afterwards.
func TestABoardThatStillAppliesItsLogVouchesForNobody(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	r.submit(r.leader(), "straight")
	trap := r.submit(r.leader(), "trap")
	r.submit(r.leader(), "next")
	r.awaitSameNotes()
	r.kill(r.names...)
	r.diverging = r.names
	gate, pauses := make(chan struct{}), make(chan struct{}, 2) // two boards stop after the trap
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // before the boards stop
	r.applied = func(index uint64) {
		if index != trap {
			return
		}
		select {
		case pauses <- struct{}{}:
			<-gate
		default:
		}
	}
	r.start(r.names...)
	report := func(n int) func() bool {
		return func() bool {
			reports := 0
			for _, b := range r.running() {
				if s := b.Status(); strings.Contains(s.Halted, "its own log records") && !s.HaltTransient {
					reports++
				}
			}
			return reports >= n
		}
	}
	r.until("one board differs from its own log", report(1))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var submits sync.WaitGroup
	for _, b := range r.running() {
		submits.Go(func() {
			if _, _, err := b.Submit(ctx, []byte("no")); err == nil {
				t.Errorf("%s accepts a command", b.name)
			}
		})
	}
	for range 100 {
		time.Sleep(r.timing.Survey / 10)
		if !report(1)() {
			t.Fatal("boards that have not applied all of their logs confirm the one that differs from its own")
		}
	}
	open()
	r.until("all boards differ from their own logs", report(3))
	submits.Wait()
	for _, b := range r.running() {
		if slices.Contains(b.texts(), "no") {
			t.Errorf("%s has applied the command", b.name)
		}
	}
}

func TestAnErrorOfTheStateMachineHaltsTheLedger(t *testing.T) {
	r := newRack(t, 1)
	r.start("b1")
	r.submit(r.board("b1"), "fine")
	r.board("b1").diary.Refuse = func(_ uint64, commands [][]byte) error {
		return errors.New("sold + held + free = 101, stock 100")
	}
	_, _, err := r.board("b1").Submit(context.Background(), []byte("one too many"))
	if !errors.Is(err, ledger.ErrHalted) || !strings.Contains(err.Error(), "stock 100") {
		t.Errorf("error %v", err)
	}
	if err := r.board("b1").Compact(context.Background()); !errors.Is(err, ledger.ErrHalted) {
		t.Errorf("a snapshot of a halted state machine: %v", err)
	}
}

func TestErrorsOfSubmitAreCertain(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	// The lease must be longer than a busy machine may pause this test between
	// the cut and the call.
	r.timing.Heartbeat, r.timing.Election = time.Second, time.Second
	r.start(r.names...)
	r.voters(3)
	if _, _, err := r.board("b1").Submit(context.Background(), make([]byte, ledger.MaxCommand+1)); !errors.Is(err, ledger.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	led := r.leader()
	b := r.board(r.others(led.name)[0])
	// The call arrives, the response is lost, and this board receives nothing. A busy machine may not send it in time,
	// or elect another leader.
	r.until("an answer is lost", func() bool {
		led = r.leader()
		if led == b || b.Status().Leader != led.name {
			return false
		}
		r.net.Cut(led.name, b.name)
		defer r.net.Heal()
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_, _, err := b.Submit(ctx, []byte("lost answer"))
		if err != nil && !errors.Is(err, ledger.ErrUncertain) && !errors.Is(err, ledger.ErrNoMajority) {
			t.Fatalf("lost answer: %v", err)
		}
		return errors.Is(err, ledger.ErrUncertain)
	})
	r.submit(b, "after")
	r.awaitSameNotes()
	// No other board is reachable.
	for _, n := range r.names {
		if n != b.name {
			r.kill(n)
		}
	}
	r.until("the leader is missed", func() bool { return b.Status().Leader == "" })
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := b.Submit(ctx, []byte("nobody")); !errors.Is(err, ledger.ErrNoMajority) {
		t.Errorf("nobody: %v", err)
	}
	if err := b.Barrier(ctx); !errors.Is(err, ledger.ErrNoMajority) {
		t.Errorf("barrier: %v", err)
	}
	b.stop()
	if _, _, err := b.Submit(context.Background(), []byte("x")); !errors.Is(err, ledger.ErrStopped) {
		t.Errorf("stopped: %v", err)
	}
}
