package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Submit commits a command on a majority of the voters, synced to disk, and waits
// until it is applied. It works on any board. It blocks until ctx or Run ends at
// the latest. The reply is the state machine's; index is the entry that holds the
// command. Errors are of the kinds in api.go: only ErrUncertain leaves open whether
// the command was committed. One Submit never applies a command twice.
//
// Submit only queues the command. Another goroutine takes over: runSender takes it from
// the queue with others as a batch, and the leader's proposeBatch commits the batch as
// one log entry. On every board raft's goroutine passes the entry to applier.Apply,
// which calls the state machine, which produces the reply.
func (l *Ledger) Submit(ctx context.Context, command []byte) (reply []byte, index uint64, err error) {
	if len(command) > MaxCommand {
		return nil, 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(command), MaxCommand)
	}
	if err := l.checkAccepting(); err != nil {
		return nil, 0, err
	}
	c, err := l.queue.put(command)
	if err != nil {
		return nil, 0, err
	}
	select {
	case o := <-c.result:
		return o.reply, o.index, o.err
	case <-ctx.Done():
	case <-l.stopped:
	}
	if c.state.CompareAndSwap(commandQueued, commandAbandoned) {
		if ctx.Err() == nil {
			return nil, 0, ErrStopped
		}
		return nil, 0, fmt.Errorf("%w: %w", ErrNoMajority, ctx.Err())
	}
	c.state.Store(commandAbandoned)
	select {
	case o := <-c.result: // at the last moment
		return o.reply, o.index, o.err
	default:
	}
	if ctx.Err() == nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrUncertain, ErrStopped)
	}
	return nil, 0, fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
}

// checkAccepting returns why no command can be accepted now, or nil.
func (l *Ledger) checkAccepting() error {
	select {
	case <-l.stopped:
		return ErrStopped
	default:
	}
	if f := l.otherLedgers.describe(false); f != "" {
		return fmt.Errorf("%w: %s belong to another one", ErrTwoLedgers, f)
	}
	if l.runningRaft() == nil {
		return l.notFounded()
	}
	if h := cmp.Or(l.applier.state().halted, l.describeKept()); h != "" {
		return fmt.Errorf("%w: %s", ErrHalted, h)
	}
	return nil
}

// pendingBatches are the batches of this board that are in flight. A batch is
// resolved when it is applied on this board, if the leader's response is lost.
type pendingBatches struct {
	mu sync.Mutex // guards by
	by map[batchID]chan batchResponse
}

func (p *pendingBatches) register(id batchID) chan batchResponse {
	c := make(chan batchResponse, 1)
	p.mu.Lock()
	p.by[id] = c
	p.mu.Unlock()
	return c
}

func (p *pendingBatches) drop(id batchID) {
	p.mu.Lock()
	delete(p.by, id)
	p.mu.Unlock()
}

// resolve is called for every batch that is applied on this board.
func (p *pendingBatches) resolve(id batchID, index uint64, replies [][]byte) {
	p.mu.Lock()
	c := p.by[id]
	delete(p.by, id)
	p.mu.Unlock()
	if c != nil {
		c <- batchResponse{Status: batchDone, Index: index, Replies: replies}
	}
}

// runSender sends one batch after another until ctx ends. Run starts
// maxBatchesInFlight of them. Each picks up the commands that Submit queued.
func (l *Ledger) runSender(ctx context.Context) {
	for {
		batch := l.queue.nextBatch(ctx, l.cfg.Timing.BatchWait)
		if batch == nil {
			return
		}
		for len(batch) > 0 && ctx.Err() == nil {
			batch = l.sendBatch(ctx, batch)
		}
		for _, c := range batch {
			c.result <- commandResult{err: ErrStopped}
		}
	}
}

