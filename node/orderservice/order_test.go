package orderservice

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// laggingBoard applies what other boards did only at a barrier.
type laggingBoard struct {
	*fakeLedger
	onBarrier func()
}

func (l *laggingBoard) Barrier(ctx context.Context) error {
	if err := l.fakeLedger.Barrier(ctx); err != nil {
		return err
	}
	l.onBarrier()
	return nil
}

// An order that this board has may have been cancelled on another board since: a receipt
// shows that at once, or, if no other board can be asked, that it may be stale.
func TestOrderCatchesUp(t *testing.T) {
	d, board := newTestService(t)
	ctx := t.Context()
	for _, c := range []orders.Command{berry(), testOrder(1)} {
		if _, err := d.submitUntilDecided(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := d
	late := New(d.cfg)
	late.barrier = newSharedBarrier((&laggingBoard{fakeLedger: board, onBarrier: func() {
		if err := elsewhere.CancelOrder(ctx, testOrder(1).ID); err != nil {
			t.Error(err)
		}
	}}).Barrier, catchUpTimeout)
	board.set(func() { board.fail = []error{fmt.Errorf("%w: test", ledger.ErrNoMajority)} })
	if p, _, err := late.Order(ctx, testOrder(1).ID); !errors.Is(err, orders.ErrStale) || p.State != orders.StateOpen {
		t.Errorf("without the others: %v, %v", p.State, err)
	}
	if _, _, err := late.Order(ctx, testOrder(2).ID); !errors.Is(err, orders.ErrUncertain) {
		t.Errorf("an unknown one without the others: %v", err)
	}
	board.set(func() { board.fail = nil })
	if p, _, err := late.Order(ctx, testOrder(1).ID); err != nil || p.State != orders.StateCancelled {
		t.Errorf("with the others: %v, %v", p.State, err)
	}
}

// Wrong randomness is refused with the reason.
func TestWrongRandomnessIsExplained(t *testing.T) {
	d, board := newTestService(t)
	o := berry()
	o.Mode, o.WaitingList, o.PublicKind, o.Secret = orders.Ballot, false, draw.Dice, [32]byte{1}
	o.Opens, o.Closes = board.now, board.now.AddDate(0, 0, 1)
	if a, err := d.submitUntilDecided(t.Context(), o); err != nil || a.Outcome != orders.Done {
		t.Fatal(a.Outcome, err)
	}
	for text, want := range map[string]string{
		"36115":               "the request is not valid: this public randomness cannot be used: this ballot needs 20 dice, one die after another: 20 digits from 1 to 6, without blanks; there are 5 characters",
		"3 6 1 1 5 2 4 6 6 1": "the request is not valid: this public randomness cannot be used: this ballot needs 20 dice, one die after another: 20 digits from 1 to 6, without blanks; there are 19 characters",
	} {
		_, err := d.Operate(t.Context(), OperatorCommand{Action: "draw", Operator: "test", OpID: 7, Product: "berry", Kind: "dice", Text: text})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	early := OperatorCommand{Action: "draw", Operator: "test", OpID: 9, Product: "berry", Kind: "dice", Text: "36115246613611524661"}
	want := "not done: the ballot has not closed yet: it closes at " + o.Closes.UTC().Format(time.RFC3339)
	if _, err := d.Operate(t.Context(), early); !errors.Is(err, errRefused) || err.Error() != want {
		t.Errorf("before the close: %v", err)
	}
	_, err := d.Operate(t.Context(), OperatorCommand{Action: "draw", Operator: "test", OpID: 8, Product: "berry", Kind: "drand", Text: "drand quicknet 1 00"})
	if err == nil || !errors.Is(err, draw.ErrPublic) {
		t.Errorf("drand: %v", err)
	}
}
