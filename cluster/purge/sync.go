// Package purge replicates purges over a rack. Each board has a log of the purges of every
// process, and boards exchange what the other lacks, by version vector, once per second and after
// each new purge (anti-entropy). It also holds the lease on memory: a board may answer from its cache only if it
// had contact with a majority of its rack a moment ago.
//
// The log (log.go) is a pure data structure. The [Syncer] moves it over the rack link: sync.go, the
// messages in exchange.go, waiting for other boards in confirm.go, the lease in lease.go.
package purge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"bramble/cluster/link"
)

// retryPause is the pause before a purge is sent again to a board that has not
// applied it.
const retryPause = 100 * time.Millisecond

// SyncTiming sets how fresh a board's knowledge of purges must be.
type SyncTiming struct {
	// Interval is the time between two exchanges with the same peer. Every board
	// exchanges with every other one, so the work of each grows with the rack.
	Interval time.Duration
	// Lease limits how long a board may answer from memory after its last contact
	// with a majority of its rack: three intervals, so that one lost exchange does
	// no harm.
	Lease time.Duration
	// MaxPause is the gap between two ticks after which a board concludes that it
	// was stopped while the others continued. It must be shorter than the time for
	// which Spread tries to reach a board: a board that was reported absent must
	// notice that it was stopped.
	MaxPause time.Duration
	// ExchangeTimeout bounds one exchange with one board, however it answers.
	ExchangeTimeout time.Duration
}

// DefaultTiming suits a rack of 2 to 32 boards.
func DefaultTiming() SyncTiming {
	return SyncTiming{Interval: time.Second, Lease: 3 * time.Second, MaxPause: 800 * time.Millisecond, ExchangeTimeout: link.DefaultPeerTimeout / 2}
}

// Roster lists the boards of the rack.
type Roster interface {
	// Peers returns the live boards without this one.
	Peers() []link.Peer
	// KnownCount counts this board, the live ones, and the dead ones that have
	// neither left nor been forgotten.
	KnownCount() int
}

// Caller sends a request to a board over the rack link (link.Link.Control).
type Caller interface {
	Control(ctx context.Context, board string, r *http.Request) (*http.Response, error)
}

// Syncer synchronises the purge logs of a rack. Once per second each board sends
// every other one the digest of what it has applied. If two digests differ, the
// boards exchange the missing purges. A new purge is sent at once, in the same way.
//
// It also holds the lease on this board's memory (LeaseValid). A board that was
// stopped or cut off first applies the purges that it missed (RenewLease), or must
// ask the origin.
type Syncer struct {
	purges *ReplicatedLog
	caller Caller
	roster Roster
	timing SyncTiming
	logger *slog.Logger
	start  time.Time // Now counts from it

	lease    atomic.Int64 // the lease ends at this time, in nanoseconds of Now
	lastTick atomic.Int64 // the time of this process's last tick, likewise

	catchUps singleflight.Group // by board
	renewals singleflight.Group

	mu                sync.Mutex               // guards what follows
	contact           map[string]time.Duration // when the last good exchange with a board began
	contactsFrom      time.Duration            // contacts that began earlier do not count
	renewFailed       time.Duration            // when RenewLease last found no majority; 0 = it found one
	vectors           map[string]Vector        // what each board had applied at the last exchange
	confirmSemaphores map[string]*semaphore.Weighted
}

// NewSyncer returns a Syncer. Its lease holds only while Run runs.
func NewSyncer(purges *ReplicatedLog, caller Caller, roster Roster, timing SyncTiming, logger *slog.Logger) *Syncer {
	s := &Syncer{
		purges: purges, caller: caller, roster: roster, timing: timing, logger: logger,
		start:             time.Now(),
		contact:           map[string]time.Duration{},
		vectors:           map[string]Vector{},
		confirmSemaphores: map[string]*semaphore.Weighted{},
	}
	s.updateLease()
	return s
}

// Now returns the time since the Syncer was made, by a monotonic clock.
func (s *Syncer) Now() time.Duration { return time.Since(s.start) }

// Run exchanges with every peer once in an interval until ctx ends.
func (s *Syncer) Run(ctx context.Context) {
	ticker := time.NewTicker(min(s.timing.MaxPause/4, s.timing.Interval))
	defer ticker.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	busy := make(map[string]*atomic.Bool) // by board: an exchange of Run is under way
	next := s.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.noteTick()
		if s.Now() < next {
			continue
		}
		next = s.Now() + s.timing.Interval
		peers := s.roster.Peers()
		s.dropAbsent(peers, busy)
		s.updateLease()
		for _, peer := range peers {
			flag := busy[peer.Name]
			if flag == nil {
				flag = new(atomic.Bool)
				busy[peer.Name] = flag
			}
			if !flag.CompareAndSwap(false, true) {
				continue // the previous exchange is still under way
			}
			running.Go(func() {
				defer flag.Store(false)
				s.exchangeInBackground(ctx, peer.Name)
			})
		}
	}
}

// dropAbsent drops the state of boards that are not peers any more.
func (s *Syncer) dropAbsent(peers []link.Peer, busy map[string]*atomic.Bool) {
	live := make(map[string]bool, len(peers))
	for _, peer := range peers {
		live[peer.Name] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.vectors, func(name string, _ Vector) bool { return !live[name] })
	maps.DeleteFunc(s.confirmSemaphores, func(name string, _ *semaphore.Weighted) bool { return !live[name] })
	maps.DeleteFunc(s.contact, func(name string, _ time.Duration) bool { return !live[name] })
	maps.DeleteFunc(busy, func(name string, flag *atomic.Bool) bool { return !live[name] && !flag.Load() })
}

// exchangeInBackground exchanges with a board and logs a failure, unless the link
// cannot reach the board.
func (s *Syncer) exchangeInBackground(ctx context.Context, board string) {
	if err := s.exchange(ctx, board, false); err != nil && ctx.Err() == nil && !isUnreachable(err) {
		s.logger.Warn("purges: exchange failed", "board", board, "error", err)
	}
}

// isUnreachable reports whether err means that the link cannot reach the board.
func isUnreachable(err error) bool {
	return errors.Is(err, link.ErrPeerSilent) || errors.Is(err, link.ErrUnknownPeer)
}

// Issue applies a purge here and numbers it. The other boards apply it at the
// next exchange, or before they answer this board's next request.
func (s *Syncer) Issue(purge Purge) error { return s.purges.Issue(purge) }

// sleep waits for d and returns true, or false as soon as ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// CatchUp makes this board apply every purge that another board has applied, whose
// digest came with a request. Concurrent callers for the same board share one
// exchange.
func (s *Syncer) CatchUp(ctx context.Context, board string, digest uint64) error {
	if s.purges.Digest() == digest {
		return nil
	}
	exchanged := s.catchUps.DoChan(board, func() (any, error) {
		return nil, s.exchange(context.WithoutCancel(ctx), board, false)
	})
	select {
	case result := <-exchanged:
		return result.Err
	case <-ctx.Done():
		return fmt.Errorf("catching up with %s: %w", board, ctx.Err())
	}
}

// Digest returns the digest of the applied purges. Every request to another board
// carries it, for that board's CatchUp.
func (s *Syncer) Digest() uint64 { return s.purges.Digest() }
