package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// keptDigests is for how many past indexes a board remembers its digest, to
// compare it with the leader's: more than the entries that can be under way.
const keptDigests = 1024

// applier carries out what raft has committed: raft.FSM around the Machine.
// raft calls Apply, Snapshot and Restore from one goroutine.
type applier struct {
	machine   Machine
	log       *slog.Logger
	onApplied func(uint64)
	// settle is told of every batch that was carried out or found void here.
	settle func(id batchID, index uint64, replies [][]byte)
	// stopped ends the wait for a machine that cannot go on just now; nil: there
	// is none, and a machine that cannot go on has refused.
	stopped <-chan struct{}
	again   time.Duration // between two tries

	mu      sync.Mutex // guards all below
	changed chan struct{}
	index   uint64 // of the last entry seen
	term    uint64 // of the last batch entry seen: every earlier term is over
	at      time.Time
	halted  string
	passing bool // what halted it may pass: it is tried again
	// restores counts how often a snapshot took the place of entries, which
	// this board then never sees.
	restores int
	last     mark              // of the last batch that was carried out
	digests  [keptDigests]mark // by index modulo
}

type mark struct{ index, digest uint64 }

func newApplier(cfg *Config, settle func(batchID, uint64, [][]byte)) *applier {
	return &applier{machine: cfg.Machine, log: cfg.Logger, onApplied: cfg.OnApplied, settle: settle, again: againEvery,
		changed: make(chan struct{}), at: time.Unix(0, 0).UTC()}
}

// applied is what raft hands back to who proposed an entry.
type applied struct {
	replies [][]byte
	err     error // errVoid or ErrHalted
}

// errVoid: the entry was meant for another term; nothing was carried out.
var errVoid = errors.New("the entry was meant for another term")

// Apply implements raft.FSM.
func (a *applier) Apply(l *raft.Log) any {
	replies, id, err := a.apply(l)
	a.mu.Lock()
	if a.halted == "" {
		a.index = l.Index
	}
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	if err == nil && len(replies) > 0 {
		a.settle(id, l.Index, replies)
	}
	if a.onApplied != nil && err == nil {
		a.onApplied(l.Index)
	}
	return applied{replies, err}
}

func (a *applier) apply(l *raft.Log) ([][]byte, batchID, error) {
	a.mu.Lock()
	halted, at, digest := a.halted, a.at, a.last.digest
	a.term = max(a.term, l.Term)
	a.mu.Unlock()
	if halted != "" {
		return nil, batchID{}, fmt.Errorf("%w: %s", ErrHalted, halted)
	}
	e, err := decodeEntry(l.Data)
	if err != nil {
		return nil, e.ID, a.halt(fmt.Sprintf("entry %d: %v", l.Index, err))
	}
	if what := a.diverged(e.Seen, e.Digest); what != "" {
		return nil, e.ID, a.halt(what)
	}
	if e.Term != l.Term {
		return nil, e.ID, errVoid
	}
	if e.Stamp.After(at) {
		at = e.Stamp
	}
	var replies [][]byte
	if len(e.Commands) > 0 {
		replies, err = a.insist(l.Index, at, e.Commands)
		if errors.Is(err, ErrAgain) && a.stopped != nil { // the board stops; its next start tries again
			return nil, e.ID, fmt.Errorf("%w: %w", ErrHalted, err)
		}
		if err != nil {
			return nil, e.ID, a.halt(fmt.Sprintf("entry %d: %v", l.Index, err))
		}
		digest = a.machine.Digest()
	}
	a.mu.Lock()
	a.at, a.last = at, mark{l.Index, digest}
	a.digests[l.Index%keptDigests] = a.last
	a.mu.Unlock()
	return replies, e.ID, nil
}

// againEvery is how long a machine that cannot go on just now is left alone.
const againEvery = 5 * time.Second

// insist calls the machine until it can go on. Meanwhile the ledger counts as
// halted, so that another board leads and nobody waits for this one.
func (a *applier) insist(index uint64, at time.Time, commands [][]byte) ([][]byte, error) {
	stood := false
	for {
		replies, err := a.carryOut(index, at, commands)
		if !errors.Is(err, ErrAgain) || a.stopped == nil {
			if stood && err == nil {
				a.stand("")
				a.log.Info("ledger: it goes on", "entry", index)
			}
			return replies, err
		}
		if !stood {
			a.log.Error("ledger: it stands still until the machine can go on", "entry", index, "why", err)
			stood = true
		}
		a.stand(fmt.Sprintf("entry %d: %v", index, err))
		wait := time.NewTimer(a.again)
		select {
		case <-a.stopped:
			wait.Stop()
			return nil, err
		case <-wait.C:
		}
	}
}

