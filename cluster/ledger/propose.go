package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// The leader's side of a batch. It runs in the goroutine of the call that brought the
// batch, or in runSender if this board leads.

// batchDedup remembers the batches that this board proposed as the leader of a
// term, so that a batch that arrives twice is not applied twice. Across terms it
// needs no memory: a batch for an earlier term is refused.
type batchDedup struct {
	mu      sync.Mutex // guards the rest
	term    uint64
	senders map[uint64]seenWindow
}

// seenWindow is the deduplication window of one sender: which of its last 64 batch
// numbers were seen. A sender has at most maxBatchesInFlight batches in flight.
type seenWindow struct {
	highest uint64
	seen    uint64 // bit i: highest-i
}

// maxSenders limits the senders remembered in one term. A board is a new sender after
// each start.
const maxSenders = 4096

// admit reports whether the batch is new in this term, and remembers it.
func (d *batchDedup) admit(term uint64, id batchID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if term > d.term || d.senders == nil {
		d.term, d.senders = term, map[uint64]seenWindow{}
	}
	w, known := d.senders[id.Sender]
	if term < d.term || (!known && len(d.senders) >= maxSenders) {
		return false
	}
	switch {
	case id.Number > w.highest:
		if shift := id.Number - w.highest; shift < 64 {
			w.seen <<= shift
		} else {
			w.seen = 0
		}
		w.highest = id.Number
	case w.highest-id.Number >= 64 || w.seen>>(w.highest-id.Number)&1 == 1:
		return false
	}
	w.seen |= 1 << (w.highest - id.Number)
	d.senders[id.Sender] = w
	return true
}

// proposeBatch commits a batch, if this board leads in the batch's term, and waits
// until it is applied here. applier.Apply applies it, in raft's goroutine.
func (l *Ledger) proposeBatch(ctx context.Context, request batchRequest) batchResponse {
	r := l.runningRaft()
	if r == nil {
		return batchResponse{Status: batchRefused, Text: "this board has no ledger running"}
	}
	if f := l.otherLedgers.describe(false); f != "" {
		return batchResponse{Status: batchTwoLedgers, Text: f + " belong to another ledger"}
	}
	if kept := l.describeKept(); kept != "" {
		return batchResponse{Status: batchHalted, Text: kept}
	}
	l.awaitClock(ctx, r, request.Term)
	// Not before: until its term is open, this board is still applying its log, and may find that it differs from it.
	if st := l.applier.state(); st.halted != "" { // another board leads soon, if there is one that does not halt
		return batchResponse{Status: batchRefused, Text: st.halted}
	}
	if _, known := l.clock.now(); !known || r.State() != raft.Leader || r.CurrentTerm() != request.Term || l.ledger() != request.Ledger {
		return batchResponse{Status: batchRefused, Text: "this board does not lead in that term, or has just begun to"}
	}
	if !l.proposed.admit(request.Term, request.ID) {
		return batchResponse{Status: batchUncertain, Text: "the leader has received this batch before"}
	}
	l.stamping.Lock()
	now, _ := l.clock.now()
	f := l.appendEntry(r, entry{Term: request.Term, Stamp: now, ID: request.ID, Commands: request.Commands})
	l.stamping.Unlock()
	return awaitEntry(ctx, f)
}

// appendEntry completes an entry and passes it to raft.
func (l *Ledger) appendEntry(r *raft.Raft, e entry) raft.ApplyFuture {
	st := l.applier.state()
	if st.vouches {
		e.Seen, e.Digest = st.last.index, st.last.digest
	}
	e.Rules, _ = l.chooseRules(r)
	return r.Apply(e.encode(), l.cfg.Timing.Call)
}

// awaitEntry waits until an entry is applied here.
func awaitEntry(ctx context.Context, f raft.ApplyFuture) batchResponse {
	if err := awaitFuture(ctx, f); err != nil {
		return statusOfRaftError(err)
	}
	a := f.Response().(applyResult)
	switch {
	case errors.Is(a.err, errWrongTerm):
		return batchResponse{Status: batchRefused, Text: a.err.Error()}
	case a.err != nil:
		return batchResponse{Status: batchHalted, Index: f.Index(), Text: a.err.Error()}
	}
	return batchResponse{Status: batchDone, Index: f.Index(), Replies: a.replies}
}

// awaitFuture waits for raft until ctx ends. Raft has no contexts, and leaves some
// futures without a result when it shuts down.
func awaitFuture(ctx context.Context, f raft.Future) error {
	completed := make(chan error, 1)
	go func() { completed <- f.Error() }()
	select {
	case err := <-completed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// statusOfRaftError returns what raft's error means for the entry. An error that raft
// returns before it writes the entry anywhere is a refusal; all others are uncertain.
func statusOfRaftError(err error) batchResponse {
	for _, refusal := range []error{raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout} {
		if errors.Is(err, refusal) {
			return batchResponse{Status: batchRefused, Text: err.Error()}
		}
	}
	return batchResponse{Status: batchUncertain, Text: err.Error()}
}

// handleSubmit is the leader's side of forwardBatch.
func (l *Ledger) handleSubmit(ctx context.Context, body []byte) ([]byte, error) {
	request, err := decodeBatchRequest(body)
	if err != nil {
		return nil, err
	}
	b := l.proposeBatch(ctx, request).encode()
	if len(b) > MaxCallBytes {
		// The calling board gets the replies when it applies the batch.
		b = batchResponse{Status: batchUncertain, Text: fmt.Sprintf("the replies take %d bytes", len(b))}.encode()
	}
	return b, nil
}

// openTerm begins a new leader's term with an entry of its own: once that is
// applied, every board knows that all earlier terms are over.
func (l *Ledger) openTerm(ctx context.Context) {
	for ctx.Err() == nil {
		r := l.runningRaft()
		if r == nil || r.State() != raft.Leader {
			return
		}
		term := r.CurrentTerm()
		l.applier.leadTerm(term)
		// It has no time: this board may not have applied yet what sets the clock.
		response := awaitEntry(ctx, l.appendEntry(r, entry{Term: term, Stamp: time.Unix(0, 0)}))
		if response.Status == batchDone || response.Status == batchHalted {
			return
		}
		sleep(ctx, l.cfg.Timing.Retry)
	}
}
