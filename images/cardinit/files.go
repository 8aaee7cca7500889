package cardinit

import (
	"errors"
	"os"
	"path/filepath"
)

// replaceFile writes a file so that after a power cut it is the old one or the
// new one, whole. It makes the folder if there is none.
func replaceFile(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := writeSynced(file+".new", data, os.O_TRUNC); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// writeSynced writes a file and has it on the card when it returns.
func writeSynced(file string, data []byte, flag int) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|flag, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir has a folder's entries on the card when it returns.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
