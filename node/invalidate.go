package node

import (
	"context"
	"sync/atomic"

	"bramble/cluster"
)

// invalidQueue bounds the URLs that wait to be purged all over the rack.
const invalidQueue = 256

// invalidator tells the rack which pages an unsafe request to this board made
// out of date (RFC 9111 §4.4). This board's own copy has gone already; the
// others follow within purgeWait.
type invalidator struct {
	queue    chan string
	overflow atomic.Bool // more came than the queue holds
}

func newInvalidator() *invalidator {
	return &invalidator{queue: make(chan string, invalidQueue)}
}

// offer never blocks and never loses: what does not fit is covered by a purge
// of everything.
func (i *invalidator) offer(key string) {
	select {
	case i.queue <- key:
	default:
		i.overflow.Store(true)
	}
}

// run purges until ctx ends.
func (i *invalidator) run(ctx context.Context, purger *cluster.Purger) {
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-i.queue:
			purge := cluster.Purge{Kind: cluster.PurgeURL, What: key}
			if i.overflow.Swap(false) {
				purge = cluster.Purge{Kind: cluster.PurgeAll}
			}
			// A key too long to be purged was too long to be stored. Whom the
			// purge does not reach now learns it before it serves again.
			_, _, _ = purger.Purge(ctx, purge, purgeWait)
		}
	}
}
