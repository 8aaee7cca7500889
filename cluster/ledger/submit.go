package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Submit has a command committed on a majority, synced, and carried out, from
// any board. It blocks at most until ctx ends, or Run does. The reply is the
// machine's; index is the entry that the command is in. Errors are of the
// kinds above: ErrUncertain alone leaves open whether the command was taken.
// A command is never carried out twice by one Submit.
func (l *Ledger) Submit(ctx context.Context, command []byte) (reply []byte, index uint64, err error) {
	if len(command) > MaxCommand {
		return nil, 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(command), MaxCommand)
	}
	if err := l.checkAccepting(); err != nil {
		return nil, 0, err
	}
	it, err := l.queue.put(command)
	if err != nil {
		return nil, 0, err
	}
	select {
	case o := <-it.result:
		return o.reply, o.index, o.err
	case <-ctx.Done():
	case <-l.stopped:
	}
	if it.state.CompareAndSwap(commandQueued, commandAbandoned) {
		if ctx.Err() == nil {
			return nil, 0, ErrStopped
		}
		return nil, 0, fmt.Errorf("%w: %w", ErrNoMajority, ctx.Err())
	}
	it.state.Store(commandAbandoned)
	select {
	case o := <-it.result: // it came at the last moment
		return o.reply, o.index, o.err
	default:
	}
	if ctx.Err() == nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrUncertain, ErrStopped)
	}
	return nil, 0, fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
}

// checkAccepting says why no command can be taken now, if so.
func (l *Ledger) checkAccepting() error {
	select {
	case <-l.stopped:
		return ErrStopped
	default:
	}
	if f := l.foreign.joinedNames(); f != "" {
		return fmt.Errorf("%w: %s belong to another one", ErrTwoLedgers, f)
	}
	if l.runningRaft() == nil {
		return l.notFounded()
	}
	if h := l.applier.state().halted; h != "" {
		return fmt.Errorf("%w: %s", ErrHalted, h)
	}
	return nil
}

// pendingBatches are the batches of this board that are under way, by which they are
// known again when they are carried out here.
type pendingBatches struct {
	mu sync.Mutex // guards by
	by map[batchID]chan batchResponse
}

func (w *pendingBatches) register(id batchID) chan batchResponse {
	c := make(chan batchResponse, 1)
	w.mu.Lock()
	w.by[id] = c
	w.mu.Unlock()
	return c
}

func (w *pendingBatches) drop(id batchID) {
	w.mu.Lock()
	delete(w.by, id)
	w.mu.Unlock()
}

// resolve is called for every batch that is carried out on this board.
func (w *pendingBatches) resolve(id batchID, index uint64, replies [][]byte) {
	w.mu.Lock()
	c := w.by[id]
	delete(w.by, id)
	w.mu.Unlock()
	if c != nil {
		c <- batchResponse{Status: batchDone, Index: index, Replies: replies}
	}
}

// runSender takes batches and brings each to its end, until ctx ends.
func (l *Ledger) runSender(ctx context.Context) {
	for {
		batch := l.queue.nextBatch(ctx, l.cfg.Timing.BatchWait)
		if batch == nil {
			return
		}
		for len(batch) > 0 && ctx.Err() == nil {
			batch = l.sendBatch(ctx, batch)
		}
		for _, it := range batch {
			it.result <- commandResult{err: ErrStopped}
		}
	}
}

// sendBatch sends a batch to the leader once and waits until it is known what
// became of it. It returns the commands that were surely not taken and that
// somebody still waits for: they can be sent again.
func (l *Ledger) sendBatch(ctx context.Context, batch []*pendingCommand) []*pendingCommand {
	leader, term, ok := l.currentLeader()
	if !ok {
		l.sleep(ctx, l.cfg.Timing.Retry)
		return withoutAbandoned(batch)
	}
	flying := batch[:0]
	for _, it := range batch {
		if it.state.CompareAndSwap(commandQueued, commandInFlight) {
			flying = append(flying, it)
		}
	}
	if len(flying) == 0 {
		return nil
	}
	ask := batchRequest{Term: term, ID: batchID{l.origin, l.lastBatch.Add(1)}}
	for _, it := range flying {
		ask.Commands = append(ask.Commands, it.command)
	}
	said := l.deliverBatch(ctx, leader, ask, flying)
	switch said.Status {
	case batchDone:
		if len(said.Replies) != len(flying) {
			failCommands(flying, fmt.Errorf("%w: %d replies to %d commands", ErrUncertain, len(said.Replies), len(flying)))
			return nil
		}
		for i, it := range flying {
			it.result <- commandResult{reply: said.Replies[i], index: said.Index}
		}
		return nil
	case batchRefused:
		var again []*pendingCommand
		for _, it := range flying {
			if it.state.CompareAndSwap(commandInFlight, commandQueued) {
				again = append(again, it)
			}
		}
		l.sleep(ctx, l.cfg.Timing.Retry)
		return withoutAbandoned(again)
	case batchHalted:
		if said.Index > 0 { // it may be committed
			failCommands(flying, fmt.Errorf("%w (%w): %s", ErrHalted, ErrUncertain, said.Text))
			return nil
		}
		failCommands(flying, fmt.Errorf("%w: %s", ErrHalted, said.Text))
	case batchTwoLedgers:
		failCommands(flying, fmt.Errorf("%w: %s", ErrTwoLedgers, said.Text))
	default:
		failCommands(flying, fmt.Errorf("%w: %s", ErrUncertain, said.Text))
	}
	return nil
}

