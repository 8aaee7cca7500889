package ledger_test

import (
	"context"
	"errors"
	"strings"
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
	r := newRack(t, 3)
	r.start(r.names...)
	r.voters(3)
	led := r.leader()
	var odd string
	for _, n := range r.names {
		if n != led.name {
			odd = n
		}
	}
	r.kill(odd)
	r.diverging = odd
	r.start(odd)
	r.submit(led, "straight")
	if h := r.board(odd).Status().Halted; h != "" {
		t.Errorf("halted early: %s", h)
	}
	r.submit(led, "trap")
	r.submit(led, "next")
	r.until("it halts", func() bool { return strings.Contains(r.board(odd).Status().Halted, "differ") })
	if _, _, err := r.board(odd).Submit(context.Background(), []byte("x")); !errors.Is(err, ledger.ErrHalted) {
		t.Errorf("Submit on the halted board returns %v", err)
	}
	if err := r.board(odd).Wait(context.Background(), 1<<40); !errors.Is(err, ledger.ErrHalted) {
		t.Errorf("Wait there returns %v", err)
	}
	r.submit(led, "the others go on")
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
	b := r.board("b1")
	if b == led {
		b = r.board("b2")
	}
	// The call arrives, the response is lost, and this board receives nothing.
	r.until("it knows the leader", func() bool { return b.Status().Leader == led.name })
	r.net.Cut(led.name, b.name)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := b.Submit(ctx, []byte("lost answer")); !errors.Is(err, ledger.ErrUncertain) {
		t.Errorf("lost answer: %v", err)
	}
	r.net.Heal()
	r.submit(b, "after")
	r.awaitSameNotes()
	// No other board is reachable.
	for _, n := range r.names {
		if n != b.name {
			r.kill(n)
		}
	}
	r.until("the leader is missed", func() bool { return b.Status().Leader == "" })
	ctx, cancel = context.WithTimeout(context.Background(), 200*time.Millisecond)
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
