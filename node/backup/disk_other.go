//go:build !linux

package backup

import "os"

// dropFileCache does nothing here.
func dropFileCache(*os.File) {}

// onSameDisk is not known here.
func onSameDisk(string, string) bool { return false }
