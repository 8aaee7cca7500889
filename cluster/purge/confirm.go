package purge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Confirm makes every live board apply the purges that this one has applied. It returns
// when every board that answers has applied them, or wait is over, and reports whether
// all live boards have. Unlike Spread it gives up at once on a board that the link
// reports as silent, because a client waits for it.
//
// For any number of callers, at most one exchange with each board is under way at a
// time, and it carries the purges of all of them.
func (s *Syncer) Confirm(ctx context.Context, wait time.Duration) bool {
	peers := s.roster.Peers()
	if len(peers) == 0 {
		return true
	}
	want := s.purges.Vector()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var (
		running sync.WaitGroup
		missing atomic.Bool
	)
	for _, peer := range peers {
		running.Go(func() {
			if !s.confirmBoard(ctx, peer.Name, want) {
				missing.Store(true)
			}
		})
	}
	running.Wait()
	return !missing.Load()
}

// confirmBoard waits for its turn with the board. By then the exchange of an earlier
// caller may have sent the board everything.
func (s *Syncer) confirmBoard(ctx context.Context, board string, want Vector) bool {
	turn := s.confirmSemaphore(board)
	for {
		if turn.Acquire(ctx, 1) != nil {
			return false
		}
		var err error
		done := s.hasApplied(board, want)
		if !done {
			err = s.exchange(ctx, board, true)
			done = err == nil && s.hasApplied(board, want)
		}
		turn.Release(1)
		if done || isUnreachable(err) {
			return done
		}
		if !sleep(ctx, retryPause) {
			return false
		}
	}
}

// confirmSemaphore returns the semaphore that admits one caller of Confirm at a time
// for a board.
func (s *Syncer) confirmSemaphore(board string) *semaphore.Weighted {
	s.mu.Lock()
	defer s.mu.Unlock()
	turn := s.confirmSemaphores[board]
	if turn == nil {
		turn = semaphore.NewWeighted(1)
		s.confirmSemaphores[board] = turn
	}
	return turn
}

// hasApplied reports whether a board had applied all of want at the last exchange.
func (s *Syncer) hasApplied(board string, want Vector) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vectors[board].Covers(want)
}
