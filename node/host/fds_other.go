//go:build !unix

package host

// maxOpenFiles is not known on this system.
func maxOpenFiles() int { return 0 }
