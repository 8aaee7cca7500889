package origin

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// maxQueue limits the requests that wait for one origin on one board. Each holds
// a client's connection; further requests fail at once.
const maxQueue = 512

// permits is a semaphore: it bounds the requests that this board sends to one origin at
// once, or its connections there. golang.org/x/sync/semaphore does not fit, because the
// number of permits changes with the rack and health probes go ahead of the queue.
// Requests above a lowered limit finish normally.
type permits struct {
	mu    sync.Mutex // guards what follows
	limit int
	used  int
	queue list.List // of chan struct{}, closed when its owner has a permit
}

func (p *permits) setLimit(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = n
	p.grantWaiting()
}

func (p *permits) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// grantWaiting grants free permits in the order of the queue. It needs mu.
func (p *permits) grantWaiting() {
	for p.used < p.limit && p.queue.Len() > 0 {
		p.used++
		close(p.queue.Remove(p.queue.Front()).(chan struct{}))
	}
}

// acquire waits for a permit, for at most timeout. An urgent caller goes to the
// front of the queue.
func (p *permits) acquire(ctx context.Context, timeout time.Duration, urgent bool) error {
	p.mu.Lock()
	if p.used < p.limit && p.queue.Len() == 0 {
		p.used++
		p.mu.Unlock()
		return nil
	}
	if p.queue.Len() >= maxQueue {
		p.mu.Unlock()
		return fmt.Errorf("origin: %d are waiting for a permit already: %w", maxQueue, ErrBusy)
	}
	granted := make(chan struct{})
	var waiting *list.Element
	if urgent {
		waiting = p.queue.PushFront(granted)
	} else {
		waiting = p.queue.PushBack(granted)
	}
	p.mu.Unlock()

	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var err error
	select {
	case <-granted:
		return nil
	case <-timer.C:
		err = fmt.Errorf("origin: no permit within %v: %w", timeout, ErrBusy)
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-granted: // at the last moment
		return nil
	default:
		p.queue.Remove(waiting)
		return err
	}
}

func (p *permits) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	p.grantWaiting()
}
