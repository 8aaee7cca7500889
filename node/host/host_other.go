//go:build !linux

package host

// totalMemory is not known: boards run Linux, and elsewhere there is enough.
func totalMemory() int64 { return 0 }

// FreeSpace is not known on this system: cards run Linux.
func FreeSpace(string) (bytes int64, known bool) { return 0, false }
