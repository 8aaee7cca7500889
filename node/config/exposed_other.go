//go:build !linux

package config

import "runtime"

func lacksModes(string) bool { return runtime.GOOS == "windows" }
