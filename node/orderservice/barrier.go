package orderservice

import (
	"context"
	"sync"
	"time"
)

// sharedBarrier lets all who want to know the same thing at once share one question, so that a
// crowd at its receipts asks the leader no more often than it can answer. Who comes while
// one is under way waits for the next: that one may have been answered before they came.
type sharedBarrier struct {
	barrier func(context.Context) error
	timeout time.Duration // for one question

	mu        sync.Mutex // guards what follows
	now, next *question
}

// question is one that is under way, or the one after it.
type question struct {
	done chan struct{} // closed when err stands
	err  error
}

// wait returns with the answer to a question that was put after the call, or with ctx.
func (t *sharedBarrier) wait(ctx context.Context) error {
	q := t.join()
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join is the next question, put at once if none is under way.
func (t *sharedBarrier) join() *question {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = &question{done: make(chan struct{})}
	}
	q := t.next
	if t.now == nil {
		t.begin()
	}
	return q
}

// begin puts the next question, if there is one. t.mu is held.
func (t *sharedBarrier) begin() {
	t.now, t.next = t.next, nil
	if t.now != nil {
		go t.put(t.now)
	}
}

// put asks for all who joined, on nobody's context: one who leaves takes no answer along.
func (t *sharedBarrier) put(q *question) {
	ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
	defer cancel()
	q.err = t.barrier(ctx)
	close(q.done)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin()
}
