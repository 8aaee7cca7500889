package orders

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"
)

// newBusyBook returns a book with something of everything.
func newBusyBook(t testing.TB) *testBook {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	o := d.ballotOffer()
	o.Product = "pi-b"
	d.want(Done, o)
	o = d.someOffer()
	o.Product, o.Mode, o.Retain, o.LimitByAddress = "pi-a", Interest, time.Hour, true
	d.want(Done, o)
	for n := range 40 {
		k := KindOrder
		if n > 2 {
			k = KindWaiting
		}
		d.want(Placed, d.newOrder(n, k))
		a := d.newOrder(n, KindEntry)
		a.Product = "pi-b"
		d.want(Placed, a)
		a = d.newOrder(n, KindInterest)
		a.Product = "pi-a"
		d.want(Placed, a)
	}
	d.want(Done, Invite{d.by(), "pi-a", 2, d.now.Add(time.Minute)})
	d.want(Done, Announce{d.by(), "We are open."})
	d.want(Done, Erase{Operation: d.by(), Email: "person39@example.org"})
	d.now = d.now.Add(2 * time.Minute)
	d.want(Done, Tick{})
	return d
}

// after continues with a book in a way that touches all of it.
func after(d *testBook) {
	d.now = start.Add(2 * time.Hour)
	d.ticks()
	d.want(Done, Stock{d.by(), "pi", 7})
	d.want(Done, Invite{d.by(), "pi", 5, d.now.Add(time.Minute)})
	d.want(SoldOut, d.newOrder(3, KindOrder))
	d.now = d.now.Add(time.Hour)
	d.ticks()
}

func TestSnapshotMidStream(t *testing.T) {
	one := newBusyBook(t)
	written := dump(t, one.book)
	two := *one
	two.book = openBook(t)
	if err := two.book.Restore(bytes.NewReader(written)); err != nil {
		t.Fatal(err)
	}
	if one.book.Erasures() == 0 || one.book.Erasures() != two.book.Erasures() {
		t.Fatalf("%d and %d erasures", one.book.Erasures(), two.book.Erasures())
	}
	if one.book.Digest() != two.book.Digest() || !bytes.Equal(written, dump(t, two.book)) {
		t.Fatal("the restored book is another one")
	}
	if a, b := one.book.Sales(), two.book.Sales(); len(a) != 3 || a[2].Draw != b[2].Draw || a[0].Version != b[0].Version {
		t.Fatal("sales differ")
	}
	after(one)
	after(&two)
	if one.book.Digest() != two.book.Digest() || !bytes.Equal(dump(t, one.book), dump(t, two.book)) {
		t.Fatal("the books diverged after the snapshot")
	}
	two.recount()
}

