package origin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bramble/cache/fairshare"
)

// maxQueue limits the requests that wait for one origin on one board. Each holds
// a client's connection; further requests fail at once.
const maxQueue = 512

// permits bounds the requests that this board sends to one origin at once, or its
// connections there.
type permits struct{ *fairshare.Permits }

func newPermits(limit int) permits { return permits{fairshare.New(limit, maxQueue, false)} }

func (p permits) size() int {
	limit, _, _ := p.Counts()
	return limit
}

// acquire waits for a permit, for at most timeout. An urgent caller goes to the
// front of the queue.
func (p permits) acquire(ctx context.Context, timeout time.Duration, urgent bool) error {
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, ErrBusy)
	defer cancel()
	err := p.Acquire(bounded, "", urgent)
	switch {
	case errors.Is(err, fairshare.ErrFull):
		return fmt.Errorf("origin: %d are waiting for a permit already: %w", maxQueue, ErrBusy)
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("origin: no permit within %v: %w", timeout, ErrBusy)
	}
	return nil
}

func (p permits) release() { p.Release("") }
