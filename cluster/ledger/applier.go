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

// digestWindow is for how many past indexes a board remembers its digest, to
// compare it with the leader's: more than the entries that can be under way.
const digestWindow = 1024

// applier carries out what raft has committed: raft.FSM around the Machine.
// raft calls Apply, Snapshot and Restore from one goroutine.
type applier struct {
	stateMachine StateMachine
	log          *slog.Logger
	onApplied    func(uint64)
	// onBatch is told of every batch that was carried out or found void here.
	onBatch func(id batchID, index uint64, replies [][]byte)
	// stopped ends the wait for a machine that cannot go on just now; nil: there
	// is none, and a machine that cannot go on has refused.
	stopped       <-chan struct{}
	retryInterval time.Duration // between two tries

	mu          sync.Mutex // guards all below
	changed     chan struct{}
	index       uint64 // of the last entry seen
	term        uint64 // of the last batch entry seen: every earlier term is over
	at          time.Time
	halted      string
	haltPassing bool // what halted it may pass: it is tried again
	// restores counts how often a snapshot took the place of entries, which
	// this board then never sees.
	restores int
	last     digestMark               // of the last batch that was carried out
	digests  [digestWindow]digestMark // by index modulo
}

type digestMark struct{ index, digest uint64 }

func newApplier(cfg *Config, settle func(batchID, uint64, [][]byte)) *applier {
	return &applier{stateMachine: cfg.StateMachine, log: cfg.Logger, onApplied: cfg.OnApplied, onBatch: settle, retryInterval: defaultRetryInterval,
		changed: make(chan struct{}), at: time.Unix(0, 0).UTC()}
}

// applyResult is what raft hands back to who proposed an entry.
type applyResult struct {
	replies [][]byte
	err     error // errVoid or ErrHalted
}

// errWrongTerm: the entry was meant for another term; nothing was carried out.
var errWrongTerm = errors.New("the entry was meant for another term")

// Apply implements raft.FSM.
func (a *applier) Apply(l *raft.Log) any {
	replies, id, err := a.applyEntry(l)
	a.mu.Lock()
	if a.halted == "" {
		a.index = l.Index
	}
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	if err == nil && len(replies) > 0 {
		a.onBatch(id, l.Index, replies)
	}
	if a.onApplied != nil && err == nil {
		a.onApplied(l.Index)
	}
	return applyResult{replies, err}
}

func (a *applier) applyEntry(l *raft.Log) ([][]byte, batchID, error) {
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
	if what := a.findDivergence(e.Seen, e.Digest); what != "" {
		return nil, e.ID, a.halt(what)
	}
	if e.Term != l.Term {
		return nil, e.ID, errWrongTerm
	}
	if e.Stamp.After(at) {
		at = e.Stamp
	}
	var replies [][]byte
	if len(e.Commands) > 0 {
		replies, err = a.applyWithRetry(l.Index, at, e.Commands)
		if errors.Is(err, ErrRetryLater) && a.stopped != nil { // the board stops; its next start tries again
			return nil, e.ID, fmt.Errorf("%w: %w", ErrHalted, err)
		}
		if err != nil {
			return nil, e.ID, a.halt(fmt.Sprintf("entry %d: %v", l.Index, err))
		}
		digest = a.stateMachine.Digest()
	}
	a.mu.Lock()
	a.at, a.last = at, digestMark{l.Index, digest}
	a.digests[l.Index%digestWindow] = a.last
	a.mu.Unlock()
	return replies, e.ID, nil
}

// defaultRetryInterval is how long a machine that cannot go on just now is left alone.
const defaultRetryInterval = 5 * time.Second

// applyWithRetry calls the machine until it can go on. Meanwhile the ledger counts as
// halted, so that another board leads and nobody waits for this one.
func (a *applier) applyWithRetry(index uint64, at time.Time, commands [][]byte) ([][]byte, error) {
	stood := false
	for {
		replies, err := a.callStateMachine(index, at, commands)
		if !errors.Is(err, ErrRetryLater) || a.stopped == nil {
			if stood && err == nil {
				a.setBlocked("")
				a.log.Info("ledger: it goes on", "entry", index)
			}
			return replies, err
		}
		if !stood {
			a.log.Error("ledger: it stands still until the machine can go on", "entry", index, "why", err)
			stood = true
		}
		a.setBlocked(fmt.Sprintf("entry %d: %v", index, err))
		wait := time.NewTimer(a.retryInterval)
		select {
		case <-a.stopped:
			wait.Stop()
			return nil, err
		case <-wait.C:
		}
	}
}

