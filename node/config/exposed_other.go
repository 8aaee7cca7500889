//go:build !linux

package config

import (
	"os"
	"runtime"
)

func lacksModes(string) bool { return runtime.GOOS == "windows" }

func ownerOf(os.FileInfo) int { return -1 }
