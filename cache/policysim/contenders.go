package main

import (
	"math"

	"bramble/cache/evict"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/hashicorp/golang-lru/arc/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
)

// contender is a cache that is asked for keys in turn and stores what it missed.
type contender interface {
	// ask reports a hit. A miss offers the key with its size for storing.
	ask(key uint64, size int64) bool
	close()
}

// budget is what each contender may hold: bytes for those that weigh, and for
// those that count entries as many of the mean size as fit.
type budget struct {
	bytes   int64
	entries int
}

// lists adapts golang-lru's caches, which count entries.
type lists[C interface {
	Get(uint64) (struct{}, bool)
}] struct {
	cache C
	add   func(uint64)
}

func (l lists[C]) ask(key uint64, _ int64) bool {
	if _, ok := l.cache.Get(key); ok {
		return true
	}
	l.add(key)
	return false
}

func (lists[C]) close() {}

func newLRU(b budget) (contender, error) {
	c, err := lru.New[uint64, struct{}](b.entries)
	if err != nil {
		return nil, err
	}
	return lists[*lru.Cache[uint64, struct{}]]{c, func(k uint64) { c.Add(k, struct{}{}) }}, nil
}

func new2Q(b budget) (contender, error) {
	c, err := lru.New2Q[uint64, struct{}](b.entries)
	if err != nil {
		return nil, err
	}
	return lists[*lru.TwoQueueCache[uint64, struct{}]]{c, func(k uint64) { c.Add(k, struct{}{}) }}, nil
}

func newARC(b budget) (contender, error) {
	c, err := arc.NewARC[uint64, struct{}](b.entries)
	if err != nil {
		return nil, err
	}
	return lists[*arc.ARCCache[uint64, struct{}]]{c, func(k uint64) { c.Add(k, struct{}{}) }}, nil
}

// weighing is otter. Its housekeeping runs in the caller, so that it is never behind.
type weighing struct{ cache *otter.Cache[uint64, uint32] }

func newOtter(b budget) (contender, error) {
	c, err := otter.New(&otter.Options[uint64, uint32]{
		MaximumWeight: uint64(b.bytes),
		Weigher:       func(_ uint64, size uint32) uint32 { return size },
		Executor:      func(work func()) { work() },
	})
	if err != nil {
		return nil, err
	}
	return weighing{c}, nil
}

func (w weighing) ask(key uint64, size int64) bool {
	if _, ok := w.cache.GetIfPresent(key); ok {
		return true
	}
	w.cache.Set(key, uint32(min(size, math.MaxUint32)))
	return false
}

func (w weighing) close() { w.cache.StopAllGoroutines() }

// waiting is ristretto, which stores some time later and is waited for.
type waiting struct {
	cache *ristretto.Cache[uint64, struct{}]
}

func newRistretto(b budget) (contender, error) {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{
		NumCounters:        int64(max(10*b.entries, 100)),
		MaxCost:            b.bytes,
		BufferItems:        64,
		IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, err
	}
	return waiting{c}, nil
}

func (w waiting) ask(key uint64, size int64) bool {
	if _, ok := w.cache.Get(key); ok {
		return true
	}
	w.cache.Set(key, struct{}{}, size)
	w.cache.Wait()
	return false
}

func (w waiting) close() { w.cache.Close() }

// ours is Bramble's policy as the store uses it, without the store.
type ours struct{ policy *evict.Policy[struct{}] }

func newBramble(b budget) (contender, error) {
	return ours{evict.New[struct{}](b.bytes, b.entries, evict.NewTuner(b.bytes, evict.MaxShadow), nil)}, nil
}

func (o ours) ask(key uint64, size int64) bool {
	if e := o.policy.Peek(key); e != nil {
		o.policy.Hit(e)
		return true
	}
	o.policy.Add(evict.NewItem(key, size, struct{}{}))
	return false
}

func (ours) close() {}

// entrant is a kind of contender.
type entrant struct {
	name string
	make func(budget) (contender, error)
}

// entrants are all that the simulator knows; the first is the one that is judged.
func entrants() []entrant {
	return []entrant{
		{"Bramble", newBramble}, {"LRU", newLRU}, {"2Q", new2Q}, {"ARC", newARC},
		{"otter", newOtter}, {"ristretto", newRistretto}, {"store", newStore},
	}
}
