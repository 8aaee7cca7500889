package orders

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"
)

// A snapshot is a line with its version, every key and value of every bucket in order, and a
// hash of it all. It is not a copy of the working copy's file: free pages of that file may
// still contain an erased person's name. Two boards at the same entry write the same
// bytes.
const snapshotLine = "bramble orders snapshot 1\n"

// Limits of a key and a value of a snapshot, in bytes, and the number of keys that Restore
// writes in one transaction.
const (
	maxKey       = 64
	maxValue     = 64 << 10
	restoreBatch = 20_000
)

// Snapshot returns a copy of the book that later Applys do not change. It must be closed.
func (b *Book) Snapshot() (interface {
	io.WriterTo
	io.Closer
}, error) {
	return b.openSnapshot()
}

func (b *Book) openSnapshot() (*snapshot, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.db == nil {
		return nil, ErrClosed
	}
	tx, err := b.db.Begin(false)
	if err != nil {
		return nil, fmt.Errorf("orders: beginning a snapshot: %w", err)
	}
	return &snapshot{tx: tx}, nil
}

type snapshot struct {
	tx    *bbolt.Tx
	close sync.Once
}

// Close ends the snapshot's transaction.
func (s *snapshot) Close() error {
	var err error
	s.close.Do(func() { err = s.tx.Rollback() })
	return err
}

// WriteTo writes the snapshot.
func (s *snapshot) WriteTo(to io.Writer) (int64, error) {
	h := xxhash.New()
	count := &countingWriter{to: to}
	w := bufio.NewWriterSize(io.MultiWriter(count, h), 64<<10)
	err := s.writeBuckets(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		_, err = count.Write(uint64Key(h.Sum64()))
	}
	if err != nil {
		return count.n, fmt.Errorf("orders: writing a snapshot: %w", err)
	}
	return count.n, nil
}

// writeBuckets writes everything before the hash. w returns its first error from Flush.
func (s *snapshot) writeBuckets(w *bufio.Writer) error {
	w.WriteString(snapshotLine)
	var n []byte
	for i, name := range buckets {
		w.WriteByte(byte(i + 1))
		err := s.tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
			n = binary.AppendUvarint(n[:0], uint64(len(k)))
			n = binary.AppendUvarint(n, uint64(len(v)))
			w.Write(n)
			w.Write(k)
			_, err := w.Write(v)
			return err
		})
		if err != nil {
			return err
		}
		w.WriteByte(0) // an empty key ends the bucket
	}
	return nil
}

type countingWriter struct {
	to io.Writer
	n  int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// Restore replaces the book by a written snapshot, and recounts it. An error (ErrSnapshot,
// ErrBroken or the disk's) leaves the book as it was. It waits until all snapshots of the
// old book are closed.
func (b *Book) Restore(from io.Reader) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.restoreFrom(from)
}

// Rewrite rebuilds the working copy from the book itself, so that its file holds no
// erased person's data; commands wait meanwhile, about as long as a Restore takes.
func (b *Book) Rewrite() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	if b.broken != nil {
		return b.broken
	}
	s, err := b.openSnapshot()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	var wrote sync.WaitGroup
	wrote.Go(func() {
		_, err := s.WriteTo(w)
		w.CloseWithError(errors.Join(err, s.Close()))
	})
	err = b.restoreFrom(r)
	r.Close()
	wrote.Wait()
	return err
}

func (b *Book) restoreFrom(from io.Reader) error {
	if errors.Is(b.broken, ErrClosed) {
		return ErrClosed
	}
	db, err := b.createWorkingCopy()
	if err != nil {
		return err
	}
	next := &Book{}
	err = fillBuckets(db, from)
	if err == nil {
		err = db.View(func(tx *bbolt.Tx) error {
			if err := next.loadMemory(tx); err != nil {
				return err
			}
			return recountTx(tx, next)
		})
	}
	if err != nil {
		return errors.Join(err, discardWorkingCopy(db))
	}
	b.mu.Lock()
	old := b.db
	b.db = db
	b.mu.Unlock()
	b.meta, b.sales, b.byName, b.broken = next.meta, next.sales, next.byName, nil
	b.readModel.Store(next.readModel.Load())
	return discardWorkingCopy(old)
}

// loadMemory loads a book's memory from the working copy.
func (b *Book) loadMemory(tx *bbolt.Tx) error {
	b.byName = map[string]*storedSale{}
	if data := tx.Bucket([]byte(bucketMeta)).Get([]byte(stateKey)); data != nil {
		m, err := decodeMeta(data)
		if err != nil {
			return err
		}
		b.meta = m
	}
	c := tx.Bucket([]byte(bucketSales)).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		n := len(b.sales)
		if n == MaxSales || !bytes.Equal(k, uint16Key(uint16(n))) {
			return fmt.Errorf("%w: the sales are not numbered in order", ErrBroken)
		}
		s, err := decodeSale(uint16(n), v)
		if err != nil {
			return err
		}
		b.sales = append(b.sales, s)
		b.byName[s.Product] = s
	}
	a := newApplyTx(b, tx)
	b.readModel.Store(a.buildReadModel())
	return a.err
}

