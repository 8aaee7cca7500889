package ledger

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// fileLock is the file that is locked while a process has the directory open. It holds
// the process id. Two processes on one directory would destroy it.
const fileLock = "lock"

// dirLock is a held lock.
type dirLock struct{ file *os.File }

// lockDir creates and locks a ledger's directory. The error is ErrInUse if another process
// holds the lock.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open the ledger's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the ledger's directory: %w", err)
	}
	isHeld, err := tryLock(f)
	if err == nil && isHeld {
		b, _ := io.ReadAll(io.LimitReader(f, 32)) // only for the text
		err = fmt.Errorf("%w: another board (process %s) runs on %s: stop it, or give this board a directory of its own",
			ErrInUse, strings.TrimSpace(string(b)), dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	// The id is for a person; a full disk must not keep the board from starting.
	if f.Truncate(0) == nil {
		f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	}
	return &dirLock{f}, nil
}

// release frees the lock.
func (d *dirLock) release() { d.file.Close() }
