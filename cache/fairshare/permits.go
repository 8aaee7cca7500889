// Package fairshare has a semaphore that several sites share, so that a site whose requests take
// long does not keep the others waiting. The cache has one for its fetches, the public listener for the
// requests in progress; that of an origin's connections serves one site.
package fairshare

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// ErrFull is the error of a request that may not even wait.
var ErrFull = errors.New("too many wait for a permit already")

// Permits is a semaphore with a bounded queue. Its limit may change; what holds a permit above a lowered one keeps
// it. If it is shared, a site gets a permit, or a place in the queue, only while it has fewer than are free (dynamic
// thresholds, Choudhury and Hahne 1998): a site that gives none back has half of them, the next such site a
// quarter, and so on. What waits for its site's share holds no permit.
type Permits struct {
	maxQueue int
	isShared bool

	mu     sync.Mutex // guards what follows
	limit  int
	used   int
	held   map[string]int // by site; permits
	queued map[string]int // by site; places in queue
	queue  list.List      // of *request, in the order of their turns
}

type request struct {
	site    string
	granted chan struct{} // closed when it has a permit
}

// New returns a semaphore of which maxQueue requests may wait. isShared: by sites.
func New(limit, maxQueue int, isShared bool) *Permits {
	return &Permits{limit: limit, maxQueue: maxQueue, isShared: isShared, held: map[string]int{}, queued: map[string]int{}}
}

// SetLimit changes the number of permits.
func (p *Permits) SetLimit(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = n
	p.grantWaiting()
}

// Counts returns the number of permits, how many of them are held, and how many requests wait.
func (p *Permits) Counts() (limit, used, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit, p.used, p.queue.Len()
}

// IsFull reports whether a request of the site may not wait.
func (p *Permits) IsFull(site string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.hasShare(p.queued[site], p.maxQueue-p.queue.Len())
}

// hasShare reports whether a site that has some may take one more of those that are free.
func (p *Permits) hasShare(has, free int) bool { return free > 0 && (!p.isShared || has < free) }

// TryAcquire takes a permit if the site may have one now.
func (p *Permits) TryAcquire(site string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(site)
}

// take does what TryAcquire does. It needs mu.
func (p *Permits) take(site string) bool {
	if !p.hasShare(p.held[site], p.limit-p.used) {
		return false
	}
	p.used++
	p.held[site]++
	return true
}

// Acquire waits for a permit. It fails with ErrFull, or with ctx's cause. An urgent request goes to the front of the
// queue.
func (p *Permits) Acquire(ctx context.Context, site string, isUrgent bool) error {
	own := &request{site, make(chan struct{})}
	p.mu.Lock()
	if p.take(site) {
		p.mu.Unlock()
		return nil
	}
	if !p.hasShare(p.queued[site], p.maxQueue-p.queue.Len()) {
		p.mu.Unlock()
		return ErrFull
	}
	p.queued[site]++
	at := p.queue.PushBack(own)
	if isUrgent {
		p.queue.MoveToFront(at)
	}
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
		p.leaveQueue(at)
		return context.Cause(ctx)
	}
}

// Release returns a permit of the site.
func (p *Permits) Release(site string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	countDown(p.held, site)
	p.grantWaiting()
}

// grantWaiting grants free permits in the order of the queue. It needs mu.
func (p *Permits) grantWaiting() {
	for at := p.queue.Front(); at != nil && p.used < p.limit; {
		next := at.Next()
		if own := at.Value.(*request); p.take(own.site) {
			p.leaveQueue(at)
			close(own.granted)
		}
		at = next
	}
}

// leaveQueue needs mu.
func (p *Permits) leaveQueue(at *list.Element) {
	countDown(p.queued, p.queue.Remove(at).(*request).site)
}

func countDown(of map[string]int, site string) {
	if of[site]--; of[site] == 0 {
		delete(of, site)
	}
}
