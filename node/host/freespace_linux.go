package host

import "golang.org/x/sys/unix"

// FreeSpace returns the number of free bytes on a folder's file system.
func FreeSpace(folder string) (bytes int64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
