package evict

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// key spreads small numbers over all bits (splitmix64).
func key(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// request is one request: a hit, or a miss that adds the key.
func request(p *Policy[int], k uint64, cost int64) bool {
	if e := p.Peek(key(k)); e != nil {
		p.Hit(e)
		return true
	}
	p.Add(NewItem(key(k), cost, int(k)))
	return false
}

// sumCosts recounts what Used counts.
func sumCosts(p *Policy[int]) (bytes int64) {
	for _, e := range p.Items() {
		bytes += e.Cost()
	}
	return bytes
}

func TestNeverOverBudget(t *testing.T) {
	for i := range strategies {
		p := New[int](10_000, 100, nil, nil)
		p.strategy = strategies[i]
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for range 20_000 {
			k := uint64(r.IntN(2000))
			switch r.IntN(20) {
			case 0:
				if e := p.Peek(key(k)); e != nil {
					p.Remove(e)
				}
			case 1:
				if e := p.Peek(key(k)); e != nil {
					p.Resize(e, int64(1+r.IntN(5000)))
				}
			case 2:
				p.SetBudget(int64(5000 + r.IntN(5000)))
				request(p, k, 1)
			default:
				request(p, k, int64(1+r.IntN(1000)))
			}
			if p.Used() > p.budget && p.budget == 10_000 {
				t.Fatalf("strategy %v: %d bytes in a budget of %d", strategies[i], p.Used(), p.budget)
			}
		}
		if got := sumCosts(p); got != p.Used() || len(p.Items()) != p.Len() {
			t.Errorf("strategy %v: items sum up to %d in %d, counted %d in %d", strategies[i], got, len(p.Items()), p.Used(), p.Len())
		}
		p.Rebuild()
		if got := sumCosts(p); got != p.Used() {
			t.Errorf("strategy %v: after a rebuild %d, counted %d", strategies[i], got, p.Used())
		}
	}
}

func TestTooLargeIsRefused(t *testing.T) {
	p := New[int](100, 10, nil, nil)
	if p.Add(NewItem(key(1), 101, 1)) || p.Len() != 0 {
		t.Error("an item larger than the budget was added")
	}
}

// A scan passes through probation and leaves main alone.
func TestScanLeavesFavourites(t *testing.T) {
	p := New[int](100, 100, nil, nil)
	p.strategy = strategies[initialStrategy]
	for range 5 {
		for k := range uint64(80) {
			request(p, k, 1)
		}
	}
	for k := range uint64(1500) {
		request(p, 1000+k, 1)
	}
	left := 0
	for k := range uint64(80) {
		if p.Peek(key(k)) != nil {
			left++
		}
	}
	if left < 75 {
		t.Errorf("%d of 80 favourites survived a scan", left)
	}
}

func TestEvictedIsCalledOnce(t *testing.T) {
	gone := map[int]int{}
	p := New(50, 50, nil, func(e *Item[int]) { gone[e.Value]++ })
	for k := range uint64(500) {
		request(p, k, 1)
	}
	if len(gone)+p.Len() != 500 {
		t.Errorf("%d gone and %d left of 500", len(gone), p.Len())
	}
	for k, n := range gone {
		if n != 1 || p.Peek(key(uint64(k))) != nil {
			t.Errorf("item %d was evicted %d times", k, n)
		}
	}
}

// hitRatio replays keys with a tuner and returns the hits in percent of the requests.
func hitRatio(n, requests int, next func(i int) uint64) (float64, *Tuner) {
	tuner := NewTuner(int64(n), MaxShadow)
	p := New[int](int64(n), n, tuner, nil)
	h := 0
	for i := range requests {
		if request(p, next(i), 1) {
			h++
		}
	}
	return 100 * float64(h) / float64(requests), tuner
}

// The best strategy for a loop that does not fit is to hold on to a part of it; the
// best that can be had is 66.7 %. Where everything changes, holding on is worst.
func TestTunerFindsTheBestStrategy(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and slow under the race detector")
	}
	for _, n := range []int{100, 1000, 3000} {
		got, tuner := hitRatio(n, 100*n, func(i int) uint64 { return uint64(i % (n * 3 / 2)) })
		if got < 60 || tuner.current.Load() != 0 {
			t.Errorf("%d entries: %.1f %% of a loop hit, strategy %d", n, got, tuner.current.Load())
		}
		r := rand.New(rand.NewPCG(1, 1))
		got, tuner = hitRatio(n, 100*n, func(i int) uint64 { return 1<<40 + uint64(i/20) - uint64(r.ExpFloat64()*float64(n)/2) })
		if got < 65 || tuner.current.Load() == 0 {
			t.Errorf("%d entries: %.1f %% of news hit, strategy %d", n, got, tuner.current.Load())
		}
	}
}

// One strategy leads on the way up of a zigzag and another on its way down. Chasing
// the leader hits 12 %; nearly every strategy hits 19 % if it stays.
func TestTunerDoesNotChaseLeaders(t *testing.T) {
	const n, keys = 400, 2000
	got, _ := hitRatio(n, 50_000, func(i int) uint64 {
		if i %= 2 * keys; i < keys {
			return uint64(i)
		}
		return uint64(2*keys - i)
	})
	if got < 15 {
		t.Errorf("%.1f %% of a zigzag hit", got)
	}
}

