package cardinit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// replaceFile replaces a file so that after a power cut it is either the old one or
// the new one, complete. It creates the folder if there is none.
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

// writeSynced writes a file. The data is on the card when it returns.
func writeSynced(file string, data []byte, flag int) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|flag, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir syncs a folder's entries. They are on the card when it returns.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// waitForFile waits until a file exists, for at most limit.
func waitForFile(ctx context.Context, file string, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := os.Stat(file)
	for ; err != nil && ctx.Err() == nil; _, err = os.Stat(file) {
		sleep(ctx, 100*time.Millisecond)
	}
	return err == nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
