package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bramble/cluster/durable"
)

// stableStore is one small file of keys and values that must never be lost: the
// board's identity, its promises, its raft term and vote, and the list of log
// segments. Every change appends all values as one record with a CRC and syncs
// once; the last good record counts. It is written at elections and when a log
// segment begins, not per command.
//
// A record is: length uint32, CRC-32C of the payload uint32, payload (JSON).
type stableStore struct {
	slowSync time.Duration // see Config.SlowSync

	mu     sync.Mutex // guards all below
	path   string
	file   *os.File
	size   int64
	values map[string][]byte
}

const (
	recordHeader     = 8       // bytes before a record's payload
	maxRecord        = 1 << 20 // bytes of one record's payload: hundreds of segments
	rewriteThreshold = 1 << 18 // bytes after which the file is rewritten
	// reservedBytes of the card are the file's before it is that long: on a full card a
	// board still stores terms and votes, without which raft ends the process.
	reservedBytes = 2 * rewriteThreshold
)

// openStableStore reads the file at path, or creates it. It cuts off a torn last
// record. A *damageError means that a record that was good once is damaged.
func openStableStore(path string, slow time.Duration) (*stableStore, error) {
	s := &stableStore{path: path, slowSync: slow, values: map[string][]byte{}}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, s.rewriteFile()
	case err != nil:
		return nil, err
	}
	values, good, err := readLastRecord(filepath.Base(path), b)
	if err != nil {
		return nil, err
	}
	s.values = values
	if good < len(b) || good > rewriteThreshold {
		return s, s.rewriteFile()
	}
	if s.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	s.size = int64(good)
	reserveSpace(s.file, reservedBytes)
	return s, nil
}

// readLastRecord returns the values of the last good record, and where it ends.
func readLastRecord(name string, b []byte) (map[string][]byte, int, error) {
	var last []byte
	at := 0
	for at < len(b) {
		rest := b[at:]
		if len(rest) < recordHeader {
			break
		}
		n := int(binary.LittleEndian.Uint32(rest))
		if n <= 0 || n > maxRecord || recordHeader+n > len(rest) {
			// A torn write still has its true length in front. A record whose
			// checksum fits the rest has only lost its length, so it is damaged.
			if hasLaterRecord(rest) || crc32cSum(rest[recordHeader:]) == binary.LittleEndian.Uint32(rest[4:]) {
				return nil, 0, &damageError{name, fmt.Sprintf("the record at byte %d has an impossible length", at)}
			}
			break
		}
		payload := rest[recordHeader : recordHeader+n]
		if crc32cSum(payload) != binary.LittleEndian.Uint32(rest[4:]) {
			if len(rest) > recordHeader+n || !looksTorn(payload) {
				return nil, 0, &damageError{name, fmt.Sprintf("the record at byte %d fails its checksum", at)}
			}
			break
		}
		last = payload
		at += recordHeader + n
	}
	values := map[string][]byte{}
	if last == nil {
		return nil, 0, &damageError{name, "it has no good record"}
	}
	if err := json.Unmarshal(last, &values); err != nil {
		return nil, 0, &damageError{name, err.Error()}
	}
	return values, at, nil
}

// hasLaterRecord reports whether a good record begins anywhere after the first
// byte of b.
func hasLaterRecord(b []byte) bool {
	for i := 1; i+recordHeader < len(b); i++ {
		n := int(binary.LittleEndian.Uint32(b[i:]))
		if n > 1 && n <= len(b)-i-recordHeader && b[i+recordHeader] == '{' && b[i+recordHeader+n-1] == '}' &&
			crc32cSum(b[i+recordHeader:i+recordHeader+n]) == binary.LittleEndian.Uint32(b[i+4:]) {
			return true
		}
	}
	return false
}

// get returns a copy of a value, nil if there is none.
func (s *stableStore) get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok {
		return nil
	}
	return append([]byte{}, v...)
}

// getJSON decodes a value into v, which stays as it is if there is none.
func (s *stableStore) getJSON(key string, v any) error {
	b := s.get(key)
	if b == nil {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: the value %q: %w", filepath.Base(s.path), key, err)
	}
	return nil
}

// putJSON encodes a value and puts it.
func (s *stableStore) putJSON(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.put(key, b)
}

// put sets a value (nil removes it) and returns when it is on disk. If that fails, the
// value stays as it was.
func (s *stableStore) put(key string, v []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return fs.ErrClosed
	}
	before := maps.Clone(s.values)
	if v == nil {
		delete(s.values, key)
	} else {
		s.values[key] = append([]byte{}, v...)
	}
	err := s.appendRecord()
	if err != nil {
		s.values = before
		return fmt.Errorf("write %s: %w", filepath.Base(s.path), err)
	}
	return nil
}

func (s *stableStore) encodeRecord() ([]byte, error) {
	payload, err := json.Marshal(s.values)
	if err != nil {
		return nil, err
	}
	b := make([]byte, recordHeader, recordHeader+len(payload))
	binary.LittleEndian.PutUint32(b, uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[4:], crc32cSum(payload))
	return append(b, payload...), nil
}

func (s *stableStore) appendRecord() error {
	if s.size > rewriteThreshold {
		if err := s.rewriteFile(); err == nil || s.file == nil {
			return err
		} // on a full card: there may still be reserved space
	}
	b, err := s.encodeRecord()
	if err != nil {
		return err
	}
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		return err
	}
	time.Sleep(s.slowSync)
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.size += int64(len(b))
	return nil
}

// rewriteFile replaces the file by one with a single record. If there is no room for that, the
// old file stays in use.
func (s *stableStore) rewriteFile() error {
	b, err := s.encodeRecord()
	if err != nil {
		return err
	}
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	if err := durable.WriteFile(s.path, b, 0o600); err != nil {
		old, opening := os.OpenFile(s.path, os.O_RDWR, 0)
		if opening != nil {
			return errors.Join(err, opening)
		}
		if info, reading := old.Stat(); reading != nil || info.Size() < s.size || s.size == 0 {
			return errors.Join(err, reading, old.Close()) // it is not the old file any more
		}
		s.file = old
		return err
	}
	if s.file, err = os.OpenFile(s.path, os.O_RDWR, 0); err != nil {
		return err
	}
	s.size = int64(len(b))
	reserveSpace(s.file, reservedBytes)
	return nil
}

func (s *stableStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
