package main

import (
	"math"

	"bramble/cache/evict"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/hashicorp/golang-lru/arc/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
)

// simCache is a cache under comparison: it gets one request after another and
// stores what it missed.
type simCache interface {
	// request reports a hit. A miss offers the key with its size for storing.
	request(key uint64, size int64) bool
	close()
}

// budget is what each cache may hold: bytes for those that weigh, and for those
// that count entries the number of mean-sized entries that fit.
type budget struct {
	bytes   int64
	entries int
}

// countingCache adapts golang-lru's caches, which count entries.
type countingCache[C interface {
	Get(uint64) (struct{}, bool)
}] struct {
	cache C
	add   func(uint64)
}

func (l countingCache[C]) request(key uint64, _ int64) bool {
	if _, ok := l.cache.Get(key); ok {
		return true
	}
	l.add(key)
	return false
}

func (countingCache[C]) close() {}

func newLRU(b budget) (simCache, error) {
	c, err := lru.New[uint64, struct{}](b.entries)
	if err != nil {
		return nil, err
	}
	return countingCache[*lru.Cache[uint64, struct{}]]{c, func(k uint64) { c.Add(k, struct{}{}) }}, nil
}

func new2Q(b budget) (simCache, error) {
	c, err := lru.New2Q[uint64, struct{}](b.entries)
	if err != nil {
		return nil, err
	}
	return countingCache[*lru.TwoQueueCache[uint64, struct{}]]{c, func(k uint64) { c.Add(k, struct{}{}) }}, nil
}

func newARC(b budget) (simCache, error) {
	c, err := arc.NewARC[uint64, struct{}](b.entries)
	if err != nil {
		return nil, err
	}
	return countingCache[*arc.ARCCache[uint64, struct{}]]{c, func(k uint64) { c.Add(k, struct{}{}) }}, nil
}

// otterCache is otter. Its housekeeping runs in the caller, so that it is never behind.
type otterCache struct{ cache *otter.Cache[uint64, uint32] }

func newOtter(b budget) (simCache, error) {
	c, err := otter.New(&otter.Options[uint64, uint32]{
		MaximumWeight: uint64(b.bytes),
		Weigher:       func(_ uint64, size uint32) uint32 { return size },
		Executor:      func(work func()) { work() },
	})
	if err != nil {
		return nil, err
	}
	return otterCache{c}, nil
}

func (w otterCache) request(key uint64, size int64) bool {
	if _, ok := w.cache.GetIfPresent(key); ok {
		return true
	}
	w.cache.Set(key, uint32(min(size, math.MaxUint32)))
	return false
}

func (w otterCache) close() { w.cache.StopAllGoroutines() }

// ristrettoCache is ristretto. It stores asynchronously, so each Set is awaited.
type ristrettoCache struct {
	cache *ristretto.Cache[uint64, struct{}]
}

func newRistretto(b budget) (simCache, error) {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{
		NumCounters:        int64(max(10*b.entries, 100)),
		MaxCost:            b.bytes,
		BufferItems:        64,
		IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, err
	}
	return ristrettoCache{c}, nil
}

func (w ristrettoCache) request(key uint64, size int64) bool {
	if _, ok := w.cache.Get(key); ok {
		return true
	}
	w.cache.Set(key, struct{}{}, size)
	w.cache.Wait()
	return false
}

func (w ristrettoCache) close() { w.cache.Close() }

// bramblePolicy is Bramble's policy as the store uses it, without the store.
type bramblePolicy struct{ policy *evict.Policy[struct{}] }

func newBramble(b budget) (simCache, error) {
	return bramblePolicy{evict.New[struct{}](b.bytes, b.entries, evict.NewTuner(b.bytes, evict.MaxShadow), nil)}, nil
}

func (o bramblePolicy) request(key uint64, size int64) bool {
	if e := o.policy.Peek(key); e != nil {
		o.policy.Hit(e)
		return true
	}
	o.policy.Add(evict.NewItem(key, size, struct{}{}))
	return false
}

func (bramblePolicy) close() {}

// cacheKind names a cache and makes one.
type cacheKind struct {
	name string
	make func(budget) (simCache, error)
}

// cacheKinds lists all that the simulator knows; the first is the one under test.
func cacheKinds() []cacheKind {
	return []cacheKind{
		{"Bramble", newBramble}, {"LRU", newLRU}, {"2Q", new2Q}, {"ARC", newARC},
		{"otter", newOtter}, {"ristretto", newRistretto}, {"store", newStore},
	}
}
