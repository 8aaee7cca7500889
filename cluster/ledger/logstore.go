package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/hashicorp/go-hclog"
)

// segmentSize is the size of a log file in bytes. The file is allocated in full
// before it is used, so that a sync writes only data. A short log wastes four
// megabytes of the card.
const segmentSize = 4 << 20

// checksumSize is the size of the CRC-32C that every entry on disk has before its
// extensions.
const checksumSize = 4

// logStore is the log on disk: raft-wal, with one write and one sync for all entries
// of a call, and an additional checksum on every entry.
type logStore struct {
	dir      string
	slowSync time.Duration
	trouble  atomic.Pointer[string] // why it cannot be written, nil if it can
	open     func() (*wal.WAL, error)

	mark           *markFile // nil: a part of a damaged log is read
	newestSnapshot func() (raft.SnapshotMeta, error)
	proven         atomic.Uint64          // index up to which entries are known to be committed
	kept           atomic.Pointer[string] // the entries that a leader wanted to delete and that this board keeps, nil if none

	isOverruled atomic.Bool // see errOverruled: nothing is stored any more
	overruled   func()      // is called then

	sizeMu  sync.Mutex  // guards size, terms and termsTo
	size    logSize     // of the entries after the last snapshot
	terms   []termStart // of the log, the last maxTermStarts; never changed in place
	termsTo uint64      // index of the log's last entry

	mu  sync.RWMutex // guards wal, which is used with mu held for reading
	wal *wal.WAL

	writing      sync.Mutex // guards all below; locked before mu
	writeFailure error      // why wal accepts no more writes, nil if it does
	reopenTried  time.Time  // when wal was last reopened, or could not be
}

// reopenInterval is the interval between two attempts to write again after a failure.
// Each reads the whole last segment first.
const reopenInterval = 5 * time.Second

// logOptions configure openLog.
type logOptions struct {
	dir      string
	disk     types.VFS // nil: the file system
	stable   *stableStore
	slowSync time.Duration // see Config.SlowSync
	lenient  bool          // open the readable part of a damaged log
	logger   hclog.Logger
}

// openLog opens the log's segments.
func openLog(o logOptions) (_ *logStore, err error) {
	defer recoverAsDamage(filepath.Base(o.dir), &err)
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	if o.disk == nil {
		o.disk = fs.New()
	}
	s := &logStore{dir: o.dir, slowSync: o.slowSync}
	s.open = func() (*wal.WAL, error) {
		return wal.Open(o.dir,
			wal.WithMetaStore(walMeta{o.stable}),
			wal.WithSegmentFiler(segmentFiler{segment.NewFiler(o.dir, o.disk), o.dir, o.lenient}),
			wal.WithSegmentSize(segmentSize),
			wal.WithLogger(o.logger))
	}
	if s.wal, err = s.open(); err != nil {
		return nil, classifyReadError(filepath.Base(o.dir), err)
	}
	return s, nil
}

// reopenAfterFailure makes the log writable after a failed write, such as on a full
// disk. Raft-wal 0.4.0 then accepts no more writes ("segment is sealed", "non-monotonic
// append"), though everything that it has acknowledged can be read. Opening it again
// cuts off the failed batch. Entries of that batch that have reached the disk are
// deleted, because raft knows that they were not stored. s.writing is held.
func (s *logStore) reopenAfterFailure() (err error) {
	if s.writeFailure == nil {
		return nil
	}
	if time.Since(s.reopenTried) < reopenInterval {
		return s.writeFailure
	}
	s.reopenTried = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer recoverAsDamage(filepath.Base(s.dir), &err)
	acknowledged, err := s.wal.LastIndex()
	if err != nil {
		return err
	}
	reopened, err := s.open()
	if err != nil {
		return fmt.Errorf("opening the log again after %q: %w", s.writeFailure, err)
	}
	if last, err := reopened.LastIndex(); err != nil || last > acknowledged {
		if err == nil {
			err = reopened.DeleteRange(acknowledged+1, last)
		}
		if err != nil {
			return errors.Join(err, reopened.Close())
		}
	}
	old := s.wal
	s.wal, s.writeFailure = reopened, nil
	_ = old.Close() // nothing was written to it
	return nil
}

