package cache

import (
	"math"
	"math/rand/v2"
	"testing"

	lru "github.com/hashicorp/golang-lru/v2"
)

func pow(x, y float64) float64 { return math.Pow(x, y) }

// replay counts hits of a policy that holds n entries of one byte.
func replay(n int, keys []int) float64 {
	p := newPolicy(int64(n), n, func(*entry) {})
	hits := 0
	for _, k := range keys {
		h := mix(uint64(k))
		if e := p.peek(h); e != nil {
			e.touch()
			p.climb.hits.Add(1)
			hits++
			continue
		}
		p.add(&entry{hash: h, cost: 1})
	}
	return 100 * float64(hits) / float64(len(keys))
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

type lruLike interface {
	Get(int) (bool, bool)
	Add(int, bool)
}

type plainLRU struct{ *lru.Cache[int, bool] }

func (l plainLRU) Add(k int, v bool) { l.Cache.Add(k, v) }

func replayLRU(c lruLike, keys []int) float64 {
	hits := 0
	for _, k := range keys {
		if _, ok := c.Get(k); ok {
			hits++
		} else {
			c.Add(k, true)
		}
	}
	return 100 * float64(hits) / float64(len(keys))
}

// workloads are request sequences of different kinds, for a cache of n entries.
func workloads(n, length int) map[string][]int {
	all := map[string][]int{}
	for _, s := range []float64{0.7, 0.99, 1.2} {
		draw := zipf(7, s, 100*n)
		keys := make([]int, length)
		for i := range keys {
			keys[i] = draw()
		}
		all[map[float64]string{0.7: "zipf 0.7", 0.99: "zipf 0.99", 1.2: "zipf 1.2"}[s]] = keys
	}
	draw := zipf(8, 0.99, 20*n)
	scan, loop, shift := make([]int, length), make([]int, length), make([]int, length)
	next := 1 << 30
	for i := range scan {
		if i/n%4 == 3 { // one request in four is part of a scan
			scan[i] = next
			next++
		} else {
			scan[i] = draw()
		}
		loop[i] = i % (n * 3 / 2)
		shift[i] = draw() + i/(10*n)*1000003
	}
	all["scan"], all["loop"], all["shift"] = scan, loop, shift
	r := rand.New(rand.NewPCG(3, 3))
	recent := make([]int, length)
	for i := range recent { // what was published lately is wanted most
		recent[i] = i/20 - int(r.ExpFloat64()*float64(n)/2)
	}
	all["recent"] = recent
	return all
}

// TestPolicyBeatsLists: on each workload the policy hits at least as often as
// golang-lru's own, or nearly so.
func TestPolicyBeatsLists(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and slow under the race detector")
	}
	const n = 1000
	for name, keys := range workloads(n, 200_000) {
		one, err := lru.New[int, bool](n)
		if err != nil {
			t.Fatal(err)
		}
		two, err := lru.New2Q[int, bool](n)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs, twoQ := replay(n, keys), replayLRU(plainLRU{one}, keys), replayLRU(two, keys)
		t.Logf("%-9s bramble %.1f, LRU %.1f, 2Q %.1f", name, ours, theirs, twoQ)
		if ours < max(theirs, twoQ)-1 {
			t.Errorf("%s: %.1f %% hits, LRU %.1f %%, 2Q %.1f %%", name, ours, theirs, twoQ)
		}
	}
}
