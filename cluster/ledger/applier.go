package ledger

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// digestWindow is the number of past indexes whose digest a board remembers, to
// compare it with the leader's: more than the entries that can be in flight.
const digestWindow = 1024

// applier applies what raft has committed: it is the raft.FSM around the
// StateMachine. Raft calls Apply, Snapshot and Restore from one goroutine.
type applier struct {
	stateMachine StateMachine
	log          *slog.Logger
	onApplied    func(uint64)
	onCommitted  func(uint64) // nil: nothing is noted
	maxRules     uint32       // the state machine's
	// onStamp is called for every entry, with its time.
	onStamp func(at time.Time, isSet bool)
	// onBatch is called for every batch that this board has applied.
	onBatch func(id batchID, index uint64, replies [][]byte)
	// stopped ends the retries of a state machine that cannot go on at the moment. If it
	// is nil, there are none, and ErrRetryLater halts like any other error.
	stopped       <-chan struct{}
	retryInterval time.Duration

	mu            sync.Mutex // guards all below
	changed       chan struct{}
	index         uint64 // of the last entry seen
	term          uint64 // of the last batch entry seen: every earlier term is over
	at            time.Time
	marks         clockMarks
	rules         uint32 // version in force: the highest of all entries so far
	halted        string
	haltTransient bool // the reason can pass: the batch is retried
	// suspect is why this board may have diverged, "" if nothing: see divergence.go. fromLog: the
	// evidence is in the log that it had at its start.
	suspect string
	fromLog bool
	// replayEnd is the index of the last entry for the applier that the log had at the start, and replayTerm
	// the last term in that log.
	replayEnd, replayTerm uint64
	// diverged: halted, because a majority had other digests.
	diverged bool
	// ownTerm is the last term in which this board leads.
	ownTerm uint64
	// restores counts the snapshots that replaced entries, which this board then
	// never sees.
	restores int
	last     indexedDigest               // of the last batch that was applied
	digests  [digestWindow]indexedDigest // by index modulo
}

type indexedDigest struct{ index, digest uint64 }

func newApplier(cfg *Config, onBatch func(batchID, uint64, [][]byte)) *applier {
	return &applier{stateMachine: cfg.StateMachine, log: cfg.Logger, onApplied: cfg.OnApplied, onBatch: onBatch,
		maxRules: max(cfg.StateMachine.MaxRules(), firstRules), rules: firstRules,
		retryInterval: defaultRetryInterval, changed: make(chan struct{}), at: time.Unix(0, 0).UTC()}
}

// applyResult is the result that raft returns to the proposer of an entry.
type applyResult struct {
	replies [][]byte
	err     error // errWrongTerm or ErrHalted
}

// errWrongTerm: the entry was meant for another term; nothing was applied.
var errWrongTerm = errors.New("the entry was meant for another term")

// Apply implements raft.FSM. Raft calls it in a goroutine of its own for every
// committed entry, on every board. The board that submitted a batch learns its
// replies here (onBatch), even if the leader's response is lost.
func (a *applier) Apply(l *raft.Log) any {
	if a.onCommitted != nil {
		a.onCommitted(l.Index)
	}
	replies, id, err := a.applyEntry(l)
	a.mu.Lock()
	if a.halted == "" {
		a.index = l.Index
	}
	a.notifyLocked()
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
	halted, at, digest, rules, marks := a.halted, a.at, a.last.digest, a.rules, a.marks
	a.term = max(a.term, l.Term)
	a.mu.Unlock()
	if halted != "" {
		return nil, batchID{}, fmt.Errorf("%w: %s", ErrHalted, halted)
	}
	e, err := decodeEntry(l.Data)
	if err == nil {
		rules = max(rules, e.Rules)
		err = a.checkKnown(rules, e.Flags)
	}
	if err != nil {
		return nil, e.ID, a.halt(fmt.Sprintf("entry %d: %v", l.Index, err))
	}
	a.compareWithLeader(l.Index, &e)
	if e.Term != l.Term {
		return nil, e.ID, errWrongTerm
	}
	at, marks = marks.next(at, l.Index, &e)
	var replies [][]byte
	if len(e.Commands) > 0 {
		replies, err = a.applyWithRetry(Batch{Index: l.Index, At: at, Rules: rules, Commands: e.Commands})
		if errors.Is(err, ErrRetryLater) && a.stopped != nil { // the board stops; it retries after its next start
			return nil, e.ID, fmt.Errorf("%w: %w", ErrHalted, err)
		}
		if err != nil {
			return nil, e.ID, a.halt(fmt.Sprintf("entry %d: %v", l.Index, err))
		}
		digest = a.stateMachine.Digest()
	}
	a.mu.Lock()
	a.at, a.marks, a.rules, a.last = at, marks, rules, indexedDigest{l.Index, digest}
	a.digests[l.Index%digestWindow] = a.last
	a.mu.Unlock()
	if a.onStamp != nil {
		a.onStamp(at, e.Flags&flagClockSet != 0)
	}
	return replies, e.ID, nil
}

