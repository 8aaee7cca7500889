package ledger_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A board reports what it has compacted, also after a start, and not more: entries that came since are on its disk.
func TestABoardReportsWhatItHasCompacted(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.start("b1")
	r.submit(r.board("b1"), "first")
	b := r.board("b1")
	if s := b.Status(); s.Compacted != 0 || b.LogSince().IsZero() {
		t.Fatalf("at the beginning: compacted up to %d, log since %v", s.Compacted, b.LogSince())
	}
	through := b.Status().Applied
	r.until("its log is compacted", func() bool { return b.CompactThrough(context.Background(), through) == nil })
	if s := b.Status(); s.Compacted != through || !b.LogSince().IsZero() {
		t.Errorf("compacted up to %d instead of %d, log since %v", s.Compacted, through, b.LogSince())
	}
	r.submit(b, "second")
	snapshot := b.Status().Snapshot
	if err := b.CompactThrough(context.Background(), through); err != nil || b.Status().Snapshot != snapshot { // it is done already
		t.Errorf("again: %v", err)
	}
	second := b.Status().Applied
	r.kill("b1")
	r.start("b1")
	b = r.board("b1")
	r.until("it has applied its log", func() bool { return b.Status().Applied >= second })
	if s := b.Status(); s.Compacted < through || s.Compacted >= second {
		t.Errorf("after a start: compacted up to %d, not %d to %d", s.Compacted, through, second-1)
	}
	for _, board := range b.Boards(t.Context()) {
		if board.Compacted != b.Status().Compacted || board.SetAside != 0 {
			t.Errorf("%+v", board)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(r.directory("b1"), "now/log/*.wal")); len(names) != 1 {
		t.Errorf("files of the log: %s", strings.Join(names, ", "))
	}
}

// While commands arrive, a board takes few snapshots to compact, and succeeds once they pause.
func TestCompactWhileCommandsArrive(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.start("b1")
	r.submit(r.board("b1"), "first")
	b := r.board("b1")
	through := b.Status().Applied
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				b.Submit(context.Background(), fmt.Appendf(nil, "more %d", i))
			}
		}
	}()
	err := b.CompactThrough(context.Background(), through) // may succeed between two of them
	if err != nil && b.Status().Compacted >= through {
		t.Errorf("it failed, and reports that it has compacted: %v", err)
	}
	close(stop)
	<-stopped
	r.until("its log is compacted", func() bool { return b.CompactThrough(context.Background(), through) == nil })
	if b.Status().Compacted < through {
		t.Error("it does not report it")
	}
}

// A board that got everything in a snapshot has an empty log, whose file can begin before the snapshot. Nobody submits
// anything more, and it has compacted all the same, also after a start.
func TestABoardWithASnapshotAloneHasCompacted(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.start("b1", "b2", "b3")
	r.voters(3)
	r.submitOrders("b1", 3)
	r.kill("b3")
	through := r.submit(r.board("b1"), "while b3 is off")
	r.until("the others have it", func() bool {
		return r.board("b1").Status().Applied >= through && r.board("b2").Status().Applied >= through
	})
	r.compact(r.board("b1"))
	r.compact(r.board("b2"))
	for _, start := range []string{"the first start", "the next one"} {
		r.start("b3")
		b := r.board("b3")
		r.until("b3 has caught up: "+start, func() bool { return b.Status().Applied >= through })
		r.until("b3 has compacted: "+start, func() bool { return b.CompactThrough(context.Background(), through) == nil })
		if s := b.Status(); s.Compacted < through || s.Compacted > s.Applied {
			t.Errorf("%s: compacted up to %d, want %d to %d", start, s.Compacted, through, s.Applied)
		}
		r.kill("b3")
	}
}
