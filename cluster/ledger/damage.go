package ledger

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"syscall"
)

// sectorSize is the number of bytes that a disk writes as a whole or not at all.
const sectorSize = 512

// damageError names the damaged file and the damage.
type damageError struct {
	File string
	What string
}

func (d *damageError) Error() string { return fmt.Sprintf("%s is damaged: %s", d.File, d.What) }
func (d *damageError) Unwrap() error { return ErrDamaged }

// classifyReadError turns an error of reading a file into a damageError, unless it is
// the system's: a full or failing disk or a missing permission must never cost a
// directory. A file that is gone is damage.
func classifyReadError(file string, err error) error {
	var d *damageError
	var path *fs.PathError
	var errno syscall.Errno
	switch {
	case err == nil || errors.As(err, &d) || errors.Is(err, errProgramTooOld):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &damageError{file, err.Error()}
	case errors.As(err, &path), errors.As(err, &errno):
		return fmt.Errorf("%s: %w", file, err)
	}
	return &damageError{file, err.Error()}
}

// recoverAsDamage turns a panic in a library that reads a damaged file into a damageError.
func recoverAsDamage(file string, err *error) {
	if p := recover(); p != nil {
		*err = &damageError{file, fmt.Sprint(p)}
	}
}

func crc32cSum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// looksTorn reports whether b looks like a write that a power cut stopped: it ends in
// zeros, or holds a whole sector of zeros. Data with a flipped bit does not.
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
