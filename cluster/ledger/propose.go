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
	origins map[uint64]window
}

// window is which of the last 64 numbers of one origin were seen. An origin
// has at most flights of them under way.
type window struct {
	highest uint64
	seen    uint64 // bit i: highest-i
}

// maxOrigins bounds the origins remembered in one term: starts of boards.
const maxOrigins = 4096

// first reports whether the batch is new in this term, and notes it.
func (o *onceInTerm) first(term uint64, id batchID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if term > o.term || o.origins == nil {
		o.term, o.origins = term, map[uint64]window{}
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

// propose has raft commit a batch, if this board leads in the batch's term,
// and waits until it is carried out here.
func (l *Ledger) propose(ctx context.Context, ask batchAsk) batchSaid {
	r := l.live()
	if r == nil {
		return batchSaid{Verdict: refused, Text: "this board has no ledger running"}
	}
	if f := l.foreign.text(); f != "" {
		return batchSaid{Verdict: foreignly, Text: f + " belong to another one"}
	}
	st := l.applier.state()
	if st.halted != "" {
		return batchSaid{Verdict: haltedNow, Text: st.halted}
	}
	if r.State() != raft.Leader || r.CurrentTerm() != ask.Term {
		return batchSaid{Verdict: refused, Text: "this board does not lead in that term"}
	}
	if !l.once.first(ask.Term, ask.ID) {
		return batchSaid{Verdict: unsure, Text: "the batch came before"}
	}
	return l.commit(ctx, r, entry{Term: ask.Term, ID: ask.ID, Commands: ask.Commands})
}

// commit stamps an entry, gives it to raft and waits.
func (l *Ledger) commit(ctx context.Context, r *raft.Raft, e entry) batchSaid {
	st := l.applier.state()
	e.Stamp = l.clock.stamp(st.at)
	e.Seen, e.Digest = st.last.index, st.last.digest
	f := r.Apply(e.encode(), l.cfg.Timing.Ask)
	if err := await(ctx, f); err != nil {
		return refusal(err)
	}
	a := f.Response().(applied)
	switch {
	case errors.Is(a.err, errVoid):
		return batchSaid{Verdict: refused, Text: a.err.Error()}
	case a.err != nil:
		return batchSaid{Verdict: haltedNow, Index: f.Index(), Text: a.err.Error()}
	}
	return batchSaid{Verdict: done, Index: f.Index(), Replies: a.replies}
}

// await waits for raft, which knows no contexts and, at its end, leaves some
// who wait without an answer.
func await(ctx context.Context, f raft.Future) error {
	answered := make(chan error, 1)
	go func() { answered <- f.Error() }()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refusal says what raft's error means for the entry. Those that raft gives
// before it writes the entry anywhere are refusals; all others leave it open.
func refusal(err error) batchSaid {
	for _, surely := range []error{raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout} {
		if errors.Is(err, surely) {
			return batchSaid{Verdict: refused, Text: err.Error()}
		}
	}
	return batchSaid{Verdict: unsure, Text: err.Error()}
}

// answerSubmit is the other side of offer.
func (l *Ledger) answerSubmit(ctx context.Context, body []byte) ([]byte, error) {
	ask, err := decodeBatchAsk(body)
	if err != nil {
		return nil, err
	}
	b := l.propose(ctx, ask).encode()
	if len(b) > MaxAsk {
		// The asking board finds the replies when it carries the batch out.
		b = batchSaid{Verdict: unsure, Text: fmt.Sprintf("the replies take %d bytes", len(b))}.encode()
	}
	return b, nil
}

// open begins a new leader's term with an entry of its own: once it is
// carried out, every board knows that all earlier terms are over.
func (l *Ledger) open(ctx context.Context) {
	for ctx.Err() == nil {
		r := l.live()
		if r == nil || r.State() != raft.Leader {
			return
		}
		said := l.commit(ctx, r, entry{Term: r.CurrentTerm()})
		if said.Verdict == done || said.Verdict == haltedNow {
			return
		}
		l.pause(ctx, l.cfg.Timing.Resend)
	}
}
