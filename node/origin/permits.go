package origin

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// maxQueue bounds the requests that wait for one origin on one board. Each
// holds a client's connection; who comes beyond it is told at once.
const maxQueue = 512

// permits are those that one board has at an origin. Their number may change at
// any time: requests above a lowered limit end by themselves.
type permits struct {
	mu    sync.Mutex // guards what follows
	limit int
	used  int
	queue list.List // of chan struct{}, closed when its owner has a place
}

// setLimit gives the board another number of places.
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

// grantWaiting gives free places to those who have waited longest. It needs mu.
func (p *permits) grantWaiting() {
	for p.used < p.limit && p.queue.Len() > 0 {
		p.used++
		close(p.queue.Remove(p.queue.Front()).(chan struct{}))
	}
}

// acquire waits for a place, for at most the given time. urgent goes before all
// who wait.
func (p *permits) acquire(ctx context.Context, patience time.Duration, urgent bool) error {
	p.mu.Lock()
	if p.used < p.limit && p.queue.Len() == 0 {
		p.used++
		p.mu.Unlock()
		return nil
	}
	if p.queue.Len() >= maxQueue {
		p.mu.Unlock()
		return fmt.Errorf("origin: %d requests wait already: %w", maxQueue, ErrBusy)
	}
	granted := make(chan struct{})
	var waiting *list.Element
	if urgent {
		waiting = p.queue.PushFront(granted)
	} else {
		waiting = p.queue.PushBack(granted)
	}
	p.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	var err error
	select {
	case <-granted:
		return nil
	case <-timer.C:
		err = fmt.Errorf("origin: no place for a request within %v: %w", patience, ErrBusy)
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

// release gives a place back.
func (p *permits) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	p.grantWaiting()
}
