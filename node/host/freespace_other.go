//go:build !linux

package host

// FreeSpace is not known on this system: cards run Linux.
func FreeSpace(string) (bytes int64, known bool) { return 0, false }
