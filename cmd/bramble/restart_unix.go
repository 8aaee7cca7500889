//go:build unix

package main

import (
	"os"
	"syscall"
)

// restartSignals request a restart in place. SIGHUP, which some servers use, means
// a closed terminal here.
func restartSignals() []os.Signal { return []os.Signal{syscall.SIGUSR2} }

// keepFilesPrivate keeps others from all files that this process makes, libraries included.
func keepFilesPrivate() { syscall.Umask(0o077) }
