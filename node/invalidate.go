package node

import (
	"context"
	"sync/atomic"
	"time"

	"bramble/cluster/purge"
)

// purgeConfirmWait is how long a client's unsafe request is held until the other
// boards have forgotten what it made out of date. A board that lives confirms
// within some milliseconds; the rest is for a busy one. One that has not
// confirmed by then hears of it in the background, within purgeWait.
const purgeConfirmWait = 250 * time.Millisecond

// invalidator tells the rack which pages an unsafe request to this board made
// out of date (RFC 9111 §4.4).
//
// The purge is in this board's log, and obeyed by the boards that answer, before
// the client has its reply: that client may ask any of them next, and one cache
// would not show it the old page. Whatever board is asked over the link from
// then on obeys it before it answers (purge.Syncer.CatchUp).
type invalidator struct {
	purger      atomic.Pointer[purge.Syncer] // nil until run
	unconfirmed chan struct{}                // a board has not confirmed; holds one
}

func newInvalidator() *invalidator { return &invalidator{unconfirmed: make(chan struct{}, 1)} }

// purgeKey purges a key here; it does not wait for other boards. settle follows.
func (i *invalidator) purgeKey(key string) {
	purger := i.purger.Load()
	if purger == nil {
		return // no client has been served yet
	}
	// A key that is too long to be purged was too long to be stored.
	_ = purger.Issue(purge.Purge{Kind: purge.URL, Target: key})
}

// awaitPurge waits until the live boards have obeyed what was offered, for
// confirmWait at most, or until the client has gone.
func (i *invalidator) awaitPurge(ctx context.Context) {
	purger := i.purger.Load()
	if purger == nil || purger.Confirm(ctx, purgeConfirmWait) {
		return
	}
	select {
	case i.unconfirmed <- struct{}{}:
	default:
	}
}

// run tells those who were late until ctx ends.
func (i *invalidator) run(ctx context.Context, purger *purge.Syncer) {
	i.purger.Store(purger)
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.unconfirmed:
			purger.Spread(ctx, purgeReplyWait)
		}
	}
}
