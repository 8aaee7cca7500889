//go:build unix && !linux

package host

import (
	"time"

	"golang.org/x/sys/unix"
)

// ReadUsage reads getrusage(2). There is no portable way to read the resident
// size, so MemoryBytes is what Go's runtime holds.
func ReadUsage() Usage {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return Usage{MemoryBytes: runtimeMemory()}
	}
	return Usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), MemoryBytes: runtimeMemory()}
}
