package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"bramble/cluster/durable"
)

// A keep is one small file of keys and values which must never be lost: who
// this board is, what it promised, which term it voted in, which log segments
// there are. Every change appends the whole of it as one record with a CRC
// and syncs once; the last good record counts. It is written at elections and
// when a log segment is begun, not per command.
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
	rewriteThreshold = 1 << 18 // bytes after which the file is written anew
	sectorSize       = 512     // bytes that a disk writes as a whole or not at all
)

// damageError is an error that says which file is damaged and how.
type damageError struct {
	File string
	What string
}

func (d *damageError) Error() string { return fmt.Sprintf("%s is damaged: %s", d.File, d.What) }
func (d *damageError) Unwrap() error { return ErrDamaged }

// classifyReadError tells damage from what a full or failing disk or a missing right
// says, which must never cost a folder. A file that is gone is damage.
func classifyReadError(file string, err error) error {
	var d *damageError
	var path *fs.PathError
	var errno syscall.Errno
	switch {
	case err == nil || errors.As(err, &d):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &damageError{file, err.Error()}
	case errors.As(err, &path), errors.As(err, &errno):
		return fmt.Errorf("%s: %w", file, err)
	}
	return &damageError{file, err.Error()}
}

// recoverAsDamage turns a panic in a library that reads a damaged file into damage.
func recoverAsDamage(file string, err *error) {
	if p := recover(); p != nil {
		*err = &damageError{file, fmt.Sprint(p)}
	}
}

func crc32cSum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// openStableStore reads the file at path, or makes an empty one. A torn last record
// is cut off; a *damage error says that a record that was once good is not.
func openStableStore(path string, slow time.Duration) (*stableStore, error) {
	k := &stableStore{path: path, slowSync: slow, values: map[string][]byte{}}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, k.rewriteFile()
	case err != nil:
		return nil, err
	}
	values, good, err := readLastRecord(filepath.Base(path), b)
	if err != nil {
		return nil, err
	}
	k.values = values
	if good < len(b) || good > rewriteThreshold {
		return k, k.rewriteFile()
	}
	if k.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	k.size = int64(good)
	return k, nil
}

// readLastRecord gives the values of the last good record and where it ends.
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
			// A write that was cut short has its true length in front; one whose
			// checksum fits what is there has only lost its length.
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

// looksTorn reports whether b looks like a write that a power cut stopped: it
// ends in zeros, or holds a whole sector of zeros. What is whole but for a
// flipped bit does not.
func looksTorn(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	tail := b[max(0, len(b)-4):]
	if allZero(tail) {
		return true
	}
	for i := 0; i+sectorSize <= len(b); i += 8 {
		if allZero(b[i : i+sectorSize]) {
			return true
		}
	}
	return false
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// get returns a copy of a value, nil if there is none.
func (k *stableStore) get(key string) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.values[key]
	if !ok {
		return nil
	}
	return append([]byte{}, v...)
}

// put sets values (nil removes one) and returns when they are on disk. If
// that fails, the values stay as they were.
func (k *stableStore) put(changes map[string][]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		return fs.ErrClosed
	}
	before := maps.Clone(k.values)
	for key, v := range changes {
		if v == nil {
			delete(k.values, key)
		} else {
			k.values[key] = append([]byte{}, v...)
		}
	}
	err := k.appendRecord()
	if err != nil {
		k.values = before
		return fmt.Errorf("write %s: %w", filepath.Base(k.path), err)
	}
	return nil
}

func (k *stableStore) encodeRecord() ([]byte, error) {
	payload, err := json.Marshal(k.values)
	if err != nil {
		return nil, err
	}
	b := make([]byte, recordHeader, recordHeader+len(payload))
	binary.LittleEndian.PutUint32(b, uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[4:], crc32cSum(payload))
	return append(b, payload...), nil
}

func (k *stableStore) appendRecord() error {
	if k.size > rewriteThreshold {
		return k.rewriteFile()
	}
	b, err := k.encodeRecord()
	if err != nil {
		return err
	}
	if _, err := k.file.WriteAt(b, k.size); err != nil {
		return err
	}
	time.Sleep(k.slowSync)
	if err := k.file.Sync(); err != nil {
		return err
	}
	k.size += int64(len(b))
	return nil
}

// rewriteFile puts a new file with one record in the old one's place.
func (k *stableStore) rewriteFile() error {
	b, err := k.encodeRecord()
	if err != nil {
		return err
	}
	if k.file != nil {
		k.file.Close()
		k.file = nil
	}
	if err := durable.WriteFile(k.path, b, 0o644); err != nil {
		return err
	}
	if k.file, err = os.OpenFile(k.path, os.O_RDWR, 0); err != nil {
		return err
	}
	k.size = int64(len(b))
	return nil
}

func (k *stableStore) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		return nil
	}
	err := k.file.Close()
	k.file = nil
	return err
}
