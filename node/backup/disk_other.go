//go:build !linux

package backup

import "os"

func dropFileCache(*os.File) {}

// syncDisk does nothing here: the file and its folder are synced.
func syncDisk(string) error { return nil }

// onSameDisk is not known here.
func onSameDisk(string, string) bool { return false }
