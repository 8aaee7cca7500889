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

// segmentSize is a log file's size in bytes. The file is laid out in full
// before it is used, so that a sync has only data to write; four megabytes is
// what is lost on the card when the log is short.
const segmentSize = 4 << 20

// checksumSize is what every entry on disk has before its extensions: the CRC-32C
// of the entry.
const checksumSize = 4

// logStore is the log on disk: raft-wal, one write and one sync for all
// entries of a call, with a checksum of our own on every entry.
type logStore struct {
	dir      string
	slowSync time.Duration
	bytes    atomic.Int64 // of entries stored behind the last snapshot
	trouble  atomic.Pointer[string]
	open     func() (*wal.WAL, error)

	mu  sync.RWMutex // guards wal, which is used with mu held for reading
	wal *wal.WAL

	writing      sync.Mutex // guards all below; who has it may take mu
	writeFailure error      // why a write failed: wal takes no more writes; nil: it does
	reopenTried  time.Time  // when opening it anew was last tried
}

// reopenInterval is how often it is tried to write again after a write has failed: it
// begins with reading the log's last segment through.
const reopenInterval = 5 * time.Second

// openLog opens the log's segments. lenient opens what is left of a damaged
// log, to read it.
func openLog(dir string, k *stableStore, slow time.Duration, lenient bool, log hclog.Logger) (*logStore, error) {
	return openLogOn(fs.New(), dir, k, slow, lenient, log)
}

func openLogOn(disk types.VFS, dir string, k *stableStore, slow time.Duration, lenient bool, log hclog.Logger) (_ *logStore, err error) {
	defer recoverAsDamage(filepath.Base(dir), &err)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s := &logStore{dir: dir, slowSync: slow}
	s.open = func() (*wal.WAL, error) {
		return wal.Open(dir,
			wal.WithMetaStore(walMeta{k}),
			wal.WithSegmentFiler(segmentFiler{segment.NewFiler(dir, disk), dir, lenient}),
			wal.WithSegmentSize(segmentSize),
			wal.WithLogger(log))
	}
	if s.wal, err = s.open(); err != nil {
		return nil, classifyReadError(filepath.Base(dir), err)
	}
	return s, nil
}

// reopenAfterFailure makes the log writable after a failed write, as on a full disk: raft-wal
// 0.4.0 takes no more writes then ("segment is sealed", "non-monotonic append"),
// though all that it has acknowledged can be read. So it is opened anew, which
// cuts the failed batch off; what of that has reached the disk all the same is
// dropped, for raft was told that it has not. s.writing is held.
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
	anew, err := s.open()
	if err != nil {
		return fmt.Errorf("opening the log again after %q: %w", s.writeFailure, err)
	}
	if last, err := anew.LastIndex(); err != nil || last > acknowledged {
		if err == nil {
			err = anew.DeleteRange(acknowledged+1, last)
		}
		if err != nil {
			return errors.Join(err, anew.Close())
		}
	}
	old := s.wal
	s.wal, s.writeFailure = anew, nil
	_ = old.Close() // it was only read from
	return nil
}

// writeLog has a write carried out by a log that takes it.
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

// lockForReading gives the log to read from, and what to call afterwards.
func (s *logStore) lockForReading() (w *wal.WAL, done func()) {
	s.mu.RLock()
	return s.wal, s.mu.RUnlock
}

// entryChecksum is the checksum of one entry as raft sees it.
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
	summed := make([]*raft.Log, len(logs))
	n := 0
	for i, l := range logs {
		c := *l
		c.Extensions = append(binary.LittleEndian.AppendUint32(nil, entryChecksum(l)), l.Extensions...)
		summed[i] = &c
		n += len(l.Data) + 32
	}
	time.Sleep(s.slowSync)
	if err := s.writeLog(func(w *wal.WAL) error { return w.StoreLogs(summed) }); err != nil {
		return err
	}
	s.bytes.Add(int64(n))
	return nil
}

func (s *logStore) GetLog(index uint64, l *raft.Log) (err error) {
	defer recoverAsDamage(filepath.Base(s.dir), &err)
	w, done := s.lockForReading()
	defer done()
	if err := w.GetLog(index, l); err != nil {
		if errors.Is(err, wal.ErrNotFound) {
			return raft.ErrLogNotFound
		}
		return err
	}
	if len(l.Extensions) < checksumSize {
		return &damageError{filepath.Base(s.dir), fmt.Sprintf("entry %d has no checksum", index)}
	}
	sum := binary.LittleEndian.Uint32(l.Extensions)
	l.Extensions = l.Extensions[checksumSize:]
	if len(l.Extensions) == 0 {
		l.Extensions = nil
	}
	if l.Index != index || entryChecksum(l) != sum {
		return &damageError{filepath.Base(s.dir), fmt.Sprintf("entry %d fails its checksum", index)}
	}
	return nil
}

func (s *logStore) FirstIndex() (uint64, error) {
	w, done := s.lockForReading()
	defer done()
	return w.FirstIndex()
}

func (s *logStore) LastIndex() (uint64, error) {
	w, done := s.lockForReading()
	defer done()
	return w.LastIndex()
}

func (s *logStore) DeleteRange(min, max uint64) error {
	return s.writeLog(func(w *wal.WAL) error { return w.DeleteRange(min, max) })
}

func (s *logStore) Set(key, val []byte) error {
	w, done := s.lockForReading()
	defer done()
	return w.Set(key, val)
}

func (s *logStore) SetUint64(key []byte, v uint64) error {
	w, done := s.lockForReading()
	defer done()
	return w.SetUint64(key, v)
}

func (s *logStore) IsMonotonic() bool { return true }

// Get returns an error that says "not found" for a key that was never set, as
// raft expects.
func (s *logStore) Get(key []byte) ([]byte, error) {
	w, done := s.lockForReading()
	defer done()
	v, err := w.Get(key)
	if err == nil && v == nil {
		return nil, errNoKey
	}
	return v, err
}

func (s *logStore) GetUint64(key []byte) (uint64, error) {
	w, done := s.lockForReading()
	defer done()
	return w.GetUint64(key)
}

var errNoKey = errors.New("not found") // raft compares the text

// verifyEntries reads every entry. after is the index of the newest snapshot, to
// which the log must join on.
func (s *logStore) verifyEntries(after uint64) error {
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	if last == 0 {
		return nil
	}
	if first > after+1 {
		return &damageError{filepath.Base(s.dir), fmt.Sprintf("entries %d to %d are missing", after+1, first-1)}
	}
	var l raft.Log
	term, bytes := uint64(0), 0
	for i := first; i <= last; i++ {
		if err := s.GetLog(i, &l); err != nil {
			return classifyReadError(filepath.Base(s.dir), fmt.Errorf("entry %d: %w", i, err))
		}
		if l.Term < term {
			return &damageError{filepath.Base(s.dir), fmt.Sprintf("entry %d is of an earlier term than the one before", i)}
		}
		term = l.Term
		if i > after {
			bytes += len(l.Data) + 32
		}
	}
	s.bytes.Store(int64(bytes))
	return nil
}

func (s *logStore) close() error {
	w, done := s.lockForReading()
	defer done()
	return w.Close()
}
