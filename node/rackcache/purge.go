package rackcache

import (
	"context"
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
)

// PurgeApplier applies the rack's purges to this board's memory
// (purge.Log calls it).
type PurgeApplier struct {
	// Cache is this board's memory.
	Cache *cache.Cache
	// Applied is called after each purge, with the number of objects that it dropped or
	// marked stale.
	Applied func(p purge.Purge, dropped int)
}

// Apply drops, or marks stale, what a purge names before it returns.
func (a PurgeApplier) Apply(p purge.Purge) {
	selector := cache.Selector{Soft: p.Soft}
	switch p.Kind {
	case purge.URL:
		selector.URL = p.Target
	case purge.Tag:
		selector.Tag = p.Target
	case purge.All:
		selector.All = true
	}
	a.Applied(p, a.Cache.Purge(selector))
}

// invalidator purges from the whole rack the pages that an unsafe request to this
// board made out of date (RFC 9111 §4.4).
//
// Before the client gets its reply, the purge is in this board's log and the boards
// that answer have applied it: the client may send its next request to any of them, and
// a single cache would not show it the old page. From then on, a board that gets a
// request over the link applies the purge before it answers (purge.Syncer.CatchUp).
type invalidator struct {
	purges      atomic.Pointer[purge.Syncer] // nil until run
	unconfirmed chan struct{}                // a signal that a board has not confirmed; holds one
}

func newInvalidator() *invalidator { return &invalidator{unconfirmed: make(chan struct{}, 1)} }

// purgeKey purges a key here; it does not wait for other boards. awaitPurge follows.
func (i *invalidator) purgeKey(key string) {
	purges := i.purges.Load()
	if purges == nil {
		return // no client has been served yet
	}
	// A key that is too long to be purged was too long to be stored.
	_ = purges.Issue(purge.Purge{Kind: purge.URL, Target: key})
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

// run sends purges to the boards that did not confirm in time, until ctx ends.
func (i *invalidator) run(ctx context.Context, purges *purge.Syncer) {
	i.purges.Store(purges)
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.unconfirmed:
			purges.Spread(ctx, PurgeWait)
		}
	}
}
