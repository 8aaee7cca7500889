package ledger

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the queue in which commands wait for a batch.
const (
	maxQueued      = 4096    // commands
	maxQueuedBytes = 4 << 20 // bytes of them together
	// maxBatchesInFlight is how many batches of one board may be under way. Two keep the
	// leader's disk busy while replies travel; four make up for stragglers.
	maxBatchesInFlight = 4
)

// pendingCommand is one command on its way. While it waits, the one who gave it may
// take it back; while it is in flight, nobody knows.
type pendingCommand struct {
	command []byte
	state   atomic.Int32
	result  chan commandResult // holds one
}

const (
	commandQueued    int32 = iota // surely not taken
	commandInFlight               // perhaps taken
	commandAbandoned              // nobody waits for it any more
)

type commandResult struct {
	reply []byte
	index uint64
	err   error
}

// commandQueue is where commands wait for a batch to leave.
type commandQueue struct {
	mu    sync.Mutex // guards items, bytes
	items []*pendingCommand
	bytes int
	ready chan struct{} // holds one: something came
}

func newQueue() *commandQueue { return &commandQueue{ready: make(chan struct{}, 1)} }

// put adds a command, or returns ErrBusy.
func (q *commandQueue) put(command []byte) (*pendingCommand, error) {
	it := &pendingCommand{command: command, result: make(chan commandResult, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) >= maxQueued || q.bytes+len(command) > maxQueuedBytes {
		return nil, ErrBusy
	}
	q.items = append(q.items, it)
	q.bytes += len(command)
	q.signalReady()
	return it, nil
}

func (q *commandQueue) signalReady() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// hasFullBatch reports whether a whole batch waits.
func (q *commandQueue) hasFullBatch() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) >= maxBatchCommands || q.bytes >= maxBatchBytes
}

// popBatch removes up to a batch of commands that somebody still waits for.
func (q *commandQueue) popBatch() []*pendingCommand {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []*pendingCommand
	size, n := 0, 0
	for _, it := range q.items {
		if len(batch) == maxBatchCommands || size+len(it.command) > maxBatchBytes {
			break
		}
		n++
		q.bytes -= len(it.command)
		if it.state.Load() != commandQueued {
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
		q.signalReady()
	}
	return batch
}

// nextBatch waits until there is something, then a little for company, and takes a
// batch. It is nil when ctx has ended.
func (q *commandQueue) nextBatch(ctx context.Context, gather time.Duration) []*pendingCommand {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.ready:
		}
		if !q.hasFullBatch() {
			select {
			case <-ctx.Done():
				q.signalReady()
				return nil
			case <-time.After(gather):
			}
		}
		if batch := q.popBatch(); len(batch) > 0 {
			return batch
		}
	}
}

// failAll ends every waiting command.
func (q *commandQueue) failAll(err error) {
	q.mu.Lock()
	items := q.items
	q.items, q.bytes = nil, 0
	q.mu.Unlock()
	for _, it := range items {
		it.result <- commandResult{err: err}
	}
}
