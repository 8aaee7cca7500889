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
	if err := l.takes(); err != nil {
		return nil, 0, err
	}
	it, err := l.queue.put(command)
	if err != nil {
		return nil, 0, err
	}
	select {
	case o := <-it.out:
		return o.reply, o.index, o.err
	case <-ctx.Done():
	case <-l.stopped:
	}
	if it.stage.CompareAndSwap(waiting, left) {
		if ctx.Err() == nil {
			return nil, 0, ErrStopped
		}
		return nil, 0, fmt.Errorf("%w: %w", ErrNoMajority, ctx.Err())
	}
	it.stage.Store(left)
	select {
	case o := <-it.out: // it came at the last moment
		return o.reply, o.index, o.err
	default:
	}
	if ctx.Err() == nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrUncertain, ErrStopped)
	}
	return nil, 0, fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
}

// takes says why no command can be taken now, if so.
func (l *Ledger) takes() error {
	select {
	case <-l.stopped:
		return ErrStopped
	default:
	}
	if f := l.foreign.text(); f != "" {
		return fmt.Errorf("%w: %s belong to another one", ErrTwoLedgers, f)
	}
	if l.live() == nil {
		return l.notFounded()
	}
	if h := l.applier.state().halted; h != "" {
		return fmt.Errorf("%w: %s", ErrHalted, h)
	}
	return nil
}

// watches are the batches of this board that are under way, by which they are
// known again when they are carried out here.
type watches struct {
	mu sync.Mutex // guards by
	by map[batchID]chan batchSaid
}

func (w *watches) add(id batchID) chan batchSaid {
	c := make(chan batchSaid, 1)
	w.mu.Lock()
	w.by[id] = c
	w.mu.Unlock()
	return c
}

func (w *watches) drop(id batchID) {
	w.mu.Lock()
	delete(w.by, id)
	w.mu.Unlock()
}

// settle is called for every batch that is carried out on this board.
func (w *watches) settle(id batchID, index uint64, replies [][]byte) {
	w.mu.Lock()
	c := w.by[id]
	delete(w.by, id)
	w.mu.Unlock()
	if c != nil {
		c <- batchSaid{Verdict: done, Index: index, Replies: replies}
	}
}

// fly takes batches and brings each to its end, until ctx ends.
func (l *Ledger) fly(ctx context.Context) {
	for {
		batch := l.queue.next(ctx, l.cfg.Timing.Gather)
		if batch == nil {
			return
		}
		for len(batch) > 0 && ctx.Err() == nil {
			batch = l.attempt(ctx, batch)
		}
		for _, it := range batch {
			it.out <- outcome{err: ErrStopped}
		}
	}
}

// attempt sends a batch to the leader once and waits until it is known what
// became of it. It returns the commands that were surely not taken and that
// somebody still waits for: they can be sent again.
func (l *Ledger) attempt(ctx context.Context, batch []*item) []*item {
	leader, term, ok := l.leader()
	if !ok {
		l.pause(ctx, l.cfg.Timing.Resend)
		return stillWaiting(batch)
	}
	flying := batch[:0]
	for _, it := range batch {
		if it.stage.CompareAndSwap(waiting, inFlight) {
			flying = append(flying, it)
		}
	}
	if len(flying) == 0 {
		return nil
	}
	ask := batchAsk{Term: term, ID: batchID{l.origin, l.number.Add(1)}}
	for _, it := range flying {
		ask.Commands = append(ask.Commands, it.command)
	}
	said := l.bring(ctx, leader, ask, flying)
	switch said.Verdict {
	case done:
		if len(said.Replies) != len(flying) {
			end(flying, fmt.Errorf("%w: %d replies to %d commands", ErrUncertain, len(said.Replies), len(flying)))
			return nil
		}
		for i, it := range flying {
			it.out <- outcome{reply: said.Replies[i], index: said.Index}
		}
		return nil
	case refused:
		var again []*item
		for _, it := range flying {
			if it.stage.CompareAndSwap(inFlight, waiting) {
				again = append(again, it)
			}
		}
		l.pause(ctx, l.cfg.Timing.Resend)
		return stillWaiting(again)
	case haltedNow:
		if said.Index > 0 { // it may be committed
			end(flying, fmt.Errorf("%w (%w): %s", ErrHalted, ErrUncertain, said.Text))
			return nil
		}
		end(flying, fmt.Errorf("%w: %s", ErrHalted, said.Text))
	case foreignly:
		end(flying, fmt.Errorf("%w: %s", ErrTwoLedgers, said.Text))
	default:
		end(flying, fmt.Errorf("%w: %s", ErrUncertain, said.Text))
	}
	return nil
}

func end(items []*item, err error) {
	for _, it := range items {
		it.out <- outcome{err: err}
	}
}

func stillWaiting(batch []*item) []*item {
	var keep []*item
	for _, it := range batch {
		if it.stage.Load() == waiting {
			keep = append(keep, it)
		}
	}
	return keep
}

// bring gives the batch to the leader of a term and stays with it until its
// fate is known. If the answer is lost, the batch is looked for among what is
// carried out here, and offered again to the same leader, who knows it again.
// Once a later term has begun without it, it was surely not taken. The answer
// is unsure only if nobody waits for it any more or this board has lost sight.
func (l *Ledger) bring(ctx context.Context, leader string, ask batchAsk, flying []*item) batchSaid {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := l.watches.add(ask.ID)
	defer l.watches.drop(ask.ID)
	restores := l.applier.state().restores
	body := ask.encode()
	offered := make(chan batchSaid, 1)
	offer := func() { offered <- l.offer(ctx, leader, ask, body) }
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
			return batchSaid{Verdict: unsure, Text: "this board was filled from a snapshot meanwhile"}
		case st.term > ask.Term:
			return batchSaid{Verdict: refused, Text: "the leader was lost"}
		case st.halted != "": // the others may carry it out
			return batchSaid{Verdict: haltedNow, Index: max(1, st.index), Text: st.halted}
		}
		select {
		case said := <-seen:
			return said
		case said := <-offered:
			if said.Verdict == done || (said.Verdict != unsure && !doubt) {
				return said
			}
			doubt = true
			again = time.After(4 * l.cfg.Timing.Resend)
		case <-again:
			go offer()
		case <-st.changed:
		case <-ctx.Done():
			return batchSaid{Verdict: unsure, Text: ctx.Err().Error()}
		}
		if nobodyWaits(flying) {
			return batchSaid{Verdict: unsure, Text: "nobody waits for it"}
		}
	}
}

func nobodyWaits(flying []*item) bool {
	for _, it := range flying {
		if it.stage.Load() == inFlight {
			return false
		}
	}
	return true
}

// offer gives a batch to the leader, who may be this board. What goes wrong
// on the way is unsure, unless the link knows better.
func (l *Ledger) offer(ctx context.Context, leader string, ask batchAsk, body []byte) batchSaid {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Wire)
	defer cancel()
	if leader == l.cfg.Name {
		return l.propose(ctx, ask)
	}
	b, err := l.cfg.Link.Ask(ctx, leader, kindSubmit, body)
	if errors.Is(err, ErrNotSent) {
		return batchSaid{Verdict: refused, Text: err.Error()}
	}
	var said batchSaid
	if err == nil {
		said, err = decodeBatchSaid(b)
	}
	if err == nil && said.Verdict == done && len(said.Replies) != len(ask.Commands) {
		err = fmt.Errorf("%w: %d replies to %d commands", errEntry, len(said.Replies), len(ask.Commands))
	}
	if err != nil {
		return batchSaid{Verdict: unsure, Text: err.Error()}
	}
	return said
}

func (l *Ledger) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
