package orders

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"
)

// A snapshot is a line with its version, every key and value of every bucket in order, and a
// hash of it all. It is not a copy of the working copy's file: free pages of that file may
// still contain an erased person's name. Two boards at the same entry write the same
// bytes.
//
// Version 1 lacks the restore bucket, and is still written while that is empty.
const (
	snapshotStart = "bramble orders snapshot "
	snapshotLine1 = snapshotStart + "1\n"
	snapshotLine  = snapshotStart + "2\n"
)

// Limits of a key and a value of a snapshot, in bytes, and the bytes that Restore reads at a
// time, which must hold both.
const (
	maxKey        = 64
	maxValue      = 64 << 10
	restoreBuffer = 128 << 10
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
	forms := buckets
	if k, _ := s.tx.Bucket([]byte(bucketRestore)).Cursor().First(); k == nil {
		forms = forms[:len(forms)-1]
		w.WriteString(snapshotLine1)
	} else {
		w.WriteString(snapshotLine)
	}
	var n []byte
	for i, form := range forms {
		w.WriteByte(byte(i + 1))
		err := s.tx.Bucket([]byte(form.name)).ForEach(func(k, v []byte) error {
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
	next, err := b.buildFrom(from)
	if err != nil {
		return err
	}
	b.adoptMemory(next)
	b.broken = nil
	return b.replaceWorkingCopy(next.db, next.readModel.Load())
}

// buildFrom builds a book with a working copy of its own from a written snapshot, and
// recounts it.
func (b *Book) buildFrom(from io.Reader) (*Book, error) {
	name := b.nextWorkingCopy()
	recount := newRecount()
	if err := writeWorkingCopy(name, from, recount); err != nil {
		return nil, errors.Join(fmt.Errorf("orders: restoring: %w", err), os.Remove(name))
	}
	db, err := openWorkingCopy(name)
	if err != nil {
		return nil, errors.Join(err, os.Remove(name))
	}
	next := &Book{db: db}
	err = db.View(func(tx *bbolt.Tx) error {
		if err := next.loadMemory(tx); err != nil {
			return err
		}
		return recount.compareTotals(tx)
	})
	if err != nil {
		return nil, errors.Join(err, discardWorkingCopy(db))
	}
	return next, nil
}

// loadMemory loads a book's memory from the working copy.
func (b *Book) loadMemory(tx *bbolt.Tx) error {
	b.byName, b.meta = map[string]*storedSale{}, meta{rules: 1}
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
		if !s.Retired {
			b.active = append(b.active, s)
		}
	}
	a := newApplyTx(b, tx)
	b.readModel.Store(a.buildReadModel())
	return a.err
}

// writeWorkingCopy writes a snapshot to a new working copy, and adds its pairs to the recount.
func writeWorkingCopy(name string, from io.Reader, recount *recountState) error {
	w, err := newBulkWriter(name)
	if err != nil {
		return err
	}
	if err := fillBuckets(w, from, recount); err != nil {
		return errors.Join(err, w.closeFile())
	}
	return w.finishFile()
}

// fillBuckets reads a snapshot.
func fillBuckets(w *bulkWriter, from io.Reader, recount *recountState) error {
	r := &snapshotReader{from: bufio.NewReaderSize(from, restoreBuffer), hash: xxhash.New()}
	forms := buckets
	switch line, ok := r.takeBytes(len(snapshotLine)); {
	case ok && string(line) == snapshotLine1:
		forms = forms[:len(forms)-1]
	case ok && string(line) == snapshotLine:
	case ok && bytes.HasPrefix(line, []byte(snapshotStart)):
		return fmt.Errorf("%w (version %s)", ErrNewerSnapshot, bytes.TrimSpace(line[len(snapshotStart):]))
	default:
		return fmt.Errorf("%w: it does not begin with %q", ErrSnapshot, snapshotLine[:len(snapshotLine)-1])
	}
	for i, form := range forms {
		if n, ok := r.takeBytes(1); !ok || n[0] != byte(i+1) {
			return fmt.Errorf("%w: it ends before %s", ErrSnapshot, form.name)
		}
		for {
			pair, keyLen, err := r.takePair(form)
			if err != nil {
				return err
			}
			if keyLen == 0 {
				break
			}
			if !w.addPair(pair, keyLen) {
				return fmt.Errorf("%w: the keys of %s are not in order", ErrSnapshot, form.name)
			}
			if err := recount.addPair(form.name, pair[:keyLen], pair[keyLen:]); err != nil {
				return err
			}
		}
		w.finishBucket(form.name)
	}
	for _, form := range buckets[len(forms):] {
		w.finishBucket(form.name) // empty
	}
	sum := r.hash.Sum64()
	if wrote, ok := r.takeBytes(8); !ok || binary.BigEndian.Uint64(wrote) != sum {
		return fmt.Errorf("%w: its hash does not match", ErrSnapshot)
	}
	if _, err := r.from.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: there is data after its end", ErrSnapshot)
	}
	return nil
}

// snapshotReader reads a snapshot, and hashes what was taken from it.
type snapshotReader struct {
	from *bufio.Reader
	hash *xxhash.Digest
}

// takeBytes takes n bytes, at most restoreBuffer; false means that there are fewer. They are valid until the next call.
func (r *snapshotReader) takeBytes(n int) ([]byte, bool) {
	data, err := r.from.Peek(n)
	if err != nil {
		return nil, false
	}
	r.hash.Write(data)
	r.from.Discard(n)
	return data, true
}

// takePair takes a key and its value, in one slice, and returns the key's length; 0 is the bucket's end.
func (r *snapshotReader) takePair(form bucketForm) (pair []byte, keyLen int, err error) {
	head, _ := r.from.Peek(2 * binary.MaxVarintLen64) // fewer at the end
	k, n := readUvarint(head)
	if n <= 0 || k > maxKey {
		return nil, 0, fmt.Errorf("%w: a key cannot be read", ErrSnapshot)
	}
	if k == 0 {
		r.takeBytes(n)
		return nil, 0, nil
	}
	valueLen, m := readUvarint(head[n:])
	if m <= 0 || valueLen > maxValue {
		return nil, 0, fmt.Errorf("%w: a value cannot be read", ErrSnapshot)
	}
	if !form.fits(int(k), int(valueLen)) {
		return nil, 0, fmt.Errorf("%w: %s has a key or a value of the wrong length", ErrSnapshot, form.name)
	}
	pair, ok := r.takeBytes(n + m + int(k+valueLen))
	if !ok {
		return nil, 0, fmt.Errorf("%w: it ends within a value", ErrSnapshot)
	}
	return pair[n+m:], int(k), nil
}
