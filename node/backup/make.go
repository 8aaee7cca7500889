package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bramble/node/orders"
)

// ChunkSize is the number of bytes of the order book's snapshot in each chunk of a restore;
// the last one has the rest.
const ChunkSize = orders.MaxRestoreChunk

// Source writes the plain stream of a new backup.
type Source func(ctx context.Context, to io.Writer) error

// Store is a place for backups.
type Store interface {
	// Put stores what write writes under a new name. It reads it back and passes it to
	// verify. After an error nothing of that name remains, as far as the store can be
	// reached.
	Put(ctx context.Context, name string, write func(io.Writer) error, verify func(io.Reader) error) error
}

// Make stores a backup, reads it back, and returns its size in bytes. check, which may be nil, is
// passed to Keyring.Open then.
func Make(ctx context.Context, to Store, name string, k *Keyring, from Source, check func(Header, io.Reader) error) (h Header, size int64, err error) {
	write := func(w io.Writer) error {
		size = 0 // a server can need a second attempt
		return k.Seal(byteCounter{w, &size}, func(w io.Writer) error { return from(ctx, w) })
	}
	verify := func(r io.Reader) error {
		h, err = k.Open(r, check)
		return err
	}
	err = to.Put(ctx, name, write, verify)
	return h, size, err
}

type byteCounter struct {
	to io.Writer
	n  *int64
}

func (c byteCounter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	*c.n += int64(n)
	return n, err
}

// CheckBook restores a backup's order book into a scratch copy, counts it again and compares
// it with the header. It is a use of ReadStream and Keyring.Open.
func CheckBook(h Header, book io.Reader) (err error) {
	if h.Rules > orders.MaxRules {
		return fmt.Errorf("%w (rules %d)", ErrNewer, h.Rules)
	}
	dir, err := os.MkdirTemp("", "bramble-backup-")
	if err != nil {
		return fmt.Errorf("backup: a folder to check it in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := orders.Open(filepath.Join(dir, "book"))
	if err != nil {
		return fmt.Errorf("backup: checking it: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	err = b.Restore(book)
	switch {
	case errors.Is(err, orders.ErrNewerSnapshot):
		return fmt.Errorf("%w (%w)", ErrNewer, err)
	case errors.Is(err, orders.ErrSnapshot), errors.Is(err, orders.ErrBroken):
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	case err != nil:
		return fmt.Errorf("backup: checking it: %w", err)
	case FormatDigest(b.Digest()) != h.Digest:
		return fmt.Errorf("%w (its order book is not the one that its header describes)", ErrDamaged)
	}
	return nil
}

// FormatDigest returns a digest as Header has it.
func FormatDigest(digest uint64) string { return fmt.Sprintf("%016x", digest) }
