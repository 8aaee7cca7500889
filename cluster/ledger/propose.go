package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// The leader's side of a batch.

// onceInTerm knows the batches that this board proposed as a term's leader,
// so that one that is sent twice is not carried out twice. Terms need no
// comparing: what is meant for an earlier one is refused.
type onceInTerm struct {
	mu      sync.Mutex // guards the rest
	term    uint64
	origins map[uint64]seenWindow
}

// seenWindow is which of the last 64 numbers of one origin were seen. An origin
// has at most flights of them under way.
type seenWindow struct {
	highest uint64
	seen    uint64 // bit i: highest-i
}

// maxOrigins bounds the origins remembered in one term: starts of boards.
const maxOrigins = 4096

// admit reports whether the batch is new in this term, and notes it.
func (o *onceInTerm) admit(term uint64, id batchID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if term > o.term || o.origins == nil {
		o.term, o.origins = term, map[uint64]seenWindow{}
	}
	w, known := o.origins[id.Origin]
	if term < o.term || (!known && len(o.origins) >= maxOrigins) {
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
	o.origins[id.Origin] = w
	return true
}

// proposeBatch has raft commit a batch, if this board leads in the batch's term,
// and waits until it is carried out here.
func (l *Ledger) proposeBatch(ctx context.Context, ask batchRequest) batchResponse {
	r := l.runningRaft()
	if r == nil {
		return batchResponse{Status: batchRefused, Text: "this board has no ledger running"}
	}
	if f := l.foreign.joinedNames(); f != "" {
		return batchResponse{Status: batchTwoLedgers, Text: f + " belong to another one"}
	}
	st := l.applier.state()
	if st.halted != "" {
		return batchResponse{Status: batchHalted, Text: st.halted}
	}
	if r.State() != raft.Leader || r.CurrentTerm() != ask.Term {
		return batchResponse{Status: batchRefused, Text: "this board does not lead in that term"}
	}
	if !l.proposed.admit(ask.Term, ask.ID) {
		return batchResponse{Status: batchUncertain, Text: "the batch came before"}
	}
	return l.commitEntry(ctx, r, entry{Term: ask.Term, ID: ask.ID, Commands: ask.Commands})
}

// commitEntry stamps an entry, gives it to raft and waits.
func (l *Ledger) commitEntry(ctx context.Context, r *raft.Raft, e entry) batchResponse {
	st := l.applier.state()
	e.Stamp = l.clock.stampBatch(st.at)
	e.Seen, e.Digest = st.last.index, st.last.digest
	f := r.Apply(e.encode(), l.cfg.Timing.Call)
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

// awaitFuture waits for raft, which knows no contexts and, at its end, leaves some
// who wait without an answer.
func awaitFuture(ctx context.Context, f raft.Future) error {
	answered := make(chan error, 1)
	go func() { answered <- f.Error() }()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// statusOfRaftError says what raft's error means for the entry. Those that raft gives
// before it writes the entry anywhere are refusals; all others leave it open.
func statusOfRaftError(err error) batchResponse {
	for _, surely := range []error{raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout} {
		if errors.Is(err, surely) {
			return batchResponse{Status: batchRefused, Text: err.Error()}
		}
	}
	return batchResponse{Status: batchUncertain, Text: err.Error()}
}

// handleSubmit is the other side of offer.
func (l *Ledger) handleSubmit(ctx context.Context, body []byte) ([]byte, error) {
	ask, err := decodeBatchRequest(body)
	if err != nil {
		return nil, err
	}
	b := l.proposeBatch(ctx, ask).encode()
	if len(b) > MaxCallBytes {
		// The asking board finds the replies when it carries the batch out.
		b = batchResponse{Status: batchUncertain, Text: fmt.Sprintf("the replies take %d bytes", len(b))}.encode()
	}
	return b, nil
}

// openTerm begins a new leader's term with an entry of its own: once it is
// carried out, every board knows that all earlier terms are over.
func (l *Ledger) openTerm(ctx context.Context) {
	for ctx.Err() == nil {
		r := l.runningRaft()
		if r == nil || r.State() != raft.Leader {
			return
		}
		said := l.commitEntry(ctx, r, entry{Term: r.CurrentTerm()})
		if said.Status == batchDone || said.Status == batchHalted {
			return
		}
		l.sleep(ctx, l.cfg.Timing.Retry)
	}
}
