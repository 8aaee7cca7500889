package purge

import (
	"context"
	"slices"
	"sync"
	"time"
)

// LeaseValid reports whether this board's memory can be answered from now. It
// looks at the clock.
func (p *Syncer) LeaseValid() bool { return p.LeaseValidAt(p.Now()) }

// LeaseValidAt reports the same for a reading of Now. It is called for every hit,
// and costs two atomic loads.
func (p *Syncer) LeaseValidAt(now time.Duration) bool {
	return int64(now) < p.lease.Load() && now-time.Duration(p.tick.Load()) < p.timing.MaxPause
}

// noteTick notes that this process runs, and ends the lease if it did not for a while.
func (p *Syncer) noteTick() {
	now := p.Now()
	if now-time.Duration(p.tick.Load()) >= p.timing.MaxPause {
		p.revokeLease()
	}
	p.tick.Store(int64(now))
}

// revokeLease ends the lease: every contact so far may lie before a gap.
func (p *Syncer) revokeLease() {
	p.mu.Lock()
	clear(p.contact)
	p.contactsFrom = p.Now()
	p.mu.Unlock()
	p.updateLease()
}

// noteContact notes contact with a board that began at a given time.
func (p *Syncer) noteContact(board string, began time.Duration) {
	p.mu.Lock()
	if last, known := p.contact[board]; began >= p.contactsFrom && (!known || began > last) {
		p.contact[board] = began
	}
	p.mu.Unlock()
	p.updateLease()
}

// updateLease works out until when this board's memory can be believed: the time of
// the oldest contact that a majority needs, plus the lease.
func (p *Syncer) updateLease() {
	others := p.roster.Known() / 2 // how many of them make a majority with us
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

// RenewLease gets in touch with the rack now, so that Believable may be true again,
// and returns whether it is. Callers share one attempt, which takes at most half
// a peer timeout; after one that failed the next is made a pulse later, so
// that a board that is cut off does not make every client wait.
func (p *Syncer) RenewLease(ctx context.Context) bool {
	p.noteTick()
	p.mu.Lock()
	if p.renewFailed > 0 && p.Now()-p.renewFailed < p.timing.Interval {
		p.mu.Unlock()
		return p.LeaseValid()
	}
	s := p.syncing
	if s != nil {
		p.mu.Unlock()
		select {
		case <-s.done:
		case <-ctx.Done():
		}
		return p.LeaseValid()
	}
	s = &catchUp{done: make(chan struct{})}
	p.syncing = s
	p.mu.Unlock()

	p.exchangeWithAll(context.WithoutCancel(ctx))
	believable := p.LeaseValid()

	p.mu.Lock()
	p.syncing, p.renewFailed = nil, 0
	if !believable {
		p.renewFailed = p.Now()
	}
	p.mu.Unlock()
	close(s.done)
	return believable
}

// exchangeWithAll exchanges with every live board at once and returns when most of
// the rack has answered, or every one has or is known to be silent.
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
