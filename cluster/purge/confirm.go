package purge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Confirm has every live board apply what this one has applied. It returns when
// every board that answers has, or wait is over, and reports whether all live
// boards have. Unlike Spread it gives up at once on a board that the link calls
// silent: a client waits for this.
//
// However many callers there are, at most one exchange with each board is under
// way for them at a time, and it carries what all of them have issued.
func (p *Syncer) Confirm(ctx context.Context, wait time.Duration) bool {
	peers := p.roster.Peers()
	if len(peers) == 0 {
		return true
	}
	want := p.log.Vector()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var (
		running sync.WaitGroup
		missing atomic.Bool
	)
	for _, peer := range peers {
		running.Go(func() {
			if !p.confirmBoard(ctx, peer.Name, want) {
				missing.Store(true)
			}
		})
	}
	running.Wait()
	return !missing.Load()
}

// confirmBoard waits for the board's slot. By then the exchange of an earlier
// caller may have sent the board everything.
func (p *Syncer) confirmBoard(ctx context.Context, board string, want Vector) bool {
	slot := p.confirmSlot(board)
	for {
		if slot.Acquire(ctx, 1) != nil {
			return false
		}
		var err error
		done := p.hasApplied(board, want)
		if !done {
			err = p.exchange(ctx, board, true)
			done = err == nil && p.hasApplied(board, want)
		}
		slot.Release(1)
		if done || isUnreachable(err) {
			return done
		}
		if !sleep(ctx, retryPause) {
			return false
		}
	}
}

// confirmSlot returns the semaphore that admits one caller of Confirm at a time
// for a board.
func (p *Syncer) confirmSlot(board string) *semaphore.Weighted {
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := p.confirmSlots[board]
	if slot == nil {
		slot = semaphore.NewWeighted(1)
		p.confirmSlots[board] = slot
	}
	return slot
}

// hasApplied reports whether a board, when last heard, had applied all of want.
func (p *Syncer) hasApplied(board string, want Vector) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vectors[board].Covers(want)
}
