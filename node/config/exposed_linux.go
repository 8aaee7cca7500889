package config

import (
	"os"
	"syscall"
)

// lacksModes reports whether a file is on FAT or exFAT (linux/magic.h), where a mount option
// gives all files one mode.
func lacksModes(path string) bool {
	var fs syscall.Statfs_t
	return syscall.Statfs(path, &fs) == nil && (fs.Type == 0x4d44 || fs.Type == 0x2011bab0)
}

// ownerOf returns the user who owns a file, -1 if that is unknown.
func ownerOf(info os.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}
