package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// lockName is the file in a directory that is locked while a process uses the directory. It
// holds the process id.
const lockName = "lock"

// ErrLocked: another process has locked the directory. The error's text has its process id.
var ErrLocked = errors.New("it is in use")

// DirLock is a held lock. It ends with the process at the latest.
type DirLock struct{ file *os.File }

// LockDir creates a directory and locks it for this process. The error is ErrLocked if
// another process holds the lock.
func LockDir(dir string) (*DirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	isHeld, err := tryLock(f)
	if err == nil && isHeld {
		b, _ := io.ReadAll(io.LimitReader(f, 32)) // only for the text
		err = fmt.Errorf("%w by process %s", ErrLocked, strings.TrimSpace(string(b)))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	// The id is for a person; a full disk must not keep anything from starting.
	if f.Truncate(0) == nil {
		f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	}
	return &DirLock{f}, nil
}

// Release frees the lock.
func (d *DirLock) Release() { d.file.Close() }
