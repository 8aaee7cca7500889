//go:build !unix

package main

import "os"

// replaceSignals is empty: nothing can take a running program's place here.
func replaceSignals() []os.Signal { return nil }
