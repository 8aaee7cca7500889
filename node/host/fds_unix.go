//go:build unix

package host

import "golang.org/x/sys/unix"

// maxOpenFiles returns the number of files that this process may open; 0 if that is not
// known. The Go runtime has already raised the limit as far as it may.
func maxOpenFiles() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	const most = 1 << 30 // "unlimited" is a huge number
	return int(min(uint64(limit.Cur), most))
}