// fillBuckets reads a snapshot into empty buckets.
func fillBuckets(db *bbolt.DB, from io.Reader) error {
	h := xxhash.New()
	// The hash covers the bytes taken from the buffer, not those that it has read ahead.
	r := &hashingReader{from: bufio.NewReaderSize(from, 64<<10), hash: h}
	line := make([]byte, len(snapshotLine))
	if _, err := io.ReadFull(r, line); err != nil || string(line) != snapshotLine {
		return fmt.Errorf("%w: it does not begin with %q", ErrSnapshot, snapshotLine[:len(snapshotLine)-1])
	}
	for i, name := range buckets {
		if n, err := r.ReadByte(); err != nil || n != byte(i+1) {
			return fmt.Errorf("%w: it ends before %s", ErrSnapshot, name)
		}
		for more := true; more; {
			err := db.Update(func(tx *bbolt.Tx) error {
				var err error
				more, err = r.readPairs(name, tx.Bucket([]byte(name)))
				return err
			})
			if err != nil {
				return fmt.Errorf("orders: restoring %s: %w", name, err)
			}
		}
	}
	sum := h.Sum64()
	var wrote [8]byte
	if _, err := io.ReadFull(r, wrote[:]); err != nil || binary.BigEndian.Uint64(wrote[:]) != sum {
		return fmt.Errorf("%w: its hash does not match", ErrSnapshot)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: there is data after its end", ErrSnapshot)
	}
	return nil
}

// hashingReader hashes the bytes that are read through it.
type hashingReader struct {
	from *bufio.Reader
	hash *xxhash.Digest
	one  [1]byte
}

func (h *hashingReader) Read(p []byte) (int, error) {
	n, err := h.from.Read(p)
	h.hash.Write(p[:n])
	return n, err
}

func (h *hashingReader) ReadByte() (byte, error) {
	c, err := h.from.ReadByte()
	if err == nil {
		h.one[0] = c
		h.hash.Write(h.one[:])
	}
	return c, err
}

// readPairs reads keys and values up to the bucket's end, at most restoreBatch of them.
func (h *hashingReader) readPairs(name string, to *bbolt.Bucket) (more bool, err error) {
	to.FillPercent = 0.9 // keys arrive in order; this leaves some room for later ones
	for range restoreBatch {
		keyLen, err := binary.ReadUvarint(h)
		if err != nil || keyLen > maxKey {
			return false, fmt.Errorf("%w: a key cannot be read", ErrSnapshot)
		}
		if keyLen == 0 {
			return false, nil
		}
		valueLen, err := binary.ReadUvarint(h)
		if err != nil || valueLen > maxValue {
			return false, fmt.Errorf("%w: a value cannot be read", ErrSnapshot)
		}
		if !hasBucketLengths(name, int(keyLen), int(valueLen)) {
			return false, fmt.Errorf("%w: %s has a key or a value of the wrong length", ErrSnapshot, name)
		}
		data := make([]byte, keyLen+valueLen)
		if _, err := io.ReadFull(h, data); err != nil {
			return false, fmt.Errorf("%w: it ends within a value", ErrSnapshot)
		}
		if err := to.Put(data[:keyLen], data[keyLen:]); err != nil {
			return false, err
		}
	}
	return true, nil
}

// hasBucketLengths reports whether a key and a value have the lengths that the code that
// splits them relies on; records have their own decoders.
func hasBucketLengths(name string, key, value int) bool {
	switch name {
	case bucketMeta:
		return key == len(stateKey)
	case bucketSales:
		return key == 2
	case bucketIDs:
		return key == 8 && value == 8
	case bucketPeople:
		return key == 27 && value == 21
	case bucketAddresses:
		return key == 26 && value == 4
	case bucketQueue:
		return key == 10 && value == 8
	case bucketQueueBlocks:
		return key == 6 && value == 4
	case bucketBallotEntries:
		return key == 10 && value == 13
	case bucketTickets:
		return key == 42 && value == 0
	case bucketTimers:
		return key == 16 && value == 0
	case bucketOutbox:
		return key == 17 && value == 1
	case bucketOperations:
		return key == 8 && value > 8
	case bucketOperationLog:
		return key == 8 && value == 8
	}
	return key == 8 // orders, news and audit, by number
}