// sendBatch sends a batch to the leader once and waits for its outcome. It
// returns the commands that were not committed and are not abandoned: they can be
// sent again.
func (l *Ledger) sendBatch(ctx context.Context, batch []*pendingCommand) []*pendingCommand {
	leader, term, ok := l.currentLeader()
	if !ok {
		sleep(ctx, l.cfg.Timing.Retry)
		return withoutAbandoned(batch)
	}
	inFlight := batch[:0]
	for _, c := range batch {
		if c.state.CompareAndSwap(commandQueued, commandInFlight) {
			inFlight = append(inFlight, c)
		}
	}
	if len(inFlight) == 0 {
		return nil
	}
	request := batchRequest{Term: term, Ledger: l.ledger(), ID: batchID{l.sender, l.lastBatch.Add(1)}}
	for _, c := range inFlight {
		request.Commands = append(request.Commands, c.command)
	}
	response := l.deliverBatch(ctx, leader, request, inFlight)
	switch response.Status {
	case batchDone:
		if len(response.Replies) != len(inFlight) {
			failCommands(inFlight, fmt.Errorf("%w: %d replies to %d commands", ErrUncertain, len(response.Replies), len(inFlight)))
			return nil
		}
		for i, c := range inFlight {
			c.result <- commandResult{reply: response.Replies[i], index: response.Index}
		}
		return nil
	case batchRefused:
		var requeued []*pendingCommand
		for _, c := range inFlight {
			if c.state.CompareAndSwap(commandInFlight, commandQueued) {
				requeued = append(requeued, c)
			}
		}
		sleep(ctx, l.cfg.Timing.Retry)
		return withoutAbandoned(requeued)
	case batchHalted:
		if response.Index > 0 { // it may be committed
			failCommands(inFlight, fmt.Errorf("%w (%w): %s", ErrHalted, ErrUncertain, response.Text))
			return nil
		}
		failCommands(inFlight, fmt.Errorf("%w: %s", ErrHalted, response.Text))
	case batchTwoLedgers:
		failCommands(inFlight, fmt.Errorf("%w: %s", ErrTwoLedgers, response.Text))
	default:
		failCommands(inFlight, fmt.Errorf("%w: %s", ErrUncertain, response.Text))
	}
	return nil
}

func failCommands(commands []*pendingCommand, err error) {
	for _, c := range commands {
		c.result <- commandResult{err: err}
	}
}

func withoutAbandoned(batch []*pendingCommand) []*pendingCommand {
	var queued []*pendingCommand
	for _, c := range batch {
		if c.state.Load() == commandQueued {
			queued = append(queued, c)
		}
	}
	return queued
}

// deliverBatch sends the batch to the leader of a term and waits for its outcome.
// If the response is lost, it watches the batches that this board applies,
// and forwards the batch again to the same leader, which recognises it. Once a later
// term has begun without it, it can never be committed. The result is uncertain only
// if all its commands are abandoned, or a snapshot replaced the entries here.
func (l *Ledger) deliverBatch(ctx context.Context, leader string, request batchRequest, inFlight []*pendingCommand) batchResponse {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	applied := l.pending.register(request.ID)
	defer l.pending.drop(request.ID)
	restores := l.applier.state().restores
	body := request.encode()
	responses := make(chan batchResponse, 1)
	forward := func() { responses <- l.forwardBatch(ctx, leader, request, body) }
	go forward()
	var retry <-chan time.Time
	mayHaveArrived := false // at the leader
	for {
		st := l.applier.state()
		select {
		case response := <-applied:
			return response
		default:
		}
		switch {
		case st.restores != restores:
			return batchResponse{Status: batchUncertain, Text: "this board was restored from a snapshot meanwhile"}
		case st.term > request.Term:
			return batchResponse{Status: batchRefused, Text: "the leader was lost"}
		case st.halted != "": // the others may apply it
			return batchResponse{Status: batchHalted, Index: max(1, st.index), Text: st.halted}
		}
		select {
		case response := <-applied:
			return response
		case response := <-responses:
			if response.Status == batchDone || (response.Status != batchUncertain && !mayHaveArrived) {
				return response
			}
			mayHaveArrived = true
			retry = time.After(4 * l.cfg.Timing.Retry)
		case <-retry:
			go forward()
		case <-st.changed:
		case <-ctx.Done():
			return batchResponse{Status: batchUncertain, Text: ctx.Err().Error()}
		}
		if allAbandoned(inFlight) {
			return batchResponse{Status: batchUncertain, Text: "no caller waits for it any more"}
		}
	}
}

func allAbandoned(inFlight []*pendingCommand) bool {
	for _, c := range inFlight {
		if c.state.Load() == commandInFlight {
			return false
		}
	}
	return true
}

// forwardBatch sends a batch to the leader, which may be this board. If the call fails,
// the result is uncertain, unless the transport reports that nothing was sent.
func (l *Ledger) forwardBatch(ctx context.Context, leader string, request batchRequest, body []byte) batchResponse {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
	defer cancel()
	if leader == l.cfg.Name {
		return l.proposeBatch(ctx, request)
	}
	b, err := l.cfg.Transport.Call(ctx, leader, kindSubmit, body)
	if errors.Is(err, ErrNotSent) {
		return batchResponse{Status: batchRefused, Text: err.Error()}
	}
	var response batchResponse
	if err == nil {
		response, err = decodeBatchResponse(b)
	}
	if err == nil && response.Status == batchDone && len(response.Replies) != len(request.Commands) {
		err = fmt.Errorf("%w: %d replies to %d commands", errEntry, len(response.Replies), len(request.Commands))
	}
	if err != nil {
		return batchResponse{Status: batchUncertain, Text: err.Error()}
	}
	return response
}
