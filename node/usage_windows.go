package node

import (
	"time"

	"golang.org/x/sys/windows"
)

// processUsage asks the system for the time, and the runtime for the memory.
func processUsage() usage {
	var created, exited, kernel, user windows.Filetime
	u := usage{memory: runtimeMemory()}
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user); err != nil {
		return u
	}
	u.cpu = filetime(kernel) + filetime(user)
	return u
}

// filetime is a length of time in units of 100 ns.
func filetime(f windows.Filetime) time.Duration {
	return time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) * 100
}
