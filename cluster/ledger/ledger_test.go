package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
)

func TestOneBoardRemembersItsCommands(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.start("b1")
	for i := range 20 {
		r.submit(r.board("b1"), fmt.Sprint(i))
	}
	server := r.board("b1").Status().Server
	r.kill("b1")
	r.start("b1")
	r.until("the log is applied again", func() bool { return len(r.board("b1").texts()) == 20 })
	if got := r.board("b1").Status().Server; got != server {
		t.Errorf("the board is %s, was %s", got, server)
	}
	r.submit(r.board("b1"), "more")
}

func TestThreeBoardsTakeCommandsFromAny(t *testing.T) {
	r := newRack(t, 3)
	r.start(r.names...)
	for i := range 9 {
		b := r.board(r.names[i%3])
		index := r.submit(b, fmt.Sprint(i))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := b.Wait(ctx, index); err != nil {
			t.Error(err)
		}
		for _, other := range r.running() {
			if err := other.Barrier(ctx); err != nil {
				t.Error(err)
			}
			if !slices.Contains(other.texts(), fmt.Sprint(i)) {
				t.Errorf("%s does not know command %d after a barrier", other.name, i)
			}
		}
		cancel()
	}
	r.voters(3)
	if got := r.awaitSameNotes(); len(got) != 9 {
		t.Errorf("%d commands", len(got))
	}
}

func TestNotFoundedSaysHowManyAreMissing(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 5)
	r.start("b1", "b2")
	r.until("two met", func() bool { return r.board("b1").Status().MissingBoards == 3 })
	_, _, err := r.board("b1").Submit(context.Background(), []byte("x"))
	if !errors.Is(err, ledger.ErrNotFounded) {
		t.Errorf("error %v", err)
	}
	if err := r.board("b1").Found(t.Context()); !errors.Is(err, ledger.ErrRefused) {
		t.Errorf("two of five boards may found: %v", err)
	}
	r.start("b4")
	r.until("three met", func() bool { return r.board("b4").Status().MissingBoards == 2 })
	time.Sleep(2 * r.timing.FoundingWait)
	r.until("three of five name the command", func() bool { return strings.Contains(r.board("b4").Status().Trouble, "bramble ledger found") })
	if s := r.board("b4").Status(); s.Founded {
		t.Errorf("three of five: %+v", s)
	}
	r.until("b1 reaches three boards, and an operator's word is taken", func() bool { return r.board("b1").Found(t.Context()) == nil })
	r.submit(r.board("b4"), "first")
}

func TestFoundingWithLostMessagesAndRestarts(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 5)
	for _, a := range r.names {
		for _, b := range r.names {
			r.net.DropCalls(a, b, 0.2)
		}
	}
	r.start(r.names...)
	for i := range 6 {
		time.Sleep(150 * time.Millisecond)
		name := r.names[i%5]
		r.kill(name)
		r.start(name)
	}
	r.net.Heal()
	r.submit(r.board("b5"), "founded")
	r.awaitSameNotes()
	id := r.board("b1").Status().Ledger
	for _, b := range r.running() {
		if s := b.Status(); s.Ledger != id {
			t.Errorf("%s has ledger %s, b1 has %s", b.name, s.Ledger, id)
		}
	}
}
