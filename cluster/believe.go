package cluster

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Believable reports whether this board's memory can be answered from now. It
// looks at the clock.
func (p *Purger) Believable() bool { return p.BelievableAt(p.Now()) }

// BelievableAt reports the same for a reading of Now. It is called for every hit,
// and costs two atomic loads.
func (p *Purger) BelievableAt(now time.Duration) bool {
	return int64(now) < p.lease.Load() && now-time.Duration(p.tick.Load()) < p.timing.Freeze
}

// alive notes that this process runs, and ends the lease if it did not for a while.
func (p *Purger) alive() {
	now := p.Now()
	if now-time.Duration(p.tick.Load()) >= p.timing.Freeze {
		p.void()
	}
	p.tick.Store(int64(now))
}

// void ends the lease: every contact so far may lie before a gap.
func (p *Purger) void() {
	p.mu.Lock()
	clear(p.contact)
	p.since = p.Now()
	p.mu.Unlock()
	p.renew()
}

// touched notes contact with a board that began at a given time.
func (p *Purger) touched(board string, began time.Duration) {
	p.mu.Lock()
	if last, known := p.contact[board]; began >= p.since && (!known || began > last) {
		p.contact[board] = began
	}
	p.mu.Unlock()
	p.renew()
}

// renew works out until when this board's memory can be believed: the time of
// the oldest contact that a majority needs, plus the lease.
func (p *Purger) renew() {
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

// Sync gets in touch with the rack now, so that Believable may be true again,
// and returns whether it is. Callers share one attempt, which takes at most half
// a peer timeout; after one that failed the next is made a pulse later, so
// that a board that is cut off does not make every client wait.
func (p *Purger) Sync(ctx context.Context) bool {
	p.alive()
	p.mu.Lock()
	if p.failed > 0 && p.Now()-p.failed < p.timing.Interval {
		p.mu.Unlock()
		return p.Believable()
	}
	s := p.syncing
	if s != nil {
		p.mu.Unlock()
		select {
		case <-s.done:
		case <-ctx.Done():
		}
		return p.Believable()
	}
	s = &catchUp{done: make(chan struct{})}
	p.syncing = s
	p.mu.Unlock()

	p.pulseAll(context.WithoutCancel(ctx))
	believable := p.Believable()

	p.mu.Lock()
	p.syncing, p.failed = nil, 0
	if !believable {
		p.failed = p.Now()
	}
	p.mu.Unlock()
	close(s.done)
	return believable
}

// pulseAll exchanges with every live board at once and returns when most of
// the rack has answered, or every one has or is known to be silent.
func (p *Purger) pulseAll(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	for _, peer := range p.roster.Peers() {
		running.Go(func() {
			p.beat(ctx, peer.Name)
			if p.Believable() {
				cancel()
			}
		})
	}
}
