package orderservice

import (
	"errors"
	"fmt"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

// OrderStateMachine is an order book as the ledger's state machine. If the book's working copy
// cannot be written, as on a full card, the ledger waits and retries instead of halting.
type OrderStateMachine struct{ *orders.Book }

// Apply applies one committed batch to the order book. The ledger's applier calls it in
// raft's goroutine, on every board. Its error is ledger.ErrRetryLater if the same log
// entry may be applied again.
func (o OrderStateMachine) Apply(index uint64, at time.Time, commands [][]byte) ([][]byte, error) {
	replies, err := o.Book.Apply(index, at, commands)
	if errors.Is(err, orders.ErrDisk) {
		err = fmt.Errorf("%w: %w", ledger.ErrRetryLater, err)
	}
	return replies, err
}
