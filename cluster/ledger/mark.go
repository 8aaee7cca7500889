package ledger

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"bramble/cluster/durable"
)

// The log alone does not show that its end is missing: an empty log is a good log, and a
// torn end looks like a write that a power cut stopped. So a small file beside it, the mark,
// holds what the log once had. It is written after the log's sync, without a sync of its own: a killed
// process loses nothing of it, and a power cut at most what the system had not written yet (30 s on
// Linux). So it is never ahead of the log. Before the log's end is cut off, the mark goes
// back first, with a sync.

// logMark is what the log had.
type logMark struct {
	index, term uint64 // of the last entry
	committed   uint64 // index up to which entries are known to be committed
}

// markFile is the file: two slots in sectors of their own, written in turn. A slot is the
// number of the write and the logMark, as 64-bit little-endian numbers, and their CRC-32C.
type markFile struct {
	mu     sync.Mutex // guards all below
	file   *os.File
	number uint64 // of the last write
	at     logMark
}

const (
	markSlots    = 2
	markSlotSize = 4*8 + 4
)

func encodeMarkSlot(number uint64, m logMark) []byte {
	var b []byte
	for _, v := range []uint64{number, m.index, m.term, m.committed} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32cSum(b))
}

// decodeMark returns the newest good slot of a mark's bytes.
func decodeMark(b []byte) (number uint64, m logMark, ok bool) {
	for slot := range markSlots {
		if len(b) < slot*sectorSize+markSlotSize {
			break
		}
		s := b[slot*sectorSize:][:markSlotSize]
		v := func(i int) uint64 { return binary.LittleEndian.Uint64(s[8*i:]) }
		if crc32cSum(s[:markSlotSize-4]) != binary.LittleEndian.Uint32(s[markSlotSize-4:]) || (ok && v(0) < number) {
			continue
		}
		number, m, ok = v(0), logMark{v(1), v(2), v(3)}, true
	}
	return number, m, ok
}

// openMark opens the mark at path. If it is missing it is created, and isNew is true: a new board has none,
// and neither have the files of the program before it.
func openMark(path string) (m *markFile, isNew bool, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		isNew, b = true, make([]byte, markSlots*sectorSize)
		for slot := range markSlots { // both, so that one that is damaged costs nothing
			copy(b[slot*sectorSize:], encodeMarkSlot(uint64(slot), logMark{}))
		}
		err = durable.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return nil, isNew, err
	}
	m = &markFile{}
	ok := false
	if m.number, m.at, ok = decodeMark(b); !ok {
		return nil, isNew, &damageError{filepath.Base(path), "it has no good record"}
	}
	m.file, err = os.OpenFile(path, os.O_RDWR, 0)
	return m, isNew, err
}

// set writes another mark. With sync, it is on disk afterwards.
func (m *markFile) set(to logMark, sync bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.write(to, sync)
}

// write is set with mu held.
func (m *markFile) write(to logMark, sync bool) error {
	slot := int64((m.number + 1) % markSlots)
	if _, err := m.file.WriteAt(encodeMarkSlot(m.number+1, to), slot*sectorSize); err != nil {
		return err
	}
	m.number, m.at = m.number+1, to
	if sync {
		return m.file.Sync()
	}
	return nil
}

func (m *markFile) get() logMark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (m *markFile) sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.file.Sync()
}

func (m *markFile) close() error { return errors.Join(m.sync(), m.file.Close()) }

// checkMark compares the log with its mark. snapshot is the index of the newest snapshot. Without a
// mark, a log that is empty though this board took part in an election has lost its files: a first voter has an
// entry before its first election.
func (s *logStore) checkMark(snapshot uint64, isNew bool) error {
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	m, end := s.mark.get(), max(last, snapshot)
	if isNew && last == 0 {
		if err := s.checkUnmarked(snapshot); err != nil {
			return err
		}
	}
	damage := func(format string, args ...any) error {
		return &damageError{filepath.Base(s.dir), fmt.Sprintf(format, args...)}
	}
	if end < m.index {
		return damage("it ends at entry %d, and had entry %d", end, m.index)
	}
	var entry raft.Log
	if err := s.GetLog(m.index, &entry); err == nil && m.index > snapshot && entry.Term != m.term {
		return damage("entry %d has term %d, and had term %d", m.index, entry.Term, m.term)
	}
	if !isNew || last == 0 {
		return nil
	}
	if err := s.GetLog(last, &entry); err != nil {
		return err
	}
	return s.mark.set(logMark{last, entry.Term, s.proven.Load()}, true)
}

// checkUnmarked checks an empty log without a mark.
func (s *logStore) checkUnmarked(snapshot uint64) error {
	term, err := s.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !errors.Is(err, errNoKey) {
		return err
	}
	if vote, err := s.Get([]byte("LastVoteTerm")); err == nil && len(vote) > 0 {
		term = max(term, 2) // it voted, so there was an election
	}
	if term < 2 {
		return nil
	}
	if snapshot == 0 {
		return &damageError{filepath.Base(s.dir), "it is empty, and this board took part in elections"}
	}
	// Compact leaves an empty log beside a snapshot, in a file that is allocated in full.
	files, err := filepath.Glob(filepath.Join(s.dir, "*.wal"))
	if err != nil {
		return err
	}
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return nil
		}
	}
	return &damageError{filepath.Base(s.dir), "its files are gone or empty"}
}

