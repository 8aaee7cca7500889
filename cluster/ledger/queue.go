package ledger

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the queue in which commands wait for a batch.
const (
	maxQueue      = 4096    // commands
	maxQueueBytes = 4 << 20 // bytes of them together
	// flights is how many batches of one board may be under way. Two keep the
	// leader's disk busy while replies travel; four make up for stragglers.
	flights = 4
)

// item is one command on its way. While it waits, the one who gave it may
// take it back; while it is in flight, nobody knows.
type item struct {
	command []byte
	stage   atomic.Int32
	out     chan outcome // holds one
}

const (
	waiting  int32 = iota // surely not taken
	inFlight              // perhaps taken
	left                  // nobody waits for it any more
)

type outcome struct {
	reply []byte
	index uint64
	err   error
}

// queue is where commands wait for a batch to leave.
type queue struct {
	mu    sync.Mutex // guards items, bytes
	items []*item
	bytes int
	ready chan struct{} // holds one: something came
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// put adds a command, or returns ErrBusy.
func (q *queue) put(command []byte) (*item, error) {
	it := &item{command: command, out: make(chan outcome, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) >= maxQueue || q.bytes+len(command) > maxQueueBytes {
		return nil, ErrBusy
	}
	q.items = append(q.items, it)
	q.bytes += len(command)
	q.wake()
	return it, nil
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// full reports whether a whole batch waits.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) >= maxBatch || q.bytes >= maxBatchBytes
}

// take removes up to a batch of commands that somebody still waits for.
func (q *queue) take() []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []*item
	size, n := 0, 0
	for _, it := range q.items {
		if len(batch) == maxBatch || size+len(it.command) > maxBatchBytes {
			break
		}
		n++
		q.bytes -= len(it.command)
		if it.stage.Load() != waiting {
			continue
		}
		batch = append(batch, it)
		size += len(it.command)
	}
	clear(q.items[:n])
	q.items = q.items[n:]
	if len(q.items) == 0 {
		q.items = nil
	} else {
		q.wake()
	}
	return batch
}

// next waits until there is something, then a little for company, and takes a
// batch. It is nil when ctx has ended.
func (q *queue) next(ctx context.Context, gather time.Duration) []*item {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.ready:
		}
		if !q.full() {
			select {
			case <-ctx.Done():
				q.wake()
				return nil
			case <-time.After(gather):
			}
		}
		if batch := q.take(); len(batch) > 0 {
			return batch
		}
	}
}

// fail ends every waiting command.
func (q *queue) fail(err error) {
	q.mu.Lock()
	items := q.items
	q.items, q.bytes = nil, 0
	q.mu.Unlock()
	for _, it := range items {
		it.out <- outcome{err: err}
	}
}