// writeLog runs a write on the log, which it reopens first if an earlier one failed.
func (s *logStore) writeLog(do func(w *wal.WAL) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.reopenAfterFailure()
	if err == nil {
		s.mu.RLock()
		if err = do(s.wal); err != nil {
			s.writeFailure = err
		}
		s.mu.RUnlock()
	}
	if err != nil {
		text := fmt.Sprintf("the log cannot be written: %v", err)
		s.trouble.Store(&text)
		return err
	}
	s.trouble.Store(nil)
	return nil
}

// lockForReading returns the log to read from, and the function to call afterwards.
func (s *logStore) lockForReading() (w *wal.WAL, unlock func()) {
	s.mu.RLock()
	return s.wal, s.mu.RUnlock
}

// entryChecksum returns the checksum of one entry as raft sees it.
func entryChecksum(l *raft.Log) uint32 {
	b := make([]byte, 0, 17)
	b = binary.LittleEndian.AppendUint64(b, l.Index)
	b = binary.LittleEndian.AppendUint64(b, l.Term)
	b = append(b, byte(l.Type))
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(crc32.Checksum(b, table), table, l.Data), table, l.Extensions)
}

func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *logStore) StoreLogs(logs []*raft.Log) error {
	checked := make([]*raft.Log, len(logs))
	var size logSize
	for i, l := range logs {
		size.addEntry(l)
		c := *l
		c.Extensions = append(binary.LittleEndian.AppendUint32(nil, entryChecksum(l)), l.Extensions...)
		checked[i] = &c
	}
	if s.isOverruled.Load() {
		return errOverruled
	}
	time.Sleep(s.slowSync)
	if err := s.writeLog(func(w *wal.WAL) error { return w.StoreLogs(checked) }); err != nil {
		return err
	}
	s.noteStored(logs)
	s.addSize(size)
	for _, l := range logs {
		s.noteTerm(l)
	}
	return nil
}

// sizeSinceSnapshot returns the size of the log after the last snapshot.
func (s *logStore) sizeSinceSnapshot() logSize {
	s.sizeMu.Lock()
	defer s.sizeMu.Unlock()
	return s.size
}

func (s *logStore) addSize(more logSize) {
	s.sizeMu.Lock()
	defer s.sizeMu.Unlock()
	s.size.entries += more.entries
	s.size.commands += more.commands
	s.size.bytes += more.bytes
	s.size.newest = max(s.size.newest, more.newest)
}

// GetLog returns an entry. For the snapshot's own index, if the log does not have it, it
// returns an empty entry of the snapshot's term: a leader that retries the entry after the
// snapshot makes raft 1.8 look for that term here and nowhere else, so a board whose log is empty
// up to there, as after Compact, could not accept what it has stored already.
func (s *logStore) GetLog(index uint64, l *raft.Log) (err error) {
	defer recoverAsDamage(filepath.Base(s.dir), &err)
	w, unlock := s.lockForReading()
	defer unlock()
	if err := w.GetLog(index, l); err != nil {
		if !errors.Is(err, wal.ErrNotFound) {
			return err
		}
		if s.newestSnapshot != nil {
			if newest, err := s.newestSnapshot(); err == nil && newest.Index == index && index > 0 {
				*l = raft.Log{Index: index, Term: newest.Term, Type: raft.LogNoop}
				return nil
			}
		}
		return raft.ErrLogNotFound
	}
	if len(l.Extensions) < checksumSize {
		return &damageError{filepath.Base(s.dir), fmt.Sprintf("entry %d has no checksum", index)}
	}
	checksum := binary.LittleEndian.Uint32(l.Extensions)
	l.Extensions = l.Extensions[checksumSize:]
	if len(l.Extensions) == 0 {
		l.Extensions = nil
	}
	if l.Index != index || entryChecksum(l) != checksum {
		return &damageError{filepath.Base(s.dir), fmt.Sprintf("entry %d fails its checksum", index)}
	}
	return nil
}

