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

// weary is a machine that cannot go on for a while.
type weary struct {
	tired atomic.Bool
	tries atomic.Int32
}

func (w *weary) Apply(_ uint64, _ time.Time, commands [][]byte) ([][]byte, error) {
	w.tries.Add(1)
	if w.tired.Load() {
		return nil, fmt.Errorf("%w: no space left", ErrRetryLater)
	}
	return commands, nil
}
func (*weary) Snapshot() (StateSnapshot, error) { return nil, errors.New("not asked for") }
func (*weary) Restore(io.Reader) error          { return nil }
func (*weary) Digest() uint64                   { return 1 }

func TestTheLedgerWaitsForAMachineThatCannotGoOn(t *testing.T) {
	t.Parallel()
	command := entry{Term: 1, Stamp: time.Unix(1e9, 0), Commands: [][]byte{[]byte("one")}}
	log := func(index uint64) *raft.Log { return &raft.Log{Index: index, Term: 1, Data: command.encode()} }
	start := func() (*applier, *weary, chan struct{}) {
		w, stopped := new(weary), make(chan struct{})
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
	w.tired.Store(true)
	done := make(chan applyResult, 1)
	go func() { done <- a.Apply(log(1)).(applyResult) }()
	until("it does not stand still", func() bool { return strings.Contains(a.state().halted, "no space left") })
	if !a.state().haltTransient {
		t.Error("a person is told to look, and it may pass")
	}
	changed := a.state().changed
	until("it is not tried again", func() bool { return w.tries.Load() > 3 })
	if at := a.state().index; at != 0 {
		t.Errorf("it says that it has come to entry %d", at)
	}
	w.tired.Store(false)
	if said := <-done; said.err != nil || len(said.replies) != 1 || string(said.replies[0]) != "one" {
		t.Errorf("in the end it is answered %v", said)
	}
	<-changed
	if st := a.state(); st.halted != "" || st.haltTransient || st.index != 1 {
		t.Errorf("it goes on with %+v", st)
	}
	if said := a.Apply(log(2)).(applyResult); said.err != nil {
		t.Error(said.err)
	}

	a, w, stopped := start()
	w.tired.Store(true)
	go func() { done <- a.Apply(log(1)).(applyResult) }()
	until("it does not stand still", func() bool { return a.state().halted != "" })
	close(stopped)
	if said := <-done; !errors.Is(said.err, ErrHalted) {
		t.Errorf("a ledger that stops says %v", said.err)
	}

	a, w, _ = start()
	a.stopped = nil // as when a folder is only read
	w.tired.Store(true)
	if said := a.Apply(log(1)).(applyResult); !errors.Is(said.err, ErrHalted) || w.tries.Load() != 1 {
		t.Errorf("after %d tries: %v", w.tries.Load(), said.err)
	}
}
