package ledger_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"bramble/cluster/ledger"
)

// A board that starts behind the others is catching up until it has applied what was acknowledged
// before its start, however long its state machine takes. Afterwards it is catching up again if it falls
// behind again.
func TestBoardIsCatchingUp(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 3)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // before the boards stop
	r.start(r.names...)
	r.voters(3)
	away := ""
	for _, name := range r.names {
		if name != r.leader().name {
			away = name
		}
	}
	r.until("nobody is catching up", func() bool {
		for _, b := range r.running() {
			if s := b.Status(); s.CatchingUp || s.Lag != 0 {
				return false
			}
		}
		return true
	})
	r.kill(away)
	for i := range 20 {
		r.submit(r.leader(), fmt.Sprint("before the start ", i))
	}
	r.refuse = map[string]func(uint64, [][]byte) error{away: func(uint64, [][]byte) error { <-gate; return nil }}
	r.start(away)
	behind := r.board(away)
	r.until("it knows how far it is behind", func() bool { s := behind.Status(); return s.CatchingUp && s.Lag >= 20 })
	r.submit(r.leader(), "while it waits")
	r.until("it knows that it is further behind", func() bool { return behind.Status().Lag >= 21 })
	if s := behind.Status(); !s.CatchingUp {
		t.Errorf("it has applied nothing, and says %+v", s)
	}
	open()
	r.until("it has caught up with a leader", func() bool { s := behind.Status(); return s.Leader != "" && !s.CatchingUp })
	if n := len(behind.diary.Notes()); n < 20 {
		t.Errorf("it has caught up with %d of the 20 commands that were acknowledged before its start", n)
	}
	r.until("it does not lag", func() bool { return behind.Status().Lag == 0 })
}

// The log keeps the entries after the snapshot before the last one, for a board that was sent
// that one and restores it.
func TestLogKeepsAnInterval(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 1)
	r.terse = true // otherwise the snapshots grow to 50 MB, too much for a busy machine to read before until gives up
	r.start("b1")
	r.voters(1)
	b := r.board("b1")
	var snapshots []uint64
	for i := 0; len(snapshots) < 3; i++ {
		if i > 1000 {
			t.Fatalf("snapshots %v after %d commands", snapshots, i)
		}
		r.submit(b, fmt.Sprint(i, strings.Repeat("z", 60_000)))
		if s := b.Status().Snapshot; s > 0 && (len(snapshots) == 0 || snapshots[len(snapshots)-1] != s) {
			snapshots = append(snapshots, s)
		}
	}
	last := b.Status().Snapshot
	if s := b.Status(); s.LogCommands <= 0 || s.LogCommands > 400 || s.LogBytes > 24<<20 {
		t.Errorf("the log has %d commands in %d bytes", s.LogCommands, s.LogBytes)
	}
	r.kill("b1")
	first := ledger.FirstLogIndex(t, r.directory("b1"))
	if before := snapshots[len(snapshots)-2]; first > before+1 || last < before {
		t.Errorf("the log begins with entry %d; the snapshots are %v", first, snapshots)
	}
	r.start("b1")
	r.until("it has caught up", func() bool { s := r.board("b1").Status(); return s.Founded && s.Leading && !s.CatchingUp })
}
