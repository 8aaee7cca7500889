package orders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// TestBulkWriterIsBbolt checks that bbolt reads what bulkWriter writes, finds no fault in
// it, and can change it: every fan-out, values that fill several pages, empty buckets.
func TestBulkWriterIsBbolt(t *testing.T) {
	sizes := []int{0, 1, 2, 3, 30, 31, 32, 33, 34, 500}
	for n := 1000; n < 1100; n++ { // the last branch page has every number of children
		sizes = append(sizes, n)
	}
	if !testing.Short() {
		sizes = append(sizes, 100_000)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range sizes {
		name := filepath.Join(t.TempDir(), "book.db")
		w, err := newBulkWriter(name)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]byte{}
		value := make([]byte, maxValue)
		for _, bucket := range []string{"many", "large", "none"} {
			pairs := map[string]int{"many": n, "large": min(n, 40)}[bucket]
			for i := range pairs {
				size := random.IntN(60)
				if bucket == "large" {
					size = random.IntN(maxValue)
				}
				key := binary.BigEndian.AppendUint64(nil, uint64(i)*7)
				key = append(key, make([]byte, random.IntN(maxKey-8))...)
				if !w.addPair(append(bytes.Clone(key), value[:size]...), len(key)) {
					t.Fatal("a key in order is refused")
				}
				want[bucket+string(key)] = bytes.Clone(value[:size])
			}
			if pairs > 0 && w.addPair([]byte{0}, 1) {
				t.Fatal("a key out of order is accepted")
			}
			w.finishBucket(bucket)
		}
		if err := w.finishFile(); err != nil {
			t.Fatal(err)
		}
		db, err := openWorkingCopy(name)
		if err != nil {
			t.Fatal(err)
		}
		compareContent(t, db, want)
		changeContent(t, db, random, want)
		compareContent(t, db, want)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// changeContent deletes most keys in random order, which merges pages, and adds others.
func changeContent(t *testing.T, db *bbolt.DB, random *rand.Rand, want map[string][]byte) {
	t.Helper()
	keys := make([]string, 0, len(want))
	for key := range want {
		keys = append(keys, key)
	}
	for len(keys) > 0 {
		err := db.Update(func(tx *bbolt.Tx) error {
			for range 1 + len(keys)/3 {
				i := random.IntN(len(keys))
				key := keys[i]
				keys[i] = keys[len(keys)-1]
				keys = keys[:len(keys)-1]
				bucket := tx.Bucket([]byte(key[:len("many")]))
				name := key[len("many"):]
				if bucket == nil {
					bucket, name = tx.Bucket([]byte("large")), key[len("large"):]
				}
				delete(want, key)
				if err := bucket.Delete([]byte(name)); err != nil {
					return err
				}
			}
			added := fmt.Sprintf("%09d", random.IntN(1e9))
			want["none"+added] = []byte("new")
			return tx.Bucket([]byte("none")).Put([]byte(added), []byte("new"))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compareContent(t *testing.T, db *bbolt.DB, want map[string][]byte) {
	t.Helper()
	err := db.View(func(tx *bbolt.Tx) error {
		for fault := range tx.Check() {
			t.Error(fault)
		}
		found := 0
		err := tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(k, v []byte) error {
				found++
				if value, ok := want[string(name)+string(k)]; !ok || !bytes.Equal(value, v) {
					t.Fatalf("%s has key %x with %d bytes", name, k, len(v))
				}
				return nil
			})
		})
		if found != len(want) {
			t.Errorf("%d keys, want %d", found, len(want))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRestore restores a snapshot, with its recount.
//
//	go test ./node/orders -run '^$' -bench Restore -benchmem
func BenchmarkRestore(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("orders=%d", n), func(b *testing.B) {
			d := newTestBook(b)
			o := d.someOffer()
			o.Stock, o.LimitByAddress = MaxStock, true
			d.want(Done, o)
			for at := 0; at < n; at += 1000 {
				d.index++
				if _, err := d.book.Apply(d.index, d.now, MaxRules, crowd(at, 1000, KindOrder)); err != nil {
					b.Fatal(err)
				}
			}
			written := dump(b, d.book)
			two := openBook(b)
			b.ReportAllocs()
			for b.Loop() {
				if err := two.Restore(bytes.NewReader(written)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/order")
			b.ReportMetric(0, "ns/op")
		})
	}
}
