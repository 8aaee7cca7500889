package console

import (
	"net/netip"
	"slices"
)

// fairShareDivisor is the part of all places, as 1/fairShare, that one client may hold: none
// shuts the others out alone, and a class behind one address still has a dozen pages.
const fairShareDivisor = 4

// quota are places that clients hold: so many for all, and no more than a part for
// each. Clients on the board itself are not held to a part, and give nothing up: they
// are programs that look after it, and who works on it. Whoever uses shares guards them.
type quota[T comparable] struct {
	total, perClient int
	spare            int                   // more that only the board's own may take
	local            func(netip.Addr) bool // is on the board itself
	held             int
	byClient         map[netip.Prefix][]T // the oldest first
}

func newQuota[T comparable](all, spare int) quota[T] {
	return quota[T]{
		total: all, perClient: max(all/fairShareDivisor, 1), spare: spare,
		local: netip.Addr.IsLoopback, byClient: make(map[netip.Prefix][]T),
	}
}

// reserveSlot gives a client a place for one, if he may have it. If none is free, whoever
// holds most gives the newest of his up to one who would still hold fewer: that is
// way, which is out already if made says so. So a few clients with their full parts,
// or many with some each, leave room for those who have come for one.
func (s *quota[T]) reserveSlot(client netip.Prefix, one T) (way T, made, ok bool) {
	mine, all := len(s.byClient[client]), s.total
	if s.local(client.Addr()) {
		mine, all = 0, s.total+s.spare
	}
	if mine >= s.perClient {
		return way, false, false
	}
	if s.held >= all {
		if way, made = s.evictNewest(mine + 1); !made {
			return way, false, false
		}
	}
	s.byClient[client] = append(s.byClient[client], one)
	s.held++
	return way, made, true
}

// evictNewest takes the newest place out of whoever holds most, if that is more than so many.
func (s *quota[T]) evictNewest(than int) (way T, made bool) {
	var most netip.Prefix
	for client, held := range s.byClient {
		if len(held) > len(s.byClient[most]) && !s.local(client.Addr()) {
			most = client
		}
	}
	held := s.byClient[most]
	if len(held) <= than {
		return way, false
	}
	way = held[len(held)-1]
	s.releaseSlot(most, way)
	return way, true
}

// releaseSlot takes one out; it may be out already.
func (s *quota[T]) releaseSlot(client netip.Prefix, one T) {
	held := s.byClient[client]
	at := slices.Index(held, one)
	if at < 0 {
		return
	}
	s.held--
	if held = slices.Delete(held, at, at+1); len(held) == 0 {
		delete(s.byClient, client)
		return
	}
	s.byClient[client] = held
}
