package orderservice

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"
)

// barrierKey is the only key of sharedBarrier.calls.
const barrierKey = "barrier"

// sharedBarrier is a singleflight for the ledger's barrier: a crowd that loads its receipts
// sends the leader one request at a time, whatever its size. Unlike a plain
// singleflight, a caller never joins a barrier that has begun, because the leader may have
// answered it before the call; the caller joins the next one.
type sharedBarrier struct {
	barrier func(context.Context) error
	timeout time.Duration // of one barrier
	calls   singleflight.Group
	turn    chan struct{} // holds one element while a barrier is in progress
}

func newSharedBarrier(barrier func(context.Context) error, timeout time.Duration) *sharedBarrier {
	return &sharedBarrier{barrier: barrier, timeout: timeout, turn: make(chan struct{}, 1)}
}

// wait returns the result of a barrier that began after the call, or ctx's error.
func (b *sharedBarrier) wait(ctx context.Context) error {
	select {
	case result := <-b.calls.DoChan(barrierKey, b.runNext):
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runNext waits for the barrier in progress, closes the group of callers that share the next
// one, and runs it. Its context belongs to no caller: a caller that leaves does not end it
// for the others.
func (b *sharedBarrier) runNext() (any, error) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.calls.Forget(barrierKey)
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
	defer cancel()
	return nil, b.barrier(ctx)
}
