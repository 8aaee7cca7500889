package rackcache

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/cluster/purge"
)

const (
	// PurgeWait limits how long a purge waits for the other boards: live boards apply it
	// within that time, and one that has not answered by then counts as absent.
	PurgeWait = time.Second
	// confirmWait limits how long a client's unsafe request waits until the other boards
	// have dropped the pages that it made out of date. A live board confirms within some
	// milliseconds, a busy one takes longer. A board that has not confirmed by then gets
	// the purge in the background, within PurgeWait.
	confirmWait = 250 * time.Millisecond

	// maxInvalidations bounds the purges of one page by unsafe requests in invalidateInterval, over
	// all boards. After each, readers wait for the origin: with the bound, a client that changes a
	// page twice a second leaves most readers of an origin that takes one second unaware. Three let
	// a person save a page, see a mistake and save it again.
	maxInvalidations   = 3
	invalidateInterval = 10 * time.Second
	// invalidateSlots is the number of counters; pages share them by a hash. 100 KB.
	invalidateSlots = 4096
	// mergeInterval is the pause between two looks at what waits.
	mergeInterval = time.Second
)

// PurgeApplier applies the rack's purges to this board's memory
// (purge.Log calls it).
type PurgeApplier struct {
	// Pages has this board's memory.
	Pages *PageHandler
	// Applied is called after each purge, with the number of objects that it dropped or
	// marked stale.
	Applied func(p purge.Purge, dropped int)
}

// Apply drops, or marks stale, what a purge names before it returns.
func (a PurgeApplier) Apply(p purge.Purge) {
	// The purge of a page that is not stored here costs nobody a wait: it counts for nothing, so that such
	// purges, of which a client can cause any number, use up no bound.
	if p.Invalid && a.Pages.cache.Holds(p.Target) && a.Pages.invalidator.mergeChange(p.Target, a.Pages.cache.Now()) {
		a.Applied(p, 0)
		return
	}
	selector := cache.Selector{Soft: p.Soft, Invalid: p.Invalid}
	switch p.Kind {
	case purge.URL:
		selector.URL = p.Target
	case purge.Tag:
		selector.Tag = p.Target
	case purge.All:
		selector.All = true
	}
	a.Applied(p, a.Pages.cache.Purge(selector))
}

// invalidator purges from the whole rack the pages that an unsafe request to this
// board made out of date (RFC 9111 §4.4).
//
// Before the client gets its reply, the purge is in this board's log and the boards
// that answer have applied it: the client may send its next request to any of them, and
// a single cache would not show it the old page. From then on, a board that gets a
// request over the link applies the purge before it answers (purge.Syncer.CatchUp).
//
// Each board applies at most maxInvalidations of them to a page that it has; more are merged into one
// purge of the rack, which follows when the bound allows it: the last change counts, late.
type invalidator struct {
	purges      atomic.Pointer[purge.Syncer] // nil until run
	unconfirmed chan struct{}                // a signal that a board has not confirmed; holds one
	seed        maphash.Seed

	mu     sync.Mutex                                       // guards what follows
	purged [invalidateSlots][maxInvalidations]time.Duration // when; oldest first, 0: never
	merged map[string]struct{}                              // the pages whose purge waits; bounded by the cache, which has them
}

func newInvalidator() *invalidator {
	return &invalidator{unconfirmed: make(chan struct{}, 1), seed: maphash.MakeSeed(), merged: map[string]struct{}{}}
}

// purgeKey purges a key; it does not wait for other boards. awaitPurge follows.
func (i *invalidator) purgeKey(key string) {
	if purges := i.purges.Load(); purges != nil {
		issueInvalid(purges, key)
	} // otherwise no client has been served yet
}

func issueInvalid(purges *purge.Syncer, key string) {
	// A key that is too long to be purged was too long to be stored.
	_ = purges.Issue(purge.Purge{Kind: purge.URL, Target: key, Soft: true, Invalid: true})
}

// mergeChange counts a purge of a key and returns false; or it notes the key and returns true, if the
// purge must wait.
func (i *invalidator) mergeChange(key string, now time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.mayPurge(key, now) {
		i.merged[key] = struct{}{}
		return true
	}
	delete(i.merged, key)
	times := i.purgesOf(key)
	copy(times[:], times[1:])
	times[maxInvalidations-1] = now
	return false
}

// mayPurge reports whether the bound allows another purge of a key. It is called with mu held.
func (i *invalidator) mayPurge(key string, now time.Duration) bool {
	oldest := i.purgesOf(key)[0]
	return oldest == 0 || now-oldest >= invalidateInterval
}

// purgesOf returns the counter of a key. It is called with mu held.
func (i *invalidator) purgesOf(key string) *[maxInvalidations]time.Duration {
	return &i.purged[maphash.String(i.seed, key)%invalidateSlots]
}

// takeDue removes and returns the waiting keys whose purge the bound allows now. It forgets those that
// this board no longer holds.
func (i *invalidator) takeDue(now time.Duration, holds func(key string) bool) (due []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for key := range i.merged {
		switch {
		case !holds(key):
		case i.mayPurge(key, now):
			due = append(due, key)
		default:
			continue
		}
		delete(i.merged, key)
	}
	return due
}

// awaitPurge waits until the live boards have applied the purges so far, at most
// confirmWait, or until the client has gone.
func (i *invalidator) awaitPurge(ctx context.Context) {
	purges := i.purges.Load()
	if purges == nil || purges.Confirm(ctx, confirmWait) {
		return
	}
	select {
	case i.unconfirmed <- struct{}{}:
	default:
	}
}

// run sends merged purges, and those that a board did not confirm in time, until ctx ends.
func (i *invalidator) run(ctx context.Context, purges *purge.Syncer, pages *cache.Cache) {
	i.purges.Store(purges)
	ticker := time.NewTicker(mergeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			due := i.takeDue(pages.Now(), pages.Holds)
			for _, key := range due {
				issueInvalid(purges, key)
			}
			if len(due) == 0 {
				continue
			}
		case <-i.unconfirmed:
		}
		purges.Spread(ctx, PurgeWait)
	}
}
