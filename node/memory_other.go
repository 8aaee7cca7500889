//go:build !linux

package node

// boardMemory is not known: boards run Linux, and elsewhere there is enough.
func boardMemory() int64 { return 0 }