// defaultRetryInterval is the interval between two retries of a batch that the state
// machine cannot apply at the moment.
const defaultRetryInterval = 5 * time.Second

// applyWithRetry calls the state machine until it can go on. Meanwhile the ledger
// counts as halted, so that another board leads and no caller waits for this one.
func (a *applier) applyWithRetry(b Batch) ([][]byte, error) {
	blocked := false
	for {
		replies, err := a.callStateMachine(b)
		if !errors.Is(err, ErrRetryLater) || a.stopped == nil {
			if blocked && err == nil {
				a.setBlocked("")
				a.log.Info("ledger: the state machine goes on", "entry", b.Index)
			}
			return replies, err
		}
		if !blocked {
			a.log.Error("ledger: the state machine cannot go on; the ledger retries", "entry", b.Index, "interval", a.retryInterval, "error", err)
			blocked = true
		}
		a.setBlocked(fmt.Sprintf("entry %d: %v", b.Index, err))
		wait := time.NewTimer(a.retryInterval)
		select {
		case <-a.stopped:
			wait.Stop()
			return nil, err
		case <-wait.C:
		}
	}
}

// notifyLocked wakes every goroutine that waits for a change. a.mu is held.
func (a *applier) notifyLocked() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// setBlocked sets why the ledger waits for the state machine, "" if it does not, and
// wakes every waiter.
func (a *applier) setBlocked(why string) {
	a.mu.Lock()
	a.halted, a.haltTransient = why, why != ""
	a.notifyLocked()
	a.mu.Unlock()
}

// callStateMachine calls Apply. It turns a panic there into an error, which halts.
func (a *applier) callStateMachine(b Batch) (replies [][]byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	replies, err = a.stateMachine.Apply(b)
	if err == nil && len(replies) != len(b.Commands) {
		err = fmt.Errorf("%d replies to %d commands", len(replies), len(b.Commands))
	}
	return replies, err
}

// halt stops applying for good, logs why and returns the error.
func (a *applier) halt(why string) error {
	a.mu.Lock()
	a.halted, a.haltTransient = why, false
	a.mu.Unlock()
	a.log.Error("ledger: HALTED: this board applies no further command; a person must look at it", "why", why)
	return fmt.Errorf("%w: %s", ErrHalted, why)
}

// applierState is a copy of the applier's state.
type applierState struct {
	index, term   uint64
	at            time.Time
	marks         clockMarks
	last          indexedDigest
	rules         uint32
	halted        string // also while the board is suspect
	haltTransient bool
	suspect       bool
	fromLog       bool // suspect because of its own log
	vouches       bool // other boards may rely on this board's digest
	diverged      bool
	restores      int
	changed       <-chan struct{} // closed at the next change
}

func (a *applier) state() applierState {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := applierState{index: a.index, term: a.term, at: a.at, marks: a.marks, last: a.last, rules: a.rules,
		halted: a.halted, haltTransient: a.haltTransient, restores: a.restores, changed: a.changed, diverged: a.diverged,
		vouches: !a.fromLog && (a.index >= a.replayEnd || a.term > a.replayTerm)}
	if st.halted == "" && a.suspect != "" {
		st.halted, st.haltTransient, st.suspect, st.fromLog = a.suspect, !a.fromLog, true, a.fromLog
	}
	return st
}

// StoreConfiguration implements raft.ConfigurationStore, to learn the index of
// entries that change the voters.
func (a *applier) StoreConfiguration(index uint64, _ raft.Configuration) {
	a.mu.Lock()
	if a.halted == "" {
		a.index = index
	}
	a.notifyLocked()
	a.mu.Unlock()
}

// A snapshot is a header (magic, index, term, clock, digest, in version 2 the rules version
// and the clock's marks, and their CRC-32C) and the state machine's own bytes. The last byte of the magic is the version.
// Under the first rules and without marks, version 1 is written: see entryVersion1.
const (
	snapshotMagic       = "BRLEDGR"
	snapshotHead        = len(snapshotMagic) + 1
	snapshotHeaderSize1 = snapshotHead + 4*8 + 4
	snapshotHeaderSize2 = snapshotHead + 8*8 + 4
)

