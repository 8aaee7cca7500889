package backup

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// dropFileCache makes the next read of a synced file come from the disk, and not from the
// kernel's memory. It is a hint: without it the check is weaker and not wrong.
func dropFileCache(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// syncDisk writes everything of a folder's file system to its disk, also what fsync leaves of FAT.
func syncDisk(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// onSameDisk reports whether two folders are on the same file system.
func onSameDisk(one, other string) bool {
	device := deviceOf(one)
	return device != 0 && device == deviceOf(other)
}

// deviceOf returns the number of the file system of a folder; 0 if it is not known.
func deviceOf(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(stat.Dev)
}
