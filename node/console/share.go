package console

import (
	"net/netip"
	"slices"
)

// fairShare is the part of all places, as 1/fairShare, that one client may hold: none
// shuts the others out alone, and a class behind one address still has a dozen pages.
const fairShare = 4

// shares are places that clients hold: so many for all, and no more than a part for
// each. Clients on the board itself are not held to a part, and give nothing up: they
// are programs that look after it, and who works on it. Whoever uses shares guards them.
type shares[T comparable] struct {
	all, each int
	spare     int                   // more that only the board's own may take
	local     func(netip.Addr) bool // is on the board itself
	held      int
	of        map[netip.Prefix][]T // the oldest first
}

func newShares[T comparable](all, spare int) shares[T] {
	return shares[T]{
		all: all, each: max(all/fairShare, 1), spare: spare,
		local: netip.Addr.IsLoopback, of: make(map[netip.Prefix][]T),
	}
}

// take gives a client a place for one, if he may have it. If none is free, whoever
// holds most gives the newest of his up to one who would still hold fewer: that is
// way, which is out already if made says so. So a few clients with their full parts,
// or many with some each, leave room for those who have come for one.
func (s *shares[T]) take(client netip.Prefix, one T) (way T, made, ok bool) {
	mine, all := len(s.of[client]), s.all
	if s.local(client.Addr()) {
		mine, all = 0, s.all+s.spare
	}
	if mine >= s.each {
		return way, false, false
	}
	if s.held >= all {
		if way, made = s.makeWay(mine + 1); !made {
			return way, false, false
		}
	}
	s.of[client] = append(s.of[client], one)
	s.held++
	return way, made, true
}

// makeWay takes the newest place out of whoever holds most, if that is more than so many.
func (s *shares[T]) makeWay(than int) (way T, made bool) {
	var most netip.Prefix
	for client, held := range s.of {
		if len(held) > len(s.of[most]) && !s.local(client.Addr()) {
			most = client
		}
	}
	held := s.of[most]
	if len(held) <= than {
		return way, false
	}
	way = held[len(held)-1]
	s.leave(most, way)
	return way, true
}

// leave takes one out; it may be out already.
func (s *shares[T]) leave(client netip.Prefix, one T) {
	held := s.of[client]
	at := slices.Index(held, one)
	if at < 0 {
		return
	}
	s.held--
	if held = slices.Delete(held, at, at+1); len(held) == 0 {
		delete(s.of, client)
		return
	}
	s.of[client] = held
}