// The sample follows the number of items, up and down.
func TestSampleFits(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and slow under the race detector")
	}
	tuner := NewTuner(1<<16, 64)
	p := New[int](1<<16, 1000, tuner, nil)
	for k := range uint64(50_000) {
		request(p, k, 16)
	}
	small := tuner.mask.Load()
	for _, s := range tuner.shadows {
		if s.Len() > 64+1 {
			t.Errorf("a shadow has %d items", s.Len())
		}
	}
	for k := range uint64(50_000) {
		request(p, 1<<30+k, 1<<11)
	}
	if large := tuner.mask.Load(); small < 31 || large >= small {
		t.Errorf("sampling masks %b for small items and %b for large ones", small, large)
	}
}

// A shadow takes no more memory than ShadowItemCost says.
func TestShadowItemCost(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and slow under the race detector")
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	tuner := NewTuner(1<<40, MaxShadow)
	for k := range uint64(MaxShadow) {
		tuner.noteMiss(key(k), 1)
	}
	if got := heap() - before; got > int64(StrategyCount*MaxShadow*ShadowItemCost) {
		t.Errorf("%d shadows of %d items take %d bytes, %d an item", StrategyCount, MaxShadow, got, got/int64(StrategyCount*MaxShadow))
	}
	runtime.KeepAlive(tuner)
}

func TestSketch(t *testing.T) {
	s := newSketch(1000)
	for k := range uint64(1000) {
		s.add(key(k), uint32(k%5))
	}
	wrong := 0
	for k := range uint64(1000) {
		got := s.estimate(key(k))
		if got < uint32(k%5) {
			t.Errorf("key %d was counted %d times, estimate %d", k, k%5, got)
		}
		if got > uint32(k%5) {
			wrong++
		}
	}
	if wrong > 20 {
		t.Errorf("%d of 1000 estimates are too high", wrong)
	}
	s.add(key(1), 100)
	if got := s.estimate(key(1)); got != sketchMax {
		t.Errorf("estimate %d after many, want %d", got, sketchMax)
	}
	for s.adds < s.reset-1 {
		s.add(key(2), 1)
	}
	s.add(key(2), 1)
	if got := s.estimate(key(1)); got != sketchMax/2 {
		t.Errorf("estimate %d after a halving, want %d", got, sketchMax/2)
	}
}

// Keys of one shard share their top bits; the sketch must not care.
func TestSketchOfOneShard(t *testing.T) {
	s := newSketch(1000)
	for k := range uint64(1000) {
		s.add(key(k)>>6, 1)
	}
	wrong := 0
	for k := range uint64(1000) {
		if s.estimate(key(k)>>6) > 1 {
			wrong++
		}
	}
	if wrong > 20 {
		t.Errorf("%d of 1000 estimates are too high", wrong)
	}
}

// Readers may run side by side.
func TestConcurrentReaders(t *testing.T) {
	p := New[int](1000, 1000, NewTuner(1000, 64), nil)
	var lock sync.RWMutex
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for range 5000 {
				k := uint64(r.ExpFloat64() * 500)
				lock.RLock()
				e := p.Peek(key(k))
				if e != nil {
					p.Hit(e)
				}
				lock.RUnlock()
				if e == nil {
					lock.Lock()
					if p.Peek(key(k)) == nil {
						p.Add(NewItem(key(k), 1, 0))
					}
					lock.Unlock()
				}
			}
		})
	}
	wait.Wait()
	if p.Used() > 1000 || p.Len() == 0 {
		t.Errorf("%d bytes in %d items", p.Used(), p.Len())
	}
}

// n hits at once count as n hits, and for nothing else.
func TestHitN(t *testing.T) {
	const keys = 200
	for n := 1; n <= maxHits+1; n++ {
		var one, all *Policy[int]
		for _, p := range []**Policy[int]{&one, &all} {
			*p = New[int](1<<20, keys, NewTuner(1<<20, MaxShadow), nil)
			for k := range uint64(keys) {
				request(*p, k, 1)
			}
		}
		for k := range uint64(keys) {
			a, b := one.Peek(key(k)), all.Peek(key(k))
			for range n {
				one.Hit(a)
			}
			all.HitN(b, n)
			if a.hits.Load() != b.hits.Load() {
				t.Fatalf("%d hits are %d, and together %d", n, a.hits.Load(), b.hits.Load())
			}
		}
		if a, b := one.tuner.next.Load(), all.tuner.next.Load(); a != b || a == 0 {
			t.Errorf("the tuner counts %d hits, and %d together", a, b)
		}
	}
}

func TestContains(t *testing.T) {
	p := New[int](1000, 10, nil, nil)
	e := NewItem(key(1), 1, 1)
	if p.Contains(e) {
		t.Error("it contains an item that was never added")
	}
	p.Add(e)
	if !p.Contains(e) {
		t.Error("it does not contain what was added")
	}
	p.Remove(e)
	p.Add(NewItem(key(1), 1, 1))
	if p.Contains(e) {
		t.Error("it contains an item that another has replaced")
	}
}
