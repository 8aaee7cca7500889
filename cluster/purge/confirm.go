package purge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cluster/link"
)

// Confirm has every live board obey what this one has obeyed, and returns when
// all that answer have, or wait is over; it reports whether all live boards
// have. Unlike Spread it gives up a board at once that the link calls silent: a
// client waits for this.
//
// However many callers there are, one exchange with each board is under way for
// them at a time, and it carries what all of them have issued.
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

// confirmBoard waits for its turn with a board, by when an earlier caller may have
// told it everything.
func (p *Syncer) confirmBoard(ctx context.Context, board string, want Vector) bool {
	turn := p.confirmSlot(board)
	for {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		var err error
		done := p.hasApplied(board, want)
		if !done {
			err = p.exchange(ctx, board, true)
			done = err == nil && p.hasApplied(board, want)
		}
		<-turn
		if done || errors.Is(err, link.ErrPeerSilent) || errors.Is(err, link.ErrUnknownPeer) {
			return done
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(retryPause):
		}
	}
}

// confirmSlot holds one caller of Confirm at a time for a board.
func (p *Syncer) confirmSlot(board string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	turn := p.confirming[board]
	if turn == nil {
		turn = make(chan struct{}, 1)
		p.confirming[board] = turn
	}
	return turn
}

// hasApplied reports whether a board was heard to have obeyed what want says.
func (p *Syncer) hasApplied(board string, want Vector) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vectors[board].Covers(want)
}
