package cache

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// million is a flag, since the test does not fit every machine.
var million = flag.Bool("million", false, "run the test with a million objects")

// page makes a stored object with a body of n bytes.
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

// heapInUse is what lives on the heap after a collection, and spans what the
// heap takes for it with all gaps.
func heapInUse() (live, spans int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.HeapInuse)
}

// TestMillionTiny has a million objects of 100 to 200 bytes in the store, all of
// them at the same time, and looks at what the runtime says of the heap. It takes
// about 0.7 GB.
func TestMillionTiny(t *testing.T) {
	if !*million {
		t.Skip("needs -million and about 0.7 GB")
	}
	const n, budget = 1_000_000, 700 << 20
	before, beforeSpans := heapInUse()
	s := newStore(budget, 1<<20, 16)
	for i := range n {
		s.put(page(fmt.Sprintf("http://shop.example/p/%d", i), 100+i%100))
	}
	live, spans := heapInUse()
	heap := live - before
	held, used := s.totals()
	t.Logf("%d objects, counted %.3f of the budget, heap %.3f of it, with gaps %.3f, %d bytes each beside the body",
		held, float64(used)/budget, float64(heap)/budget, float64(spans-beforeSpans)/budget, heap/held-150)
	if held != n {
		t.Errorf("only %d of %d objects are there", held, n)
	}
	if heap > budget/100*110 {
		t.Errorf("heap %d, budget %d", heap, budget)
	}
	runtime.KeepAlive(s)
}

// TestHeapWithinBudget compares what the store thinks that it holds with what
// the runtime says.
func TestHeapWithinBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what the heap holds")
	}
	const budget = 32 << 20
	fills := map[string]func(s *store){
		"many tiny": func(s *store) {
			for i := range 150_000 {
				s.put(page(fmt.Sprintf("http://shop.example/p/%d", i), i%32))
			}
		},
		"pages": func(s *store) {
			for i := range 15_000 {
				s.put(page(fmt.Sprintf("http://shop.example/p/%d", i), 3000+i%3000))
			}
		},
		"few huge": func(s *store) {
			for i := range 200 {
				s.put(page(fmt.Sprintf("http://shop.example/p/%d", i), 400_000+i*500))
			}
		},
		"churn": func(s *store) {
			r := rand.New(rand.NewPCG(1, 2))
			for i := range 150_000 {
				n := 10
				if i > 100_000 {
					n = 1 << r.IntN(17)
				}
				key := fmt.Sprintf("http://shop.example/p/%d", i)
				s.put(page(key, n))
				s.get(fmt.Sprintf("http://shop.example/p/%d", i-r.IntN(1000)))
				if i%10 == 0 {
					s.drop(key, func(*Object) bool { return true })
				}
			}
		},
	}
	for name, fill := range fills {
		t.Run(name, func(t *testing.T) {
			before, beforeSpans := heapInUse()
			s := newStore(budget, 512<<10, 16)
			fill(s)
			live, spans := heapInUse()
			heap := live - before
			n, used := s.totals()
			t.Logf("%d objects, %d shards, counted %.3f of the budget, heap %.3f of it, with gaps %.3f, heap/counted %.3f",
				n, len(s.shards), float64(used)/budget, float64(heap)/budget, float64(spans-beforeSpans)/budget, float64(heap)/float64(used))
			if used > budget {
				t.Errorf("%d bytes counted, budget %d", used, budget)
			}
			if float64(heap) > 1.10*budget {
				t.Errorf("heap %d, budget %d", heap, budget)
			}
			runtime.KeepAlive(s)
		})
	}
}

func TestPurgeAllGivesMemoryBack(t *testing.T) {
	before, _ := heapInUse()
	s := newStore(8<<20, 64<<10, 16)
	for i := range 20_000 {
		s.put(page(fmt.Sprintf("http://shop.example/p/%d", i), 100))
	}
	s.dropAll(func(*Object) bool { return true })
	if n, used := s.totals(); n != 0 || used != 0 {
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
