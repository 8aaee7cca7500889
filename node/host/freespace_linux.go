package host

import "golang.org/x/sys/unix"

// FreeSpace returns how many bytes are left for a folder's files.
func FreeSpace(folder string) (bytes int64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