// snapshotHeader is the first part of a snapshot.
type snapshotHeader struct {
	index, term uint64
	at          time.Time
	digest      uint64
	rules       uint32
	marks       clockMarks
}

func (s snapshotHeader) encode() []byte {
	values := []uint64{s.index, s.term, uint64(s.at.UnixNano()), s.digest}
	b := []byte(snapshotMagic + "1")
	if s.rules > firstRules || s.marks != (clockMarks{}) {
		b[snapshotHead-1] = '2'
		values = append(values, uint64(s.rules))
		values = append(values, s.marks.encode()...)
	}
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32cSum(b))
}

func readSnapshotHeader(r io.Reader) (snapshotHeader, error) {
	var m snapshotHeader
	b := make([]byte, snapshotHeaderSize2)
	if _, err := io.ReadFull(r, b[:snapshotHead]); err != nil {
		return m, fmt.Errorf("the snapshot's header: %w", err)
	}
	version := b[snapshotHead-1]
	switch {
	case string(b[:len(snapshotMagic)]) != snapshotMagic || version < '1' || version > '9':
		return m, errors.New("it is not a ledger's snapshot")
	case version > '2':
		return m, fmt.Errorf("%w: the snapshot has version %c, this program knows 2", errProgramTooOld, version)
	case version == '1':
		b = b[:snapshotHeaderSize1]
	}
	if _, err := io.ReadFull(r, b[snapshotHead:]); err != nil {
		return m, fmt.Errorf("the snapshot's header: %w", err)
	}
	if crc32cSum(b[:len(b)-4]) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return m, errors.New("it is not a ledger's snapshot")
	}
	v := func(i int) uint64 { return binary.LittleEndian.Uint64(b[snapshotHead+8*i:]) }
	m = snapshotHeader{v(0), v(1), time.Unix(0, int64(v(2))).UTC(), v(3), firstRules, clockMarks{}}
	if version == '2' {
		m.rules, m.marks = uint32(v(4)), decodeClockMarks(v(5), v(6), v(7))
	}
	return m, nil
}

// fsmSnapshot is a raft.FSMSnapshot.
type fsmSnapshot struct {
	header snapshotHeader
	state  StateSnapshot
}

// Snapshot implements raft.FSM.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	a.mu.Lock()
	header, halted := snapshotHeader{a.index, a.term, a.at, a.last.digest, a.rules, a.marks}, cmp.Or(a.halted, a.suspect)
	a.mu.Unlock()
	if halted != "" {
		return nil, fmt.Errorf("%w: %s", ErrHalted, halted)
	}
	state, err := a.stateMachine.Snapshot()
	if err != nil {
		return nil, err
	}
	return &fsmSnapshot{header, state}, nil
}

func (f *fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(sink, 64<<10)
	_, err := w.Write(f.header.encode())
	if err == nil {
		_, err = f.state.WriteTo(w)
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

func (f *fsmSnapshot) Release() { f.state.Close() }

// Restore implements raft.FSM.
func (a *applier) Restore(r io.ReadCloser) error {
	defer r.Close()
	header, err := readSnapshotHeader(r)
	if err != nil {
		return err
	}
	if err := a.checkKnown(header.rules, 0); err != nil {
		// The snapshot stays where it is, for a newer program.
		_ = a.halt(fmt.Sprintf("the snapshot at entry %d: %v", header.index, err))
		return nil
	}
	if err := a.stateMachine.Restore(r); err != nil {
		return err
	}
	halted := ""
	if d := a.stateMachine.Digest(); d != header.digest {
		halted = fmt.Sprintf("the snapshot at entry %d restores to digest %016x instead of %016x", header.index, d, header.digest)
		a.log.Error("ledger: HALTED: this board applies no further command; a person must look at it", "why", halted)
	}
	if a.onStamp != nil {
		a.onStamp(header.at, header.marks.SetIndex > a.state().marks.SetIndex)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index, a.term, a.at, a.marks, a.rules = header.index, header.term, header.at, header.marks, header.rules
	a.halted, a.haltTransient, a.suspect, a.fromLog = halted, false, "", false
	a.restores++
	a.last = indexedDigest{header.index, header.digest}
	a.digests = [digestWindow]indexedDigest{}
	a.digests[header.index%digestWindow] = a.last
	a.notifyLocked()
	return nil
}
