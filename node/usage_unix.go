//go:build unix && !linux

package node

import (
	"time"

	"golang.org/x/sys/unix"
)

// processUsage asks the system. There is no portable way to the resident size,
// so memory is what the runtime has got from the system.
func processUsage() usage {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return usage{memory: runtimeMemory()}
	}
	return usage{cpu: time.Duration(r.Utime.Nano() + r.Stime.Nano()), memory: runtimeMemory()}
}
