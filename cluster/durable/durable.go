// Package durable replaces whole files so that a power cut leaves the old file or
// the new one, never a part of either, and locks directories for one process. The ledger
// and the certificates write their files with it.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// newSuffix is appended to the name of a file while it is written. A file with it that a
// power cut leaves behind is overwritten by the next write.
const newSuffix = ".new"

// WriteFile replaces the file at path, or creates it. When it returns nil, the
// file is on disk. One caller at a time may write a path.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	temp := path + newSuffix
	if err := writeSynced(temp, data, perm); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), removeIfThere(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), removeIfThere(temp))
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeSynced(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SyncDir makes the names in a directory durable: created, renamed and removed
// files. It does nothing on Windows, which has no such call.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
