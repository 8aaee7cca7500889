package purge

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Confirm makes every live board apply the purges that this one has applied. It returns
// when every board that answers has applied them, or wait is over, and reports whether
// all live boards have. Unlike Spread it gives up at once on a board that the link
// reports as silent, because a client waits for it.
func (s *Syncer) Confirm(ctx context.Context, wait time.Duration) bool {
	_, absent := s.spread(ctx, wait, false)
	return len(absent) == 0
}

// Spread sends every live board the purges that this one has applied, until all have
// applied them or wait is over. It returns which boards have; the others get the purges
// by an exchange before they answer from memory again. Only a board that was silent for
// all of wait is absent: it has been away for longer than SyncTiming.MaxPause, and so notices it.
func (s *Syncer) Spread(ctx context.Context, wait time.Duration) (applied, absent []string) {
	return s.spread(ctx, wait, true)
}

// spread does that. For any number of callers, at most one exchange with each board is
// under way at a time, and it carries the purges of all of them.
func (s *Syncer) spread(ctx context.Context, wait time.Duration, awaitsSilent bool) (applied, absent []string) {
	want := s.purges.Vector()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var (
		running sync.WaitGroup
		mu      sync.Mutex // guards applied, absent
	)
	for _, peer := range s.roster.Peers() {
		running.Go(func() {
			done := s.confirmBoard(ctx, peer.Name, want, awaitsSilent)
			mu.Lock()
			defer mu.Unlock()
			if done {
				applied = append(applied, peer.Name)
			} else {
				absent = append(absent, peer.Name)
			}
		})
	}
	running.Wait()
	slices.Sort(applied)
	slices.Sort(absent)
	return applied, absent
}

// confirmBoard retries until a board has applied all of want, or ctx ends. It waits for
// its turn: by then the exchange of an earlier caller may have sent the board everything.
func (s *Syncer) confirmBoard(ctx context.Context, board string, want Vector, awaitsSilent bool) bool {
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
		if done || !awaitsSilent && isUnreachable(err) {
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