// setBlocked says why the ledger stands still, "" that it does not, and wakes who waits.
func (a *applier) setBlocked(why string) {
	a.mu.Lock()
	a.halted, a.haltPassing = why, why != ""
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
}

// callStateMachine calls the machine; a panic in it is a refusal to go on.
func (a *applier) callStateMachine(index uint64, at time.Time, commands [][]byte) (replies [][]byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	replies, err = a.stateMachine.Apply(index, at, commands)
	if err == nil && len(replies) != len(commands) {
		err = fmt.Errorf("%d replies to %d commands", len(replies), len(commands))
	}
	return replies, err
}

// findDivergence compares this board's digest at an index with the leader's.
func (a *applier) findDivergence(index, digest uint64) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.digests[index%digestWindow]
	if index == 0 || m.index != index || m.digest == digest {
		return ""
	}
	return fmt.Sprintf("at entry %d this board's replies differ from the leader's (digests %016x and %016x)",
		index, m.digest, digest)
}

func (a *applier) halt(why string) error {
	a.mu.Lock()
	a.halted, a.haltPassing = why, false
	a.mu.Unlock()
	a.log.Error("ledger: HALTED: no further command is carried out here; a person has to look", "why", why)
	return fmt.Errorf("%w: %s", ErrHalted, why)
}

// applierState is what the applier has come to.
type applierState struct {
	index, term uint64
	at          time.Time
	last        digestMark
	halted      string
	haltPassing bool // what halted it may pass, and then it goes on
	restores    int
	changed     <-chan struct{} // closed at the next change
}

func (a *applier) state() applierState {
	a.mu.Lock()
	defer a.mu.Unlock()
	return applierState{a.index, a.term, a.at, a.last, a.halted, a.haltPassing, a.restores, a.changed}
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
	snapshotMagic      = "BRLEDGR1"
	snapshotHeaderSize = len(snapshotMagic) + 4*8 + 4
)

type snapshotHeader struct {
	index, term uint64
	at          time.Time
	digest      uint64
}

func (m snapshotHeader) encode() []byte {
	b := []byte(snapshotMagic)
	for _, v := range []uint64{m.index, m.term, uint64(m.at.UnixNano()), m.digest} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32cSum(b))
}

func readSnapshotHeader(r io.Reader) (snapshotHeader, error) {
	var m snapshotHeader
	b := make([]byte, snapshotHeaderSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return m, fmt.Errorf("snapshot's head: %w", err)
	}
	sum := binary.LittleEndian.Uint32(b[snapshotHeaderSize-4:])
	if string(b[:len(snapshotMagic)]) != snapshotMagic || crc32cSum(b[:snapshotHeaderSize-4]) != sum {
		return m, errors.New("not a ledger's snapshot")
	}
	v := func(i int) uint64 { return binary.LittleEndian.Uint64(b[len(snapshotMagic)+8*i:]) }
	return snapshotHeader{v(0), v(1), time.Unix(0, int64(v(2))).UTC(), v(3)}, nil
}

type fsmSnapshot struct {
	header snapshotHeader
	state  StateSnapshot
}

// Snapshot implements raft.FSM.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	a.mu.Lock()
	m, halted := snapshotHeader{a.index, a.term, a.at, a.last.digest}, a.halted
	a.mu.Unlock()
	if halted != "" {
		return nil, fmt.Errorf("%w: %s", ErrHalted, halted)
	}
	view, err := a.stateMachine.Snapshot()
	if err != nil {
		return nil, err
	}
	return &fsmSnapshot{m, view}, nil
}

func (s *fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(sink, 64<<10)
	_, err := w.Write(s.header.encode())
	if err == nil {
		_, err = s.state.WriteTo(w)
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

func (s *fsmSnapshot) Release() { s.state.Close() }

// Restore implements raft.FSM.
func (a *applier) Restore(r io.ReadCloser) error {
	defer r.Close()
	m, err := readSnapshotHeader(r)
	if err != nil {
		return err
	}
	if err := a.stateMachine.Restore(r); err != nil {
		return err
	}
	halted := ""
	if d := a.stateMachine.Digest(); d != m.digest {
		halted = fmt.Sprintf("the snapshot at entry %d restores to digest %016x instead of %016x", m.index, d, m.digest)
		a.log.Error("ledger: HALTED: no further command is carried out here; a person has to look", "why", halted)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index, a.term, a.at, a.halted, a.haltPassing = m.index, m.term, m.at, halted, false
	a.restores++
	a.last = digestMark{m.index, m.digest}
	a.digests = [digestWindow]digestMark{}
	a.digests[m.index%digestWindow] = a.last
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}
