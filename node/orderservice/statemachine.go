package orderservice

import (
	"errors"
	"fmt"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

// OrderStateMachine is an order book as the ledger's state machine. If the book's working copy
// cannot be written, as on a full card, the ledger waits and retries instead of halting.
type OrderStateMachine struct{ *orders.Book }

// MaxRules returns the highest rules version that the order book knows.
func (o OrderStateMachine) MaxRules() uint32 { return orders.MaxRules }

// Apply applies one committed batch to the order book. The ledger's applier calls it in
// raft's goroutine, on every board. Its error is ledger.ErrRetryLater if the same log
// entry may be applied again.
func (o OrderStateMachine) Apply(b ledger.Batch) ([][]byte, error) {
	replies, err := o.Book.Apply(b.Index, b.At, b.Rules, b.Commands)
	if errors.Is(err, orders.ErrDisk) {
		err = fmt.Errorf("%w: %w", ledger.ErrRetryLater, err)
	}
	return replies, err
}
