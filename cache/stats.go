package cache

import "sync/atomic"

// Stats are the totals since the cache was created, which only grow, and its present
// size.
type Stats struct {
	Requests    int64 // to Serve, or answered by AppendHit
	Hits        int64 // answered from memory, fresh
	Stale       int64 // answered from memory, stale, as the rules allow
	Revalidated int64 // stored replies that upstream confirmed
	Coalesced   int64 // answered with a reply that another request fetched
	Fetches     int64 // upstream fetches begun, revalidations included
	FetchErrors int64 // upstream fetches that failed
	Stored      int64 // objects that entered the store
	Evictions   int64 // keys evicted for lack of room
	Rejected    int64 // replies not stored because of their size
	Purged      int64 // objects dropped by purges and invalidation

	Objects  int64 // keys in the store now
	Bytes    int64 // bytes that they take, bookkeeping included
	Incoming int64 // bytes reserved now for bodies on their way in
	Budget   int64 // Config.Budget
}

type counters struct {
	requests, hits, stale, revalidated, coalesced  atomic.Int64
	prepared                                       atomic.Int64 // requests and hits, by AppendHit
	fetches, fetchErrors, stored, rejected, purged atomic.Int64
}

// Stats reads all figures without a lock, so figures that belong together may be of
// slightly different times.
func (c *Cache) Stats() Stats {
	objects, bytes := c.store.sumTotals()
	n := &c.counters
	return Stats{
		Requests: n.requests.Load() + n.prepared.Load(), Hits: n.hits.Load() + n.prepared.Load(), Stale: n.stale.Load(),
		Revalidated: n.revalidated.Load(), Coalesced: n.coalesced.Load(),
		Fetches: n.fetches.Load(), FetchErrors: n.fetchErrors.Load(), Stored: n.stored.Load(),
		Evictions: c.store.evictions.Load(), Rejected: n.rejected.Load() + c.store.rejected.Load(),
		Purged:  n.purged.Load(),
		Objects: objects, Bytes: bytes, Incoming: c.incomingBytes.Load(), Budget: c.cfg.Budget,
	}
}