// stand says why the ledger stands still, "" that it does not, and wakes who waits.
func (a *applier) stand(why string) {
	a.mu.Lock()
	a.halted, a.passing = why, why != ""
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
}

// carryOut calls the machine; a panic in it is a refusal to go on.
func (a *applier) carryOut(index uint64, at time.Time, commands [][]byte) (replies [][]byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	replies, err = a.machine.Apply(index, at, commands)
	if err == nil && len(replies) != len(commands) {
		err = fmt.Errorf("%d replies to %d commands", len(replies), len(commands))
	}
	return replies, err
}

// diverged compares this board's digest at an index with the leader's.
func (a *applier) diverged(index, digest uint64) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.digests[index%keptDigests]
	if index == 0 || m.index != index || m.digest == digest {
		return ""
	}
	return fmt.Sprintf("at entry %d this board's replies differ from the leader's (digests %016x and %016x)",
		index, m.digest, digest)
}

func (a *applier) halt(why string) error {
	a.mu.Lock()
	a.halted, a.passing = why, false
	a.mu.Unlock()
	a.log.Error("ledger: HALTED: no further command is carried out here; a person has to look", "why", why)
	return fmt.Errorf("%w: %s", ErrHalted, why)
}

// state is what the applier has come to.
type state struct {
	index, term uint64
	at          time.Time
	last        mark
	halted      string
	passing     bool // what halted it may pass, and then it goes on
	restores    int
	changed     <-chan struct{} // closed at the next change
}

func (a *applier) state() state {
	a.mu.Lock()
	defer a.mu.Unlock()
	return state{a.index, a.term, a.at, a.last, a.halted, a.passing, a.restores, a.changed}
}

// StoreConfiguration implements raft.ConfigurationStore, to learn the index of
// entries that change the voters.
func (a *applier) StoreConfiguration(index uint64, _ raft.Configuration) {
	a.mu.Lock()
	if a.halted == "" {
		a.index = index
	}
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
}

// A snapshot is a head of 41 bytes (magic, index, term, clock, digest, ends
// with its CRC-32C) and what the machine writes.
const (
	snapshotMagic = "BRLEDGR1"
	snapshotHead  = len(snapshotMagic) + 4*8 + 4
)

type snapshotMark struct {
	index, term uint64
	at          time.Time
	digest      uint64
}

func (m snapshotMark) encode() []byte {
	b := []byte(snapshotMagic)
	for _, v := range []uint64{m.index, m.term, uint64(m.at.UnixNano()), m.digest} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, castagnoli(b))
}

func readSnapshotHead(r io.Reader) (snapshotMark, error) {
	var m snapshotMark
	b := make([]byte, snapshotHead)
	if _, err := io.ReadFull(r, b); err != nil {
		return m, fmt.Errorf("snapshot's head: %w", err)
	}
	sum := binary.LittleEndian.Uint32(b[snapshotHead-4:])
	if string(b[:len(snapshotMagic)]) != snapshotMagic || castagnoli(b[:snapshotHead-4]) != sum {
		return m, errors.New("not a ledger's snapshot")
	}
	v := func(i int) uint64 { return binary.LittleEndian.Uint64(b[len(snapshotMagic)+8*i:]) }
	return snapshotMark{v(0), v(1), time.Unix(0, int64(v(2))).UTC(), v(3)}, nil
}

type snapshot struct {
	mark snapshotMark
	view View
}

// Snapshot implements raft.FSM.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	a.mu.Lock()
	m, halted := snapshotMark{a.index, a.term, a.at, a.last.digest}, a.halted
	a.mu.Unlock()
	if halted != "" {
		return nil, fmt.Errorf("%w: %s", ErrHalted, halted)
	}
	view, err := a.machine.Snapshot()
	if err != nil {
		return nil, err
	}
	return &snapshot{m, view}, nil
}

func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(sink, 64<<10)
	_, err := w.Write(s.mark.encode())
	if err == nil {
		_, err = s.view.WriteTo(w)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (s *snapshot) Release() { s.view.Close() }

// Restore implements raft.FSM.
func (a *applier) Restore(r io.ReadCloser) error {
	defer r.Close()
	m, err := readSnapshotHead(r)
	if err != nil {
		return err
	}
	if err := a.machine.Restore(r); err != nil {
		return err
	}
	halted := ""
	if d := a.machine.Digest(); d != m.digest {
		halted = fmt.Sprintf("the snapshot at entry %d restores to digest %016x instead of %016x", m.index, d, m.digest)
		a.log.Error("ledger: HALTED: no further command is carried out here; a person has to look", "why", halted)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index, a.term, a.at, a.halted, a.passing = m.index, m.term, m.at, halted, false
	a.restores++
	a.last = mark{m.index, m.digest}
	a.digests = [keptDigests]mark{}
	a.digests[m.index%keptDigests] = a.last
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}
