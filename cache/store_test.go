package cache

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// million is a flag, since the test does not fit every machine.
var million = flag.Bool("million", false, "run the test with a million objects")

// page returns an object with a body of n bytes.
func page(key string, n int) *Object {
	o := &Object{
		key: key, status: 200, lifetime: time.Hour, staleIfError: -1,
		head: string([]byte("Cache-Control: max-age=3600\r\nContent-Type: text/html\r\nDate: Wed, 29 Feb 2012 06:00:00 GMT\r\n")),
		size: int64(n),
	}
	if n > 0 {
		o.body = [][]byte{make([]byte, n)}
	}
	return o
}

// heapInUse returns the live bytes after a collection, and in spans the bytes that the
// heap takes for them with all gaps.
func heapInUse() (live, spans int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.HeapInuse)
}

// filler stores pages and rebalances when the store requests it, as GovernHeap does.
type filler struct {
	*store
	rand       *rand.Rand
	n          int   // pages so far
	most       int64 // the largest heap seen, garbage included
	rebalances int
}

func pageKey(i int) string { return fmt.Sprintf("http://shop.example/p/%d", i) }

func (f *filler) add(size int) {
	f.n++
	f.put(page(pageKey(f.n), size))
	select {
	case <-f.checkDue:
		h := readHeap()
		f.most = max(f.most, h.objects+h.gaps)
		f.rebalance()
		f.rebalances++
	default:
	}
}

// getRecent gets one of the last pages.
func (f *filler) getRecent(last int) { f.get(pageKey(f.n - f.rand.IntN(last))) }

// mostWithGarbage limits the heap at its worst, as a part of the budget,
// garbage included, also the test.s own.
const mostWithGarbage = 1.30

// check compares the store.s own count with the runtime.s figures.
// All figures but the last are parts of the budget.
func (f *filler) check(t *testing.T, live, spans int64) {
	t.Helper()
	part := func(n int64) float64 { return float64(n) / float64(f.budget) }
	liveNow, spansNow := heapInUse()
	n, used := f.sumTotals()
	t.Logf("%d objects in %d shards, %d collections: room %.3f, counted %.3f, live %.3f, with gaps %.3f, with garbage %.3f, live/counted %.3f",
		n, len(f.shards), f.rebalances, part(f.room), part(used), part(liveNow-live), part(spansNow-spans), part(f.most-spans), float64(liveNow-live)/float64(used))
	if used > f.room {
		t.Errorf("%d bytes counted, room for %d", used, f.room)
	}
	if part(spansNow-spans) > 1.10 {
		t.Errorf("the heap takes %d bytes, budget %d", spansNow-spans, f.budget)
	}
	if part(f.most-spans) > mostWithGarbage {
		t.Errorf("the heap took %d bytes before a collection, budget %d", f.most-spans, f.budget)
	}
}

// TestMillionTiny has a million objects of 100 to 200 bytes in the store, all of
// them at the same time. It takes about 0.8 GB.
func TestMillionTiny(t *testing.T) {
	if !*million {
		t.Skip("needs -million and about 0.8 GB")
	}
	const n, budget = 1_000_000, 768 << 20
	live, spans := heapInUse()
	f := &filler{store: newStore(budget, 1<<20, 16)}
	for i := range n {
		f.add(100 + i%100)
	}
	f.check(t, live, spans)
	if held, _ := f.sumTotals(); held != n {
		t.Errorf("only %d of %d objects are there", held, n)
	}
	runtime.KeepAlive(f)
}

