package node

import (
	"context"
	"sync/atomic"

	"bramble/cluster"
)

// invalidator tells the rack which pages an unsafe request to this board made
// out of date (RFC 9111 §4.4).
//
// The purge is in this board's log before the client has its reply, so whatever
// board is asked on that client's behalf from then on obeys it before it
// answers (cluster.Purger.CatchUp). The boards that are not asked hear of it in
// the background, within purgeWait.
type invalidator struct {
	purger atomic.Pointer[cluster.Purger] // nil until run
	news   chan struct{}                  // something was issued; holds one
}

func newInvalidator() *invalidator { return &invalidator{news: make(chan struct{}, 1)} }

// offer purges a key; it does not wait for other boards.
func (i *invalidator) offer(key string) {
	purger := i.purger.Load()
	if purger == nil {
		return // no client has been served yet
	}
	if purger.Issue(cluster.Purge{Kind: cluster.PurgeURL, What: key}) != nil {
		return // a key that is too long to be purged was too long to be stored
	}
	select {
	case i.news <- struct{}{}:
	default:
	}
}

// run spreads what was issued until ctx ends.
func (i *invalidator) run(ctx context.Context, purger *cluster.Purger) {
	i.purger.Store(purger)
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.news:
			purger.Spread(ctx, purgeWait)
		}
	}
}
