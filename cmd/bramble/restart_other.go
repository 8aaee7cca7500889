//go:build !unix

package main

import "os"

// restartSignals is empty: this system has no restart in place.
func restartSignals() []os.Signal { return nil }

func keepFilesPrivate() {}