func (s *logStore) FirstIndex() (uint64, error) {
	w, unlock := s.lockForReading()
	defer unlock()
	return w.FirstIndex()
}

func (s *logStore) LastIndex() (uint64, error) {
	w, unlock := s.lockForReading()
	defer unlock()
	return w.LastIndex()
}

func (s *logStore) DeleteRange(min, max uint64) error {
	if err := s.lowerMark(min, max); err != nil {
		return err
	}
	if err := s.writeLog(func(w *wal.WAL) error { return w.DeleteRange(min, max) }); err != nil || !s.isOverruled.Load() {
		return err
	}
	s.overruled()
	return errOverruled
}

func (s *logStore) Set(key, val []byte) error {
	w, unlock := s.lockForReading()
	defer unlock()
	return w.Set(key, val)
}

func (s *logStore) SetUint64(key []byte, v uint64) error {
	w, unlock := s.lockForReading()
	defer unlock()
	return w.SetUint64(key, v)
}

func (s *logStore) IsMonotonic() bool { return true }

// Get returns the error "not found" for a key that was never set, as raft expects.
func (s *logStore) Get(key []byte) ([]byte, error) {
	w, unlock := s.lockForReading()
	defer unlock()
	v, err := w.Get(key)
	if err == nil && v == nil {
		return nil, errNoKey
	}
	return v, err
}

func (s *logStore) GetUint64(key []byte) (uint64, error) {
	w, unlock := s.lockForReading()
	defer unlock()
	return w.GetUint64(key)
}

var errNoKey = errors.New("not found") // raft compares the text

// entryRange returns the indexes of the first and the last entry, 0 if there is none.
func (s *logStore) entryRange() (first, last uint64, err error) {
	if first, err = s.FirstIndex(); err != nil {
		return 0, 0, err
	}
	last, err = s.LastIndex()
	return first, last, err
}

// verifyEntries reads every entry. after is the index of the newest snapshot, which
// the log must continue.
func (s *logStore) verifyEntries(after uint64) error {
	first, last, err := s.entryRange()
	if err != nil {
		return err
	}
	var l raft.Log
	if (first > after || last == 0) && s.GetLog(after, &l) == nil {
		s.noteTerm(&l)
	}
	if last == 0 {
		return nil
	}
	if first > after+1 {
		return &damageError{filepath.Base(s.dir), fmt.Sprintf("entries %d to %d are missing", after+1, first-1)}
	}
	if last < first { // raft-wal takes the first index from a file of its own
		return &damageError{filepath.Base(s.dir), fmt.Sprintf("it ends at entry %d, and had entry %d", last, first-1)}
	}
	term, size := uint64(0), logSize{}
	for i := first; i <= last; i++ {
		if err := s.GetLog(i, &l); err != nil {
			return classifyReadError(filepath.Base(s.dir), fmt.Errorf("entry %d: %w", i, err))
		}
		if l.Term < term {
			return &damageError{filepath.Base(s.dir), fmt.Sprintf("entry %d has an earlier term than the entry before it", i)}
		}
		term = l.Term
		s.noteProven(seenBy(&l))
		s.noteTerm(&l)
		if i > after {
			size.addEntry(&l)
		}
	}
	s.addSize(size)
	return nil
}

func (s *logStore) close() error {
	w, unlock := s.lockForReading()
	defer unlock()
	if s.mark != nil {
		return errors.Join(w.Close(), s.mark.close())
	}
	return w.Close()
}

// forEachBatch calls do for each entry from an index on that the ledger wrote, up to the first
// that cannot be read.
func (s *logStore) forEachBatch(from uint64, do func(*raft.Log, entry) error) error {
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	for i := max(first, from); i <= last; i++ {
		var stored raft.Log
		if err := s.GetLog(i, &stored); err != nil {
			return err
		}
		if stored.Type != raft.LogCommand {
			continue
		}
		e, err := decodeEntry(stored.Data)
		if err == nil {
			err = do(&stored, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
