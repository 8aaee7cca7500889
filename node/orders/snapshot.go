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
	names := buckets
	if k, _ := s.tx.Bucket([]byte(bucketRestore)).Cursor().First(); k == nil {
		names = names[:len(names)-1]
		w.WriteString(snapshotLine1)
	} else {
		w.WriteString(snapshotLine)
	}
	var n []byte
	for i, name := range names {
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
	recount := newRecount(false)
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
	r := &snapshotReader{from: from, hash: xxhash.New(), buffer: make([]byte, restoreBuffer)}
	names := buckets
	switch line, ok := r.takeBytes(len(snapshotLine)); {
	case ok && string(line) == snapshotLine1:
		names = names[:len(names)-1]
	case ok && string(line) == snapshotLine:
	case ok && bytes.HasPrefix(line, []byte(snapshotStart)):
		return fmt.Errorf("%w (version %s)", ErrNewerSnapshot, bytes.TrimSpace(line[len(snapshotStart):]))
	default:
		return fmt.Errorf("%w: it does not begin with %q", ErrSnapshot, snapshotLine[:len(snapshotLine)-1])
	}
	for i, name := range names {
		if n, ok := r.takeBytes(1); !ok || n[0] != byte(i+1) {
			return fmt.Errorf("%w: it ends before %s", ErrSnapshot, name)
		}
		for {
			pair, keyLen, err := r.takePair(name)
			if err != nil {
				return err
			}
			if keyLen == 0 {
				break
			}
			if !w.addPair(pair, keyLen) {
				return fmt.Errorf("%w: the keys of %s are not in order", ErrSnapshot, name)
			}
			if err := recount.addPair(name, pair[:keyLen], pair[keyLen:]); err != nil {
				return err
			}
		}
		w.finishBucket(name)
	}
	for _, name := range buckets[len(names):] {
		w.finishBucket(name) // empty
	}
	sum := r.hashTaken()
	if wrote, ok := r.takeBytes(8); !ok || binary.BigEndian.Uint64(wrote) != sum {
		return fmt.Errorf("%w: its hash does not match", ErrSnapshot)
	}
	if _, ok := r.takeBytes(1); ok || r.err != io.EOF {
		return fmt.Errorf("%w: there is data after its end", ErrSnapshot)
	}
	return nil
}

// snapshotReader reads a snapshot, and hashes what was taken from it.
type snapshotReader struct {
	from   io.Reader
	hash   *xxhash.Digest
	buffer []byte
	hashed int // buffer[:hashed] was taken and is hashed
	start  int // buffer[hashed:start] was taken
	end    int // buffer[start:end] is still to be taken
	err    error
}

// fillBuffer reads until the buffer has n bytes to take, if the snapshot has as many. n is at most
// the buffer's size.
func (r *snapshotReader) fillBuffer(n int) {
	if r.end-r.start >= n || r.err != nil {
		return
	}
	r.hashTaken()
	r.end = copy(r.buffer, r.buffer[r.start:r.end])
	r.start, r.hashed = 0, 0
	read, err := io.ReadAtLeast(r.from, r.buffer[r.end:], n-r.end)
	r.end += read
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	r.err = err
}

// takeBytes takes n bytes; false means that there are fewer. They are valid until the next call.
func (r *snapshotReader) takeBytes(n int) ([]byte, bool) {
	r.fillBuffer(n)
	if r.end-r.start < n {
		return nil, false
	}
	r.start += n
	return r.buffer[r.start-n : r.start], true
}

// hashTaken returns the hash of everything that was taken.
func (r *snapshotReader) hashTaken() uint64 {
	r.hash.Write(r.buffer[r.hashed:r.start])
	r.hashed = r.start
	return r.hash.Sum64()
}

// takePair takes a key and its value, in one slice, and returns the key's length; 0 is the bucket's end.
func (r *snapshotReader) takePair(name string) (pair []byte, keyLen int, err error) {
	r.fillBuffer(2 * binary.MaxVarintLen64)
	k, n := readUvarint(r.buffer[r.start:r.end])
	if n <= 0 || k > maxKey {
		return nil, 0, fmt.Errorf("%w: a key cannot be read", ErrSnapshot)
	}
	if k == 0 {
		r.start += n
		return nil, 0, nil
	}
	valueLen, m := readUvarint(r.buffer[r.start+n : r.end])
	if m <= 0 || valueLen > maxValue {
		return nil, 0, fmt.Errorf("%w: a value cannot be read", ErrSnapshot)
	}
	if !hasBucketLengths(name, int(k), int(valueLen)) {
		return nil, 0, fmt.Errorf("%w: %s has a key or a value of the wrong length", ErrSnapshot, name)
	}
	r.start += n + m
	pair, ok := r.takeBytes(int(k + valueLen))
	if !ok {
		return nil, 0, fmt.Errorf("%w: it ends within a value", ErrSnapshot)
	}
	return pair, int(k), nil
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
	case bucketRestore:
		return key > 1
	}
	return key == 8 // orders, news and audit, by number
}
