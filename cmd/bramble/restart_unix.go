//go:build unix

package main

import (
	"os"
	"syscall"
)

// replaceSignals are those that ask for another program; SIGHUP, which some
// servers take, is a closed terminal here.
func replaceSignals() []os.Signal { return []os.Signal{syscall.SIGUSR2} }