func failCommands(items []*pendingCommand, err error) {
	for _, it := range items {
		it.result <- commandResult{err: err}
	}
}

func withoutAbandoned(batch []*pendingCommand) []*pendingCommand {
	var keep []*pendingCommand
	for _, it := range batch {
		if it.state.Load() == commandQueued {
			keep = append(keep, it)
		}
	}
	return keep
}

// deliverBatch gives the batch to the leader of a term and stays with it until its
// fate is known. If the answer is lost, the batch is looked for among what is
// carried out here, and offered again to the same leader, who knows it again.
// Once a later term has begun without it, it was surely not taken. The answer
// is unsure only if nobody waits for it any more or this board has lost sight.
func (l *Ledger) deliverBatch(ctx context.Context, leader string, ask batchRequest, flying []*pendingCommand) batchResponse {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := l.pending.register(ask.ID)
	defer l.pending.drop(ask.ID)
	restores := l.applier.state().restores
	body := ask.encode()
	offered := make(chan batchResponse, 1)
	offer := func() { offered <- l.forwardBatch(ctx, leader, ask, body) }
	go offer()
	var again <-chan time.Time
	doubt := false // an offer may have got through
	for {
		st := l.applier.state()
		select {
		case said := <-seen:
			return said
		default:
		}
		switch {
		case st.restores != restores:
			return batchResponse{Status: batchUncertain, Text: "this board was filled from a snapshot meanwhile"}
		case st.term > ask.Term:
			return batchResponse{Status: batchRefused, Text: "the leader was lost"}
		case st.halted != "": // the others may carry it out
			return batchResponse{Status: batchHalted, Index: max(1, st.index), Text: st.halted}
		}
		select {
		case said := <-seen:
			return said
		case said := <-offered:
			if said.Status == batchDone || (said.Status != batchUncertain && !doubt) {
				return said
			}
			doubt = true
			again = time.After(4 * l.cfg.Timing.Retry)
		case <-again:
			go offer()
		case <-st.changed:
		case <-ctx.Done():
			return batchResponse{Status: batchUncertain, Text: ctx.Err().Error()}
		}
		if allAbandoned(flying) {
			return batchResponse{Status: batchUncertain, Text: "nobody waits for it"}
		}
	}
}

func allAbandoned(flying []*pendingCommand) bool {
	for _, it := range flying {
		if it.state.Load() == commandInFlight {
			return false
		}
	}
	return true
}

// forwardBatch gives a batch to the leader, who may be this board. What goes wrong
// on the way is unsure, unless the link knows better.
func (l *Ledger) forwardBatch(ctx context.Context, leader string, ask batchRequest, body []byte) batchResponse {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.RPC)
	defer cancel()
	if leader == l.cfg.Name {
		return l.proposeBatch(ctx, ask)
	}
	b, err := l.cfg.Transport.Call(ctx, leader, kindSubmit, body)
	if errors.Is(err, ErrNotSent) {
		return batchResponse{Status: batchRefused, Text: err.Error()}
	}
	var said batchResponse
	if err == nil {
		said, err = decodeBatchResponse(b)
	}
	if err == nil && said.Status == batchDone && len(said.Replies) != len(ask.Commands) {
		err = fmt.Errorf("%w: %d replies to %d commands", errEntry, len(said.Replies), len(ask.Commands))
	}
	if err != nil {
		return batchResponse{Status: batchUncertain, Text: err.Error()}
	}
	return said
}

func (l *Ledger) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