// noteStored moves the mark to the last of the entries that were stored. A mark that cannot be
// written stays behind the log, which is safe.
func (s *logStore) noteStored(logs []*raft.Log) {
	last := logs[len(logs)-1]
	for _, l := range logs {
		s.noteProven(seenBy(l))
	}
	s.kept.Store(nil) // a leader's log continues this one
	if s.mark != nil {
		_ = s.mark.set(logMark{last.Index, last.Term, s.proven.Load()}, false)
	}
}

// noteProven notes that entries up to index are committed.
func (s *logStore) noteProven(index uint64) { raiseTo(&s.proven, index) }

// raiseTo raises a value that never falls.
func raiseTo(v *atomic.Uint64, to uint64) {
	for {
		known := v.Load()
		if to <= known || v.CompareAndSwap(known, to) {
			return
		}
	}
}

// noteCommitted notes an entry that this board has applied, also in the mark.
func (s *logStore) noteCommitted(index uint64) {
	s.noteProven(index)
	if s.mark == nil {
		return
	}
	s.mark.mu.Lock()
	defer s.mark.mu.Unlock()
	if m := s.mark.at; index > m.committed && index <= m.index {
		m.committed = index
		_ = s.mark.write(m, false)
	}
}

// errOverruled: a leader deleted entries here that were committed and have no commands. Raft has
// applied them, and would not apply the leader's in their place: the files must be opened again.
var errOverruled = errors.New("the leader replaced entries that this board had applied; its files are opened again")

// errKept: a leader whose log lacks entries that were committed wants to delete them here.
var errKept = errors.New("these entries were committed, so this board keeps them")

// keepEntries returns the error for a deletion of the entries from an index on, and notes that
// this board keeps them.
func (s *logStore) keepEntries(from uint64) error {
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("entries %d to %d, which the rack had acknowledged", from, last)
	s.noteKept(text)
	return fmt.Errorf("%s: %w", text, errKept)
}

// haveCommands reports whether any of the log's entries has commands, or cannot be read. One without, such as an
// election's or a clock's, was acknowledged to nobody: a board that kept it would stop a rack that has all orders.
func (s *logStore) haveCommands(from, to uint64) bool {
	for i := from; i <= to; i++ {
		var entry raft.Log
		if s.GetLog(i, &entry) != nil || countCommands(&entry) > 0 {
			return true
		}
	}
	return false
}

// noteKept notes which entries this board keeps although the leader lacks them.
func (s *logStore) noteKept(text string) { s.kept.Store(&text) }

// lastProven returns the last entry that is known to be committed, without those at the log's end that have no
// commands; zero if there is none.
func (s *logStore) lastProven() entryPoint {
	index, withCommands := s.proven.Load(), s.sizeSinceSnapshot().newest
	if newest, err := s.newestSnapshot(); err == nil {
		index, withCommands = max(index, newest.Index), max(withCommands, newest.Index)
	}
	index = min(index, withCommands)
	var entry raft.Log
	if index == 0 || s.GetLog(index, &entry) != nil {
		return entryPoint{}
	}
	return entryPoint{index, entry.Term}
}

// hasEntry reports whether the log or the newest snapshot has an entry. Of an entry that only a
// snapshot has, the term is not known.
func (s *logStore) hasEntry(p entryPoint) bool {
	var entry raft.Log
	if p.Index == 0 {
		return false
	}
	if err := s.GetLog(p.Index, &entry); err == nil {
		return entry.Term == p.Term
	}
	newest, err := s.newestSnapshot()
	return err == nil && p.Index <= newest.Index
}

// lowerMark makes a deletion of entries safe: it refuses to delete from the end of the log what is
// known to be committed, unless it has no commands, and moves the mark back, on disk, before the entries are gone.
func (s *logStore) lowerMark(from, to uint64) error {
	last, err := s.LastIndex()
	if err != nil || s.mark == nil || to < last {
		return err // it deletes entries that a snapshot has
	}
	end := logMark{committed: s.proven.Load()}
	if s.newestSnapshot != nil {
		newest, err := s.newestSnapshot()
		if err != nil {
			return err
		}
		end.index, end.term = newest.Index, newest.Term
	}
	if proven := s.proven.Load(); end.index < to && from <= proven && end.index < proven {
		if from = max(from, end.index+1); s.haveCommands(from, min(last, proven)) {
			return s.keepEntries(from)
		}
		s.isOverruled.Store(s.overruled != nil) // it is nil while the files are opened
		end.committed = from - 1
	}
	var entry raft.Log
	if err := s.GetLog(from-1, &entry); err == nil && entry.Index > end.index {
		end.index, end.term = entry.Index, entry.Term
	}
	if s.mark.get().index <= end.index {
		return nil
	}
	return s.mark.set(end, true)
}

// keptEntries is what a server keeps although the leader wants to delete it, "" if nothing.
type keptEntries struct{ server, text string }

func (s *logStore) describeKept(board string) string {
	if kept := s.kept.Load(); kept != nil {
		return board + " has " + *kept + ", and the leader lacks them"
	}
	return ""
}

// describeKept returns which entries this board keeps, or another one as far as it knows.
func (l *Ledger) describeKept() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(l.files.log.describeKept(l.cfg.Name), l.survey.kept.text)
}
