package ledger

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the queue in which commands wait for a batch.
const (
	maxQueued      = 4096    // commands
	maxQueuedBytes = 4 << 20 // bytes of them together
	// maxBatchesInFlight limits the batches of one board that are in flight. Two
	// keep the leader's disk busy while replies travel; two more cover slow batches.
	maxBatchesInFlight = 4
)

// pendingCommand is one submitted command. Its Submit can withdraw it while it is
// queued. Once it is in flight, its outcome is unknown until the batch's result arrives.
type pendingCommand struct {
	command []byte
	state   atomic.Int32
	result  chan commandResult // holds one
}

const (
	commandQueued    int32 = iota // not committed
	commandInFlight               // perhaps committed
	commandAbandoned              // its Submit has returned
)

type commandResult struct {
	reply []byte
	index uint64
	err   error
}

// commandQueue holds the commands that wait for a batch.
type commandQueue struct {
	mu       sync.Mutex // guards commands, bytes
	commands []*pendingCommand
	bytes    int
	ready    chan struct{} // holds one signal while there are commands
}

func newQueue() *commandQueue { return &commandQueue{ready: make(chan struct{}, 1)} }

// put adds a command, or returns ErrBusy.
func (q *commandQueue) put(command []byte) (*pendingCommand, error) {
	c := &pendingCommand{command: command, result: make(chan commandResult, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.commands) >= maxQueued || q.bytes+len(command) > maxQueuedBytes {
		return nil, ErrBusy
	}
	q.commands = append(q.commands, c)
	q.bytes += len(command)
	q.signalReady()
	return c, nil
}

func (q *commandQueue) signalReady() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// hasFullBatch reports whether the commands fill a batch.
func (q *commandQueue) hasFullBatch() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.commands) >= maxBatchCommands || q.bytes >= maxBatchBytes
}

// popBatch removes and returns up to a batch of commands that are not abandoned.
func (q *commandQueue) popBatch() []*pendingCommand {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []*pendingCommand
	size, n := 0, 0
	for _, c := range q.commands {
		if len(batch) == maxBatchCommands || size+len(c.command) > maxBatchBytes {
			break
		}
		n++
		q.bytes -= len(c.command)
		if c.state.Load() != commandQueued {
			continue
		}
		batch = append(batch, c)
		size += len(c.command)
	}
	clear(q.commands[:n])
	q.commands = q.commands[n:]
	if len(q.commands) == 0 {
		q.commands = nil
	} else {
		q.signalReady()
	}
	return batch
}

// nextBatch waits for a command, then for others to share its batch, and removes
// the batch. It returns nil when ctx has ended.
func (q *commandQueue) nextBatch(ctx context.Context, wait time.Duration) []*pendingCommand {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.ready:
		}
		if !q.hasFullBatch() {
			if sleep(ctx, wait); ctx.Err() != nil {
				q.signalReady()
				return nil
			}
		}
		if batch := q.popBatch(); len(batch) > 0 {
			return batch
		}
	}
}

// failAll completes every queued command with an error.
func (q *commandQueue) failAll(err error) {
	q.mu.Lock()
	commands := q.commands
	q.commands, q.bytes = nil, 0
	q.mu.Unlock()
	for _, c := range commands {
		c.result <- commandResult{err: err}
	}
}
