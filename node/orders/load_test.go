package orders

import (
	"flag"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"
)

var million = flag.Bool("million", false, "register a million people instead of 100,000")

// spread returns IDs as far apart as random ones.
func spread(n int) ID { return ID(uint64(n+1) * 0x9E3779B97F4A7C15 >> 14) }

func crowd(from, n int, k Kind) [][]byte {
	batch := make([][]byte, n)
	for i := range batch {
		c := PlaceOrder{
			ID: spread(from + i), Product: "pi", Kind: k, Quantity: 1, Total: 43_00, Currency: "USD",
			Person: person(from + i),
		}
		batch[i] = Encode(c)
	}
	return batch
}

// TestManyRegistrations checks that the heap does not grow with the number of orders: the state is
// on disk.
func TestManyRegistrations(t *testing.T) {
	many := 100_000
	if *million {
		many = 1_000_000
	}
	if testing.Short() {
		many = 10_000
	}
	d := newTestBook(t)
	o := d.someOffer()
	o.Mode, o.LimitByAddress, o.Mail = Interest, true, false
	d.want(Done, o)
	const step = 1000
	before := heap()
	began := time.Now()
	peak := uint64(0)
	for n := 0; n < many; n += step {
		d.index++
		replies, err := d.book.Apply(d.index, d.now, MaxRules, crowd(n, step, KindInterest))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := DecodeAnswer(replies[step-1]); err != nil || a.Outcome != Placed || a.Position != n+step {
			t.Fatalf("%+v, %v", a, err)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	took := time.Since(began)
	after := heap()
	t.Logf("%d registrations in %v; live heap %d KB before, %d KB after, at most %d KB with garbage", many, took, before>>10, after>>10, peak>>10)
	// What is left is bbolt's list of free pages.
	if after > before+16<<20 {
		t.Errorf("the heap grew by %d KB", (after-before)>>10)
	}
	id := spread(many / 2)
	if place, of, err := d.book.Position(id); place != many/2+1 || of != many || err != nil {
		t.Errorf("place %d of %d, %v", place, of, err)
	}
	began = time.Now()
	s, err := d.book.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, w := io.Pipe()
	go func() {
		_, err := s.WriteTo(w)
		w.CloseWithError(err)
	}()
	two := openBook(t)
	size := &countingWriter{to: io.Discard}
	if err := two.Restore(io.TeeReader(r, size)); err != nil {
		t.Fatal(err)
	}
	t.Logf("snapshot of %d MB, restored and counted again in %v; live heap %d KB", size.n>>20, time.Since(began), heap()>>10)
	if two.Digest() != d.book.Digest() {
		t.Error("the restored book is another one")
	}
}

// heap returns the live heap. The content of a sync.Pool, where bbolt has pages, is freed by the
// second collection only.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkPlaceOrder places orders, some to an Apply. The figure that counts is ns/order.
func BenchmarkPlaceOrder(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			d := newTestBook(b)
			o := d.someOffer()
			o.Stock, o.LimitByAddress = MaxStock, true
			d.want(Done, o)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				commands := crowd(n, batch, KindOrder)
				n += batch
				d.index++
				b.StartTimer()
				if _, err := d.book.Apply(d.index, d.now, MaxRules, commands); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/order")
		})
	}
}

// BenchmarkReplay answers people who press the button again: the commonest command of a rush.
func BenchmarkReplay(b *testing.B) {
	d := newTestBook(b)
	o := d.someOffer()
	o.Stock, o.LimitByAddress = MaxStock, true
	d.want(Done, o)
	const batch = 256
	commands := crowd(0, batch, KindOrder)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		d.index++
		n += batch
		if _, err := d.book.Apply(d.index, d.now, MaxRules, commands); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/order")
}

func BenchmarkPosition(b *testing.B) {
	d := newTestBook(b)
	o := d.someOffer()
	o.Mode = Interest
	d.want(Done, o)
	const many = 100_000
	for n := 0; n < many; n += 1000 {
		d.index++
		if _, err := d.book.Apply(d.index, d.now, MaxRules, crowd(n, 1000, KindInterest)); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n = (n + 7919) % many
		if _, _, err := d.book.Position(spread(n)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestBatchSizeDoesNotMatter: the same commands in other batches lead to the same orders.
func TestBatchSizeDoesNotMatter(t *testing.T) {
	place := func(batch int) []Order {
		d := newTestBook(t)
		d.want(Done, d.someOffer())
		commands := crowd(0, 12, KindOrder)
		for n := 0; n < len(commands); n += batch {
			d.index++
			if _, err := d.book.Apply(d.index, d.now, MaxRules, commands[n:n+batch]); err != nil {
				t.Fatal(err)
			}
		}
		list, _, err := d.book.Orders(Filter{}, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	one, all := place(1), place(12)
	if fmt.Sprint(one) != fmt.Sprint(all) || len(one) != 3 {
		t.Fatalf("%v and %v", one, all)
	}
}
