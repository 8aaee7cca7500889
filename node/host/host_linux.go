package host

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ReadUsage reads getrusage(2) and the second field of /proc/self/statm, which is
// the resident size in pages.
func ReadUsage() Usage {
	var u Usage
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	u.MemoryBytes = runtimeMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return u
	}
	if fields := bytes.Fields(statm); len(fields) > 1 {
		if pages, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
			u.MemoryBytes = pages * int64(os.Getpagesize())
		}
	}
	return u
}

// totalMemory returns the memory that this process may use, in bytes; 0 if unknown.
func totalMemory() int64 { return availableMemory(os.DirFS("/")) }

// FreeSpace returns the number of free bytes on a folder's file system.
func FreeSpace(folder string) (bytes int64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
