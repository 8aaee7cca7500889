package purge

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// LeaseValid reports whether this board may answer from its memory now. It reads
// the clock.
func (s *Syncer) LeaseValid() bool { return s.LeaseValidAt(s.Now()) }

// LeaseValidAt reports the same for a reading of Now. It is called for every hit,
// and costs two atomic loads.
func (s *Syncer) LeaseValidAt(now time.Duration) bool {
	return int64(now) < s.lease.Load() && now-time.Duration(s.lastTick.Load()) < s.timing.MaxPause
}

// noteTick records a tick: this process is running. It revokes the lease if the process
// was paused for MaxPause or longer.
func (s *Syncer) noteTick() {
	now := s.Now()
	if now-time.Duration(s.lastTick.Load()) >= s.timing.MaxPause {
		s.revokeLease()
	}
	s.lastTick.Store(int64(now))
}

// revokeLease ends the lease: purges may have been missed since any earlier contact.
func (s *Syncer) revokeLease() {
	s.mu.Lock()
	clear(s.contact)
	s.contactsFrom = s.Now()
	s.mu.Unlock()
	s.updateLease()
}

// noteContact records a successful exchange with a board and when it began.
func (s *Syncer) noteContact(board string, began time.Duration) {
	s.mu.Lock()
	if last, known := s.contact[board]; began >= s.contactsFrom && (!known || began > last) {
		s.contact[board] = began
	}
	s.mu.Unlock()
	s.updateLease()
}

// updateLease computes when the lease ends: SyncTiming.Lease after the oldest of the
// most recent contacts that form a majority.
func (s *Syncer) updateLease() {
	others := s.roster.KnownCount() / 2 // with this board they are a majority
	s.mu.Lock()
	defer s.mu.Unlock()
	if others == 0 {
		s.lease.Store(int64(s.Now() + s.timing.Lease))
		return
	}
	times := slices.Sorted(maps.Values(s.contact))
	if len(times) < others {
		s.lease.Store(0)
		return
	}
	s.lease.Store(int64(times[len(times)-others] + s.timing.Lease))
}

// RenewLease contacts the rack now and reports whether the lease is valid afterwards.
// Concurrent callers share one attempt, which takes at most ExchangeTimeout.
// After a failed attempt the next one is made an Interval later, so that a board
// that is cut off does not delay every client.
func (s *Syncer) RenewLease(ctx context.Context) bool {
	s.noteTick()
	s.mu.Lock()
	failed := s.renewFailed
	s.mu.Unlock()
	if failed > 0 && s.Now()-failed < s.timing.Interval {
		return s.LeaseValid()
	}
	renewed := s.renewals.DoChan("", func() (any, error) {
		s.exchangeWithAll(context.WithoutCancel(ctx))
		failed := time.Duration(0)
		if !s.LeaseValid() {
			failed = s.Now()
		}
		s.mu.Lock()
		s.renewFailed = failed
		s.mu.Unlock()
		return nil, nil
	})
	select {
	case <-renewed:
	case <-ctx.Done():
	}
	return s.LeaseValid()
}

// exchangeWithAll exchanges with every live board at once. It returns when most
// of the rack has answered, or when every board has answered or failed.
func (s *Syncer) exchangeWithAll(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	for _, peer := range s.roster.Peers() {
		running.Go(func() {
			s.exchangeInBackground(ctx, peer.Name)
			if s.LeaseValid() {
				cancel()
			}
		})
	}
}
