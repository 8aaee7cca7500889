package purge

import (
	"context"
	"slices"
	"sync"
	"time"
)

// LeaseValid reports whether this board may answer from its memory now. It reads
// the clock.
func (p *Syncer) LeaseValid() bool { return p.LeaseValidAt(p.Now()) }

// LeaseValidAt reports the same for a reading of Now. It is called for every hit,
// and costs two atomic loads.
func (p *Syncer) LeaseValidAt(now time.Duration) bool {
	return int64(now) < p.lease.Load() && now-time.Duration(p.lastTick.Load()) < p.timing.MaxPause
}

// noteTick notes that this process runs. It revokes the lease if the process was
// paused for MaxPause or longer.
func (p *Syncer) noteTick() {
	now := p.Now()
	if now-time.Duration(p.lastTick.Load()) >= p.timing.MaxPause {
		p.revokeLease()
	}
	p.lastTick.Store(int64(now))
}

// revokeLease ends the lease: every contact so far may lie before a gap.
func (p *Syncer) revokeLease() {
	p.mu.Lock()
	clear(p.contact)
	p.contactsFrom = p.Now()
	p.mu.Unlock()
	p.updateLease()
}

// noteContact notes a good exchange with a board and when it began.
func (p *Syncer) noteContact(board string, began time.Duration) {
	p.mu.Lock()
	if last, known := p.contact[board]; began >= p.contactsFrom && (!known || began > last) {
		p.contact[board] = began
	}
	p.mu.Unlock()
	p.updateLease()
}

// updateLease computes when the lease ends: the oldest contact that a majority
// needs, plus SyncTiming.Lease.
func (p *Syncer) updateLease() {
	others := p.roster.Known() / 2 // with this board they are a majority
	p.mu.Lock()
	defer p.mu.Unlock()
	if others == 0 {
		p.lease.Store(int64(p.Now() + p.timing.Lease))
		return
	}
	times := make([]time.Duration, 0, len(p.contact))
	for _, at := range p.contact {
		times = append(times, at)
	}
	if len(times) < others {
		p.lease.Store(0)
		return
	}
	slices.Sort(times)
	p.lease.Store(int64(times[len(times)-others] + p.timing.Lease))
}

// RenewLease contacts the rack now and returns whether the lease is valid then.
// Concurrent callers share one attempt, which takes at most ExchangeTimeout.
// After a failed attempt the next one is made an Interval later, so that a board
// that is cut off does not delay every client.
func (p *Syncer) RenewLease(ctx context.Context) bool {
	p.noteTick()
	p.mu.Lock()
	failed := p.renewFailed
	p.mu.Unlock()
	if failed > 0 && p.Now()-failed < p.timing.Interval {
		return p.LeaseValid()
	}
	renewed := p.renewals.DoChan("", func() (any, error) {
		p.exchangeWithAll(context.WithoutCancel(ctx))
		failed := time.Duration(0)
		if !p.LeaseValid() {
			failed = p.Now()
		}
		p.mu.Lock()
		p.renewFailed = failed
		p.mu.Unlock()
		return nil, nil
	})
	select {
	case <-renewed:
	case <-ctx.Done():
	}
	return p.LeaseValid()
}

// exchangeWithAll exchanges with every live board at once. It returns when most
// of the rack has answered, or when every board has answered or failed.
func (p *Syncer) exchangeWithAll(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	for _, peer := range p.roster.Peers() {
		running.Go(func() {
			p.exchangeInBackground(ctx, peer.Name)
			if p.LeaseValid() {
				cancel()
			}
		})
	}
}
