package front

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// rateCells is how many cells stand for all clients, twice over: 32 KB for
	// each kind of limit. Only a client that shares both of its cells with busy
	// ones is held to a limit that it has not reached.
	rateCells = 4096
	// rateUnits is how many units of a cell's time are in a millisecond: fine
	// enough for 64,000 a second, and 32 bits of them last 18 hours. A cell that
	// has rested for just as long lets a shorter burst through once.
	rateUnits = 64
	// rateBurst is for how many seconds' worth of its rate a client that was
	// quiet may go ahead of it: a page with all its pictures, at once.
	rateBurst = 2
)

// A page of a board has no room for a table of clients that an attacker could
// fill. So a limit has a fixed number of cells, and each cell holds one time:
// when the next request of its clients would be due if they came evenly at the
// limit (GCRA, as ATM switches police cells). Who is too far ahead is refused.

// rateLimiter holds clients to a number of events a second.
type rateLimiter struct {
	cost, burst uint32 // of one event, in units
	cells       [2][rateCells]atomic.Uint32
}

// newRateLimiter makes a limit; nil, which allows everything, for a rate of 0.
func newRateLimiter(perSecond int) *rateLimiter {
	if perSecond <= 0 {
		return nil
	}
	cost := max(1000*rateUnits/uint32(perSecond), 1)
	return &rateLimiter{cost: cost, burst: max(rateBurst*1000*rateUnits, cost)}
}

// allow notes an event of whoever has the hash, and reports whether it is within
// the limit. What is not counts for nothing.
func (l *rateLimiter) allow(hash, now uint32) bool {
	if l == nil {
		return true
	}
	one := l.advanceCell(&l.cells[0][hash%rateCells], now)
	other := l.advanceCell(&l.cells[1][hash>>16%rateCells], now)
	return one || other
}

func (l *rateLimiter) advanceCell(cell *atomic.Uint32, now uint32) bool {
	for {
		due := cell.Load()
		from, ok := l.nextDue(due, now)
		if !ok || cell.CompareAndSwap(due, from) {
			return ok
		}
	}
}

// nextDue is the rule: when the event after this one is due.
func (l *rateLimiter) nextDue(due, now uint32) (uint32, bool) {
	ahead := int32(due - now)
	switch {
	case ahead <= 0 || ahead > int32(l.burst+l.cost): // long ago: the time has gone round since
		due = now
	case ahead+int32(l.cost) > int32(l.burst):
		return due, false
	}
	return due + l.cost, true
}

// clientLimits are all that a client is held to.
type clientLimits struct {
	refused                         atomic.Int64 // requests
	seed                            maphash.Seed // so that nobody can choose whose cells he shares
	began                           time.Time
	clientRequests, networkRequests *rateLimiter
	clientConns, networkConns       *rateLimiter
}

func newClientLimits(cfg Config) *clientLimits {
	return &clientLimits{
		seed: maphash.MakeSeed(), began: time.Now(),
		clientRequests: newRateLimiter(cfg.ClientRequests), networkRequests: newRateLimiter(cfg.NetworkRequests),
		clientConns: newRateLimiter(cfg.ClientConnections), networkConns: newRateLimiter(cfg.NetworkConnections),
	}
}

// clientKey is whom a connection comes from, as far as limits go.
type clientKey struct{ address, network uint32 }

// keyOf finds an address's cells. Its network is its /24, or its /64: what one
// subscriber or one small site has.
func (l *clientLimits) keyOf(address netip.Addr) clientKey {
	address = address.Unmap().WithZone("")
	bits := 64
	if address.Is4() {
		bits = 24
	}
	network := netip.PrefixFrom(address, bits).Masked().Addr()
	return clientKey{
		address: uint32(maphash.Comparable(l.seed, address)),
		network: uint32(maphash.Comparable(l.seed, network) >> 32),
	}
}

// nowUnits is the time in units.
func (l *clientLimits) nowUnits() uint32 {
	return uint32(time.Since(l.began) * rateUnits / time.Millisecond)
}

// allowConn notes a new connection and reports whether it is welcome.
func (l *clientLimits) allowConn(c clientKey) bool {
	if l.clientConns == nil && l.networkConns == nil {
		return true
	}
	now := l.nowUnits()
	return l.clientConns.allow(c.address, now) && l.networkConns.allow(c.network, now)
}

// allowRequest notes a request and reports whether it is to be answered.
func (l *clientLimits) allowRequest(c clientKey) bool {
	if l == nil || l.clientRequests == nil && l.networkRequests == nil {
		return true
	}
	now := l.nowUnits()
	if l.clientRequests.allow(c.address, now) && l.networkRequests.allow(c.network, now) {
		return true
	}
	l.refused.Add(1)
	return false
}
