package cache

import (
	"container/list"
	"context"
	"sync"
)

// sitePermits is a semaphore that the sites share. With several sites, one gets a permit only while it has fewer than
// are free (dynamic thresholds, Choudhury and Hahne 1998): if its origin hangs it has half of them, the next
// such site a quarter, and so on. A request that waits, for its site's share or for a permit, holds none.
type sitePermits struct {
	isShared bool // by several sites

	mu      sync.Mutex // guards what follows
	free    int
	held    map[string]int // by site
	waiting list.List      // of *permitRequest, oldest first; each for a bounded time
}

type permitRequest struct {
	site    string
	granted chan struct{} // closed when it has its permit
}

func newSitePermits(n int, isShared bool) *sitePermits {
	return &sitePermits{isShared: isShared, free: n, held: map[string]int{}}
}

// tryAcquire takes a permit if the site may have one now. It needs mu.
func (p *sitePermits) tryAcquire(site string) bool {
	if p.free == 0 || p.isShared && p.held[site] >= p.free {
		return false
	}
	p.free--
	p.held[site]++
	return true
}

// acquire waits for a permit until ctx ends; without wait it fails with ErrBusy.
func (p *sitePermits) acquire(ctx context.Context, site string, wait bool) error {
	p.mu.Lock()
	if p.tryAcquire(site) {
		p.mu.Unlock()
		return nil
	}
	if !wait {
		p.mu.Unlock()
		return ErrBusy
	}
	own := &permitRequest{site, make(chan struct{})}
	at := p.waiting.PushBack(own)
	p.mu.Unlock()
	select {
	case <-own.granted:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-own.granted: // at the last moment
		return nil
	default:
		p.waiting.Remove(at)
		return context.Cause(ctx)
	}
}

// release returns a permit of the site, and grants what has waited longest of what may go on.
func (p *sitePermits) release(site string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	if p.held[site]--; p.held[site] == 0 {
		delete(p.held, site)
	}
	for at := p.waiting.Front(); at != nil && p.free > 0; {
		next := at.Next()
		if r := at.Value.(*permitRequest); p.tryAcquire(r.site) {
			p.waiting.Remove(at)
			close(r.granted)
		}
		at = next
	}
}