func TestSnapshotDoesNotChange(t *testing.T) {
	d := newBusyBook(t)
	want := dump(t, d.book)
	s, err := d.book.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	after(d)
	var got bytes.Buffer
	n, err := s.WriteTo(&got)
	if err != nil || n != int64(got.Len()) || !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("%d bytes, %v: a later Apply shows in the snapshot", n, err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	d := newBusyBook(t)
	good := dump(t, d.book)
	digest := d.book.Digest()
	flipped := func(at int) []byte {
		bad := bytes.Clone(good)
		bad[at] ^= 4
		return bad
	}
	tests := map[string][]byte{
		"nothing": {}, "another version": flipped(len(snapshotLine) - 2), "cut in the middle": good[:len(good)/2],
		"cut by a byte": good[:len(good)-1], "a byte more": append(bytes.Clone(good), 0),
		"a bit in the first bucket": flipped(len(snapshotLine) + 12), "a bit in the middle": flipped(len(good) / 2), "a bit in the hash": flipped(len(good) - 3),
	}
	for name, data := range tests {
		if err := d.book.Restore(bytes.NewReader(data)); !errors.Is(err, ErrSnapshot) && !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.book.Digest() != digest || !bytes.Equal(dump(t, d.book), good) {
		t.Fatal("a refused snapshot left a trace")
	}
	d.want(Done, Tick{})
	files, err := filepath.Glob(filepath.Join(d.book.dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("working copies are left over: %v %v", files, err)
	}
}

// FuzzRestore reads snapshots with a right hash and wrong content: the result is an error, or a book with that content
// that does not contradict itself as far as a Restore promises, never a panic.
func FuzzRestore(f *testing.F) {
	d := newBusyBook(f)
	good := dump(f, d.book)
	f.Add(uint(40), []byte{1})
	f.Add(uint(len(good)/2), []byte{0, 0, 0})
	f.Add(uint(len(good)-9), []byte{})
	b := openBook(f)
	f.Fuzz(func(t *testing.T, at uint, change []byte) {
		bad := bytes.Clone(good[:len(good)-8])
		copy(bad[at%uint(len(bad)):], change)
		bad = append(bad, uint64Key(xxhash.Sum64(bad))...)
		if err := b.Restore(bytes.NewReader(bad)); err == nil {
			if err := b.recountRestored(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dump(t, b), bad) {
				t.Fatal("the restored book has another content")
			}
		}
	})
}

// TestRecountFindsContradictions changes one thing in a working copy at a time.
func TestRecountFindsContradictions(t *testing.T) {
	for _, name := range []string{bucketIDs, bucketPeople, bucketAddresses, bucketQueue, bucketQueueBlocks, bucketBallotEntries, bucketOutbox, bucketOrders, bucketTimers} {
		t.Run(name, func(t *testing.T) {
			d := newBusyBook(t)
			d.want(Done, Invite{d.by(), "pi-a", 1, d.now.Add(time.Second)}) // the first timer
			var key, value []byte
			change := func(do func(tx *bbolt.Bucket) error) {
				if err := d.book.db.Update(func(tx *bbolt.Tx) error { return do(tx.Bucket([]byte(name))) }); err != nil {
					t.Fatal(err)
				}
			}
			change(func(bucket *bbolt.Bucket) error {
				k, v := bucket.Cursor().First()
				if k == nil {
					t.Fatal("the test's book has nothing there")
				}
				key, value = bytes.Clone(k), bytes.Clone(v)
				return bucket.Delete(key)
			})
			check := func(what string) {
				if err := d.book.recount(); !errors.Is(err, ErrBroken) {
					t.Fatalf("%s: %v", what, err)
				}
				if err := openBook(t).Restore(bytes.NewReader(dump(t, d.book))); !errors.Is(err, ErrBroken) {
					t.Fatalf("%s, restored: %v", what, err)
				}
			}
			check("a key is missing")
			if name == bucketTimers {
				return // a timer more does nothing
			}
			key[len(key)-1] ^= 0x55
			change(func(bucket *bbolt.Bucket) error { return bucket.Put(key, value) })
			check("a key is another one")
		})
	}
}

// TestBrokenBookStops: one unit too many is found at the next command, and the book returns
// that error from then on.
func TestBrokenBookStops(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	d.book.sales[0].Free++
	for i := range 2 {
		_, err := d.book.Apply(d.index+1+uint64(i), d.now, MaxRules, [][]byte{Encode(Tick{})})
		if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "sold 0 + held 0 + free 4, stock 3") {
			t.Fatalf("%v", err)
		}
	}
	if s := d.sale(); s.Free != 3 {
		t.Fatal("readers see what was not stored")
	}
}

// An entry that does not fit on a full disk changes nothing. Applied again, it has the same
// effect as if there had been room at once.
func TestFullDiskChangesNothing(t *testing.T) {
	full, twin := newTestBook(t), newTestBook(t)
	room := full.book.commit
	for _, command := range []Command{full.someOffer(), full.newOrder(1, KindOrder), full.newOrder(2, KindOrder), full.newOrder(2, KindOrder)} {
		data := Encode(command)
		before, sale, index := full.book.Digest(), fmt.Sprint(full.book.Sale("pi")), full.index
		full.book.commit = func(tx *bbolt.Tx) error { return errors.Join(syscall.ENOSPC, tx.Rollback()) }
		for range 2 {
			_, err := full.book.Apply(index+1, full.now, MaxRules, [][]byte{data})
			if !errors.Is(err, ErrDisk) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrBroken) {
				t.Fatalf("a full disk is reported as %v", err)
			}
		}
		if full.book.Digest() != before || fmt.Sprint(full.book.Sale("pi")) != sale {
			t.Errorf("%T: readers see what was not stored", command)
		}
		full.book.commit = room
		if got, want := full.apply(data), twin.apply(data); !reflect.DeepEqual(got, want) || full.book.Digest() != twin.book.Digest() {
			t.Errorf("%T: %v, and with room at once %v", command, got, want)
		}
	}
	full.recount()
}

func TestApplyRequiresEntriesInOrder(t *testing.T) {
	d := newBusyBook(t)
	if _, err := d.book.Apply(d.index, d.now, MaxRules, nil); !errors.Is(err, ErrBroken) {
		t.Fatalf("%v", err)
	}
}

func TestRewriteRemovesErasedPeople(t *testing.T) {
	d := newBusyBook(t)
	d.want(Done, Erase{Operation: d.by(), Email: "person1@example.org"})
	before := dump(t, d.book)
	if err := d.book.Rewrite(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, dump(t, d.book)) {
		t.Fatal("rewriting changed the book")
	}
	file, err := os.ReadFile(d.book.db.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"person1@", "Person 1\x00"} {
		if bytes.Contains(file, []byte(word)) {
			t.Errorf("the working copy still has %q", word)
		}
	}
}

func TestOpenRemovesOldCopies(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "book-9.db")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 0 {
		t.Fatalf("files are left: %v", files)
	}
	if _, err := b.Order(1); !errors.Is(err, ErrClosed) {
		t.Fatalf("a closed book is read: %v", err)
	}
	if _, err := b.Apply(1, start, MaxRules, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("a closed book is written: %v", err)
	}
}

