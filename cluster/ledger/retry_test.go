package ledger

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// blockedStateMachine cannot go on while blocked is set.
type blockedStateMachine struct {
	blocked atomic.Bool
	tries   atomic.Int32
}

func (b *blockedStateMachine) Apply(batch Batch) ([][]byte, error) {
	b.tries.Add(1)
	if b.blocked.Load() {
		return nil, fmt.Errorf("%w: no space left", ErrRetryLater)
	}
	return batch.Commands, nil
}
func (*blockedStateMachine) MaxRules() uint32 { return firstRules }
func (*blockedStateMachine) Snapshot() (StateSnapshot, error) {
	return nil, errors.New("not implemented")
}
func (*blockedStateMachine) Restore(io.Reader) error { return nil }
func (*blockedStateMachine) Digest() uint64          { return 1 }

func TestABatchIsRetriedWhileTheStateMachineCannotGoOn(t *testing.T) {
	t.Parallel()
	command := entry{Term: 1, Stamp: time.Unix(1e9, 0), Commands: [][]byte{[]byte("one")}}
	log := func(index uint64) *raft.Log { return &raft.Log{Index: index, Term: 1, Data: command.encode()} }
	start := func() (*applier, *blockedStateMachine, chan struct{}) {
		w, stopped := new(blockedStateMachine), make(chan struct{})
		a := newApplier(&Config{StateMachine: w, Logger: slog.New(slog.DiscardHandler)}, func(batchID, uint64, [][]byte) {})
		a.stopped, a.retryInterval = stopped, time.Millisecond
		return a, w, stopped
	}
	until := func(what string, so func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}

	a, w, _ := start()
	w.blocked.Store(true)
	done := make(chan applyResult, 1)
	go func() { done <- a.Apply(log(1)).(applyResult) }()
	until("it is not blocked", func() bool { return strings.Contains(a.state().halted, "no space left") })
	if !a.state().haltTransient {
		t.Error("the halt is not transient")
	}
	changed := a.state().changed
	until("it is not retried", func() bool { return w.tries.Load() > 3 })
	if at := a.state().index; at != 0 {
		t.Errorf("it has applied entry %d", at)
	}
	w.blocked.Store(false)
	if result := <-done; result.err != nil || len(result.replies) != 1 || string(result.replies[0]) != "one" {
		t.Errorf("the result is %v", result)
	}
	<-changed
	if st := a.state(); st.halted != "" || st.haltTransient || st.index != 1 {
		t.Errorf("it goes on with %+v", st)
	}
	if result := a.Apply(log(2)).(applyResult); result.err != nil {
		t.Error(result.err)
	}

	a, w, stopped := start()
	w.blocked.Store(true)
	go func() { done <- a.Apply(log(1)).(applyResult) }()
	until("it is not blocked", func() bool { return a.state().halted != "" })
	close(stopped)
	if result := <-done; !errors.Is(result.err, ErrHalted) {
		t.Errorf("a ledger that stops returns %v", result.err)
	}

	a, w, _ = start()
	a.stopped = nil // as in ReadDir
	w.blocked.Store(true)
	if result := a.Apply(log(1)).(applyResult); !errors.Is(result.err, ErrHalted) || w.tries.Load() != 1 {
		t.Errorf("after %d tries: %v", w.tries.Load(), result.err)
	}
}