// TestHeapWithinBudget holds the heap to 1.1 times the budget, gaps included.
func TestHeapWithinBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what the heap holds")
	}
	const budget = 32 << 20
	for _, test := range []struct {
		name string
		long bool
		fill func(f *filler)
	}{
		{"many tiny", true, func(f *filler) {
			for i := range 150_000 {
				f.add(i % 32)
			}
		}},
		{"pages", false, func(f *filler) {
			for i := range 15_000 {
				f.add(3000 + i%3000)
			}
		}},
		{"few huge", false, func(f *filler) {
			for i := range 200 {
				f.add(400_000 + i*500)
			}
		}},
		{"all sizes", true, func(f *filler) {
			for range 30_000 {
				f.add(int(4000 * math.Exp(1.3*f.rand.NormFloat64())))
				f.getRecent(1000)
			}
		}},
		{"churn", true, func(f *filler) {
			for i := range 110_000 {
				n := 10
				if i > 70_000 {
					n = 1 << f.rand.IntN(17)
				}
				f.add(n)
				f.getRecent(1000)
				if i%10 == 0 {
					f.dropMatching(pageKey(f.n), func(*Object) bool { return true })
				}
			}
		}},
		{"changing sizes", true, func(f *filler) {
			for _, size := range []int{10, 1000, 5000} {
				for range 2 * budget / (size + 500) {
					f.add(size + f.rand.IntN(size))
					f.getRecent(100)
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.long && testing.Short() {
				t.Skip("takes seconds")
			}
			live, spans := heapInUse()
			f := &filler{store: newStore(budget, 512<<10, 16), rand: rand.New(rand.NewPCG(1, 2))}
			test.fill(f)
			f.check(t, live, spans)
			runtime.KeepAlive(f)
		})
	}
}

func TestNextRoom(t *testing.T) {
	const budget = 1000 << 10
	part := func(thousandths int64) int64 { return budget / 1000 * thousandths }
	for _, test := range []struct {
		name                    string
		room, used, waste, want int64 // thousandths of the budget
	}{
		{"empty", 1000, 0, 0, 1000},
		{"full, few gaps", 1000, 980, 40, 1000},
		{"full, no room for the garbage", 1000, 1000, 80, 1000},
		{"too many gaps", 1000, 1000, 120, 990},
		{"still too many", 990, 990, 130, 980},
		{"room that is not used is no room", 1000, 600, 520, 590},
		{"hardly anything left", 335, 335, 1000, 10 * minRoomPercent},
		{"gaps that are filled make no difference", 500, 500, 550, 500 + 1000/roomStep + 1},
		{"gaps are gone", 500, 500, 100, 950 + 1000/roomStep + 1},
		{"never more than the budget", 900, 800, 0, 1000},
	} {
		got := nextRoom(budget, part(test.room), part(test.used), part(test.waste))
		if want := part(test.want); got > want || got < want-part(1) {
			t.Errorf("%s: %d thousandths, want %d", test.name, got/part(1), test.want)
		}
	}
}

func TestShareOfGaps(t *testing.T) {
	for _, test := range []struct{ objects, gaps, used, want int64 }{
		{100, 40, 50, 20}, {100, 40, 100, 40}, {100, 40, 0, 0}, {100, 40, 110, 40}, {0, 0, 0, 0},
	} {
		if got := (heapSizes{test.objects, test.gaps}).shareOfGaps(test.used); got != test.want {
			t.Errorf("%d of %d bytes: %d of the gaps, want %d", test.used, test.objects, got, test.want)
		}
	}
}

// With the minimum room the largest object must still fit, and with full room again
// the store fills up as before.
func TestMinRoom(t *testing.T) {
	const budget, largest = 4 << 20, 64 << 10
	s := newStore(budget, largest, 16)
	fill := func() int64 {
		for i := range 400 {
			s.put(page(pageKey(i), largest/4))
		}
		_, used := s.sumTotals()
		return used
	}
	full := fill()
	s.room = percentOf(budget, minRoomPercent)
	s.distributeRoom()
	if _, used := s.sumTotals(); used > s.room || used < s.room/2 {
		t.Errorf("%d bytes, room for %d", used, s.room)
	}
	for i := range 100 {
		if !s.put(page(pageKey(1000+i), largest)) {
			t.Fatalf("no room for object %d", i)
		}
	}
	s.room = budget
	s.distributeRoom()
	if again := fill(); again < full*9/10 {
		t.Errorf("%d bytes, before it was %d", again, full)
	}
}

// GovernHeap rebalances when the store requests it, and ends with its context.
func TestGovernHeap(t *testing.T) {
	c, err := New(Config{Budget: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var tending sync.WaitGroup
	tending.Go(func() { c.GovernHeap(ctx) })
	defer tending.Wait()
	defer stop()
	c.store.noteStored(c.store.budget / checkPart)
	for late := time.Now().Add(10 * time.Second); c.store.sinceCheck.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the heap was not checked")
		}
	}
}

func TestPurgeAllReleasesMemory(t *testing.T) {
	before, _ := heapInUse()
	s := newStore(8<<20, 64<<10, 16)
	for i := range 20_000 {
		s.put(page(fmt.Sprintf("http://shop.example/p/%d", i), 100))
	}
	s.dropAllMatching(func(*Object) bool { return true })
	if n, used := s.sumTotals(); n != 0 || used != 0 {
		t.Errorf("%d objects, %d bytes", n, used)
	}
	if live, _ := heapInUse(); live-before > 1<<20 {
		t.Errorf("%d bytes still held", live-before)
	}
	runtime.KeepAlive(s)
}

func BenchmarkGet(b *testing.B) {
	s := newStore(64<<20, 1<<20, 16)
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprintf("http://shop.example/p/%d", i)
		s.put(page(keys[i], 4096))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if s.get(keys[i%len(keys)]) == nil {
				b.Fatal("missing")
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	s := newStore(16<<20, 1<<20, 16)
	objects := make([]*Object, 1<<14)
	for i := range objects {
		objects[i] = page(fmt.Sprintf("http://shop.example/p/%d", i), 4096)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.put(objects[i%len(objects)])
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	s := newStore(1<<20, 16<<10, 16)
	s.put(page(pageURL, 100))
	if n := testing.AllocsPerRun(100, func() { s.get(pageURL) }); n != 0 {
		t.Errorf("%v allocations a hit", n)
	}
}
