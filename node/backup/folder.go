package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bramble/cluster/durable"
)

// partSuffix ends the name of a file that is not verified yet.
const partSuffix = ".part"

// Folder is a Store in a folder, such as a mounted USB stick.
type Folder string

// Put writes a file under another name, syncs it, reads it back, and gives it its name only
// then. So a file with the name of a backup is one, also on FAT after a power cut.
func (f Folder) Put(_ context.Context, name string, write func(io.Writer) error, verify func(io.Reader) error) (err error) {
	path := filepath.Join(string(f), name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already; name a file that does not exist yet", path)
	}
	part := path + partSuffix
	// Names and addresses: for the owner alone, even though they are encrypted.
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("creating the backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(part))
		}
	}()
	out := bufio.NewWriterSize(file, frameSize)
	if err := write(out); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := errors.Join(out.Flush(), file.Sync()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	dropFileCache(file)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading %s back: %w", path, err)
	}
	if err := verify(file); err != nil {
		return fmt.Errorf("reading %s back: %w", path, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("naming %s: %w", path, err)
	}
	if err := durable.SyncDir(string(f)); err != nil {
		return fmt.Errorf("naming %s: %w", path, err)
	}
	return nil
}

// list returns the names of the backups that begin with prefix, oldest first, and removes
// unfinished ones that a power cut left. Their names sort by time.
func (f Folder) list(prefix string) ([]string, error) {
	all, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range all {
		switch name := e.Name(); {
		case !strings.HasPrefix(name, prefix):
		case strings.HasSuffix(name, nameSuffix+partSuffix):
			if err := os.Remove(filepath.Join(string(f), name)); err != nil {
				return nil, err
			}
		case strings.HasSuffix(name, nameSuffix):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// prune removes all but the newest backups that begin with prefix.
func (f Folder) prune(prefix string, keep int) error {
	names, err := f.list(prefix)
	if err != nil {
		return fmt.Errorf("removing old backups: %w", err)
	}
	for _, name := range names[:max(0, len(names)-keep)] {
		if err := os.Remove(filepath.Join(string(f), name)); err != nil {
			return fmt.Errorf("removing old backups: %w", err)
		}
	}
	return nil
}
