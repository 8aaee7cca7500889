//go:build unix

package main

import (
	"os"
	"syscall"
)

// restartSignals request a restart in place. SIGHUP, which some servers use, means
// a closed terminal here.
func restartSignals() []os.Signal { return []os.Signal{syscall.SIGUSR2} }
