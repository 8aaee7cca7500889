package ledgertest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"time"

	"bramble/cluster/ledger"
)

// Note is one command that a Diary has applied.
type Note struct {
	Index uint64
	At    time.Time
	Rules uint32 // that it was applied under
	Text  string
}

// Diary is a ledger.StateMachine that remembers every command. Its reply to a
// command is the number of notes so far, in decimal.
type Diary struct {
	// Refuse, if set, is called before each batch. If it returns an error, Apply
	// returns that.
	Refuse func(index uint64, commands [][]byte) error
	// Rules is the highest rules version that it knows; 0 counts as 1.
	Rules uint32

	mu     sync.Mutex // guards the rest
	notes  []Note
	digest uint64
}

// MaxRules implements ledger.StateMachine.
func (d *Diary) MaxRules() uint32 { return d.Rules }

// Apply implements ledger.StateMachine.
func (d *Diary) Apply(b ledger.Batch) ([][]byte, error) {
	if d.Refuse != nil {
		if err := d.Refuse(b.Index, b.Commands); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	replies := make([][]byte, 0, len(b.Commands))
	for _, c := range b.Commands {
		d.notes = append(d.notes, Note{b.Index, b.At, b.Rules, string(c)})
		reply := fmt.Append(nil, len(d.notes))
		h := fnv.New64a()
		fmt.Fprintf(h, "%016x %s", d.digest, reply)
		h.Write(c)
		d.digest = h.Sum64()
		replies = append(replies, reply)
	}
	return replies, nil
}

// Digest implements ledger.StateMachine.
func (d *Diary) Digest() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.digest
}

// Notes returns all commands so far.
func (d *Diary) Notes() []Note {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Note(nil), d.notes...)
}

type diarySnapshot struct {
	Digest uint64
	Notes  []Note
}

// WriteTo implements io.WriterTo.
func (d diarySnapshot) WriteTo(w io.Writer) (int64, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(b)
	return int64(n), err
}

// Close implements io.Closer.
func (d diarySnapshot) Close() error { return nil }

// Snapshot implements ledger.StateMachine.
func (d *Diary) Snapshot() (ledger.StateSnapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return diarySnapshot{d.digest, append([]Note(nil), d.notes...)}, nil
}

// Restore implements ledger.StateMachine.
func (d *Diary) Restore(r io.Reader) error {
	var v diarySnapshot
	if err := json.NewDecoder(r).Decode(&v); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes, d.digest = v.Notes, v.Digest
	return nil
}
