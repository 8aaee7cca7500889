package host

import (
	"time"

	"golang.org/x/sys/windows"
)

// ReadUsage reads the process's times from the system and its memory from Go's
// runtime.
func ReadUsage() Usage {
	var created, exited, kernel, user windows.Filetime
	u := Usage{MemoryBytes: runtimeMemory()}
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user); err != nil {
		return u
	}
	u.CPU = durationOf(kernel) + durationOf(user)
	return u
}

// durationOf converts a duration in units of 100 ns.
func durationOf(f windows.Filetime) time.Duration {
	return time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) * 100
}

// maxOpenFiles is not known on this system.
func maxOpenFiles() int { return 0 }
