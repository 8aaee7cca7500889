package console

import (
	"net/netip"
	"slices"
)

// fairShareDivisor: one client may hold a quarter of all permits. So no client shuts out
// the others, and a class behind one address still has a dozen pages.
const fairShareDivisor = 4

// quota divides a number of permits fairly among clients: a total, and at most a share
// for each. Clients on the board itself have no share to keep to, and are never
// evicted: they are programs that supervise the board, and the people who work on it.
// The caller guards a quota with a lock.
type quota[T comparable] struct {
	total, perClient int
	spare            int                   // permits beyond total, for the board's own clients
	local            func(netip.Addr) bool // is on the board itself
	held             int
	byClient         map[netip.Prefix][]T // the oldest first
}

func newQuota[T comparable](total, spare int) quota[T] {
	return quota[T]{
		total: total, perClient: max(total/fairShareDivisor, 1), spare: spare,
		local: netip.Addr.IsLoopback, byClient: make(map[netip.Prefix][]T),
	}
}

// reservePermit reserves a permit for one, if its client may have it. If all permits are
// taken, it evicts the newest permit of the client that holds the most, provided that
// this client would still hold fewer: victim, already removed, with evicted set. So a
// few clients with their full shares, or many with some each, leave room for a client
// that needs one.
func (q *quota[T]) reservePermit(client netip.Prefix, one T) (victim T, evicted, ok bool) {
	held, limit := len(q.byClient[client]), q.total
	if q.local(client.Addr()) {
		held, limit = 0, q.total+q.spare
	}
	if held >= q.perClient {
		return victim, false, false
	}
	if q.held >= limit {
		if victim, evicted = q.evictNewest(held + 1); !evicted {
			return victim, false, false
		}
	}
	q.byClient[client] = append(q.byClient[client], one)
	q.held++
	return victim, evicted, true
}

// evictNewest removes the newest permit of the client that holds the most, if that is
// more than n.
func (q *quota[T]) evictNewest(n int) (victim T, evicted bool) {
	var largest netip.Prefix
	for client, held := range q.byClient {
		if len(held) > len(q.byClient[largest]) && !q.local(client.Addr()) {
			largest = client
		}
	}
	held := q.byClient[largest]
	if len(held) <= n {
		return victim, false
	}
	victim = held[len(held)-1]
	q.releasePermit(largest, victim)
	return victim, true
}

// releasePermit releases the permit of one, which may be released already.
func (q *quota[T]) releasePermit(client netip.Prefix, one T) {
	held := q.byClient[client]
	at := slices.Index(held, one)
	if at < 0 {
		return
	}
	q.held--
	if held = slices.Delete(held, at, at+1); len(held) == 0 {
		delete(q.byClient, client)
		return
	}
	q.byClient[client] = held
}
