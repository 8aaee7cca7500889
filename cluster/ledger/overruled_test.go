package ledger

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A leader may replace entries that were committed here if they have no commands: then the files are
// opened again, and until then nothing is stored. One with a command is kept, and what follows it.
func TestCommittedEntriesThatALeaderReplaces(t *testing.T) {
	for _, c := range []struct {
		name        string
		commandAt   uint64 // 0: none of the entries 4 to 7 has commands
		proven      uint64
		want        error
		first, last uint64 // of the log afterwards
	}{
		{"none has commands", 0, 7, errOverruled, 1, 3},
		{"the last has one", 7, 7, errKept, 1, 7},
		{"the first has one", 4, 7, errKept, 1, 7},
		{"what has one is not committed", 7, 6, errOverruled, 1, 3},
		{"nothing there is committed", 5, 3, nil, 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			quiet := slog.New(slog.DiscardHandler)
			f, err := openFiles(dir, 0, quiet)
			if err != nil {
				t.Fatal(err)
			}
			for i := uint64(1); i <= 7; i++ {
				e := entry{Term: 2, Stamp: time.Unix(int64(i), 0).UTC()}
				if i <= 3 || i == c.commandAt {
					e.Commands = [][]byte{[]byte("an order")}
				}
				if err := f.log.StoreLog(&raft.Log{Index: i, Term: 2, Type: raft.LogCommand, Data: e.encode()}); err != nil {
					t.Fatal(err)
				}
			}
			f.log.noteCommitted(c.proven)
			calls := 0
			f.log.overruled = func() { calls++ }
			next := &raft.Log{Index: c.last + 1, Term: 3, Type: raft.LogNoop}
			stored := f.log.DeleteRange(4, 7)
			if !errors.Is(stored, c.want) || (calls == 1) != (c.want == errOverruled) {
				t.Errorf("%v, want %v; %d calls", stored, c.want, calls)
			}
			if c.want == errOverruled {
				if err := f.log.StoreLog(next); !errors.Is(err, errOverruled) {
					t.Errorf("an entry is stored before the files are opened again: %v", err)
				}
			}
			f.close()
			if f, err = openFiles(dir, 0, quiet); err != nil {
				t.Fatal(err)
			}
			defer f.close()
			if first, last, err := f.log.entryRange(); err != nil || first != c.first || last != c.last || f.log.proven.Load() > last {
				t.Errorf("afterwards it has entries %d to %d, and knows %d to be committed: %v", first, last, f.log.proven.Load(), err)
			}
			if err := f.log.StoreLog(next); err != nil {
				t.Errorf("the leader's entry: %v", err)
			}
		})
	}
}
