// Package fileutil stands in for the one function of etcd's that raft-wal uses.
package fileutil

import "os"

// allocated limits the size that a new segment gets at once: a simulated board reads
// its last segment at every start, and most of four megabytes would be zeros.
const allocated = 64 << 10

// Preallocate makes a new file longer, as far as the simulation needs it. Raft-wal
// expects that it may be shorter: file systems without fallocate leave it empty.
func Preallocate(f *os.File, size int64, _ bool) error {
	return f.Truncate(min(size, allocated))
}