// TestConcurrentReaders is a test for the race detector.
func TestConcurrentReaders(t *testing.T) {
	d := newBusyBook(t)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				found, _, err := d.book.Orders(Filter{Product: "pi"}, 0, 10)
				if err != nil || len(found) == 0 {
					t.Errorf("%d orders, %v", len(found), err)
					return
				}
				if _, _, err := d.book.Position(found[len(found)-1].ID); err != nil && !errors.Is(err, ErrNotQueued) {
					t.Error(err)
				}
				d.book.Due()
				d.book.News()
				s, err := d.book.Snapshot()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.WriteTo(io.Discard); err != nil {
					t.Error(err)
				}
				s.Close()
			}
		})
	}
	for n := range 30 {
		d.want(Placed, d.newOrder(100+n, KindWaiting))
	}
	if err := d.book.Rewrite(); err != nil {
		t.Error(err)
	}
	after(d)
	close(stop)
	readers.Wait()
}

func TestOldOperationsAreDropped(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	var batch [][]byte
	for range MaxOperations + 10 {
		batch = append(batch, Encode(Stock{d.by(), "pi", 1}))
	}
	d.index++
	if _, err := d.book.Apply(d.index, d.now, MaxRules, batch); err != nil {
		t.Fatal(err)
	}
	err := d.book.withReadTx(func(r *readTx) error {
		for _, name := range []string{bucketOperations, bucketOperationLog} {
			n := 0
			c := r.bucket(name).Cursor()
			for k, _ := c.First(); k != nil; k, _ = c.Next() {
				n++
			}
			if n != MaxOperations {
				t.Errorf("%s has %d, want %d", name, n, MaxOperations)
			}
		}
		k, _ := r.bucket(bucketOperationLog).Cursor().First()
		if got := binary.BigEndian.Uint64(k); got != 12 {
			t.Errorf("the oldest is %d, want 12", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
