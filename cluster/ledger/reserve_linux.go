package ledger

import (
	"os"
	"syscall"
)

// keepSize is FALLOC_FL_KEEP_SIZE of fallocate(2).
const keepSize = 1

// reserveSpace reserves the first n bytes of a file on the disk, without making it longer. A
// file system that cannot do that leaves the file as it is.
func reserveSpace(f *os.File, n int64) {
	_ = syscall.Fallocate(int(f.Fd()), keepSize, 0, n)
}
