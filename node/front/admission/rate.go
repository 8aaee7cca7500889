package admission

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// rateCells is the number of cells that stand for all clients, twice over: 32 KB for
	// each rate limiter. Only a client that shares both of its cells with busy ones is held
	// to a limit that it has not reached.
	rateCells = 4096
	// subjectCells is that for what forms are about, 512 KB: each client has many such.
	subjectCells = 1 << 16
	// rateUnits is the number of units of a cell's time in a millisecond: fine enough for
	// 64,000 per second, and 32 bits of them last 18 hours. A cell that has rested for just
	// as long lets a shorter burst through once.
	rateUnits = 64
	// rateBurst is the burst, in seconds of the rate, of a client that has sent nothing for
	// a while: a page with all its pictures, at once.
	rateBurst = 2
)

// rateLimiter limits the events per second of each client by GCRA, a token bucket that
// stores one time: when the next event is due if they arrive evenly at the limit (as ATM
// switches police cells). A client that is too far ahead is refused. A table of clients
// could be filled by an attacker, so there is a fixed number of cells, and each stands
// for many clients.
type rateLimiter struct {
	cost, burst uint32 // of one event, in units
	cells       [2][]atomic.Uint32
}

// newRateLimiter makes a limiter of n events in a time of at most 18 hours, of which burst may come at once; for n of 0
// it returns nil, which allows everything.
func newRateLimiter(n int, in time.Duration, burst int) *rateLimiter {
	if n <= 0 {
		return nil
	}
	cost := max(uint32(in*rateUnits/time.Millisecond)/uint32(n), 1)
	return (&rateLimiter{cost: cost, burst: uint32(max(burst, 1)) * cost}).withCells(rateCells)
}

// withCells gives the limiter a number of cells, a power of two up to 65,536.
func (l *rateLimiter) withCells(n int) *rateLimiter {
	l.cells = [2][]atomic.Uint32{make([]atomic.Uint32, n), make([]atomic.Uint32, n)}
	return l
}

// allow counts an event of the client with a hash, and reports whether it is within the
// limit. An event beyond the limit does not count.
func (l *rateLimiter) allow(hash, now uint32) bool {
	if l == nil {
		return true
	}
	n := uint32(len(l.cells[0]))
	first := l.advanceCell(&l.cells[0][hash%n], now)
	second := l.advanceCell(&l.cells[1][hash>>16%n], now)
	return first || second
}

// isSpent reports whether allow would refuse an event.
func (l *rateLimiter) isSpent(hash, now uint32) bool {
	n := uint32(len(l.cells[0]))
	_, first := l.nextDue(l.cells[0][hash%n].Load(), now)
	_, second := l.nextDue(l.cells[1][hash>>16%n].Load(), now)
	return !first && !second
}

func (l *rateLimiter) advanceCell(cell *atomic.Uint32, now uint32) bool {
	for {
		due := cell.Load()
		next, ok := l.nextDue(due, now)
		if !ok || cell.CompareAndSwap(due, next) {
			return ok
		}
	}
}

// nextDue is the rule: it returns when the event after this one is due.
func (l *rateLimiter) nextDue(due, now uint32) (uint32, bool) {
	ahead := int32(due - now)
	switch {
	case ahead <= 0 || ahead > int32(l.burst+l.cost): // long ago: the time has wrapped around since
		due = now
	case ahead+int32(l.cost) > int32(l.burst):
		return due, false
	}
	return due + l.cost, true
}

// Rates are limits in events per second; 0: no limit.
type Rates struct {
	ClientRequests, NetworkRequests       int
	ClientConnections, NetworkConnections int
	Now                                   func() time.Time // nil: time.Now
}

// ClientLimits are the rate limits of clients and of their networks.
type ClientLimits struct {
	refused                         atomic.Int64 // requests
	seed                            maphash.Seed // so that no client can choose with which others it shares cells
	now                             func() time.Time
	began                           time.Time
	clientRequests, networkRequests *rateLimiter
	clientConns, networkConns       *rateLimiter
}

// NewClientLimits makes limits.
func NewClientLimits(rates Rates) *ClientLimits {
	if rates.Now == nil {
		rates.Now = time.Now
	}
	perSecond := func(n int) *rateLimiter { return newRateLimiter(n, time.Second, rateBurst*n) }
	return &ClientLimits{
		seed: maphash.MakeSeed(), now: rates.Now, began: rates.Now(),
		clientRequests: perSecond(rates.ClientRequests), networkRequests: perSecond(rates.NetworkRequests),
		clientConns: perSecond(rates.ClientConnections), networkConns: perSecond(rates.NetworkConnections),
	}
}

// ClientKey identifies the client of a connection to limiters: two hashes.
type ClientKey struct{ address, network uint32 }

// KeyOf returns the key of an address. Its network is its /24, or its /64: what one
// subscriber or one small site has.
func (l *ClientLimits) KeyOf(address netip.Addr) ClientKey {
	address = address.Unmap().WithZone("")
	bits := 64
	if address.Is4() {
		bits = 24
	}
	network := netip.PrefixFrom(address, bits).Masked().Addr()
	return ClientKey{address: l.hashOf(address), network: l.hashOf(network)}
}

func (l *ClientLimits) hashOf(address netip.Addr) uint32 {
	return uint32(maphash.Comparable(l.seed, address))
}

func (l *ClientLimits) nowUnits() uint32 {
	return uint32(l.now().Sub(l.began) * rateUnits / time.Millisecond)
}

// AllowConn counts a new connection and reports whether it is within the limits.
func (l *ClientLimits) AllowConn(c ClientKey) bool {
	if l.clientConns == nil && l.networkConns == nil {
		return true
	}
	now := l.nowUnits()
	return l.clientConns.allow(c.address, now) && l.networkConns.allow(c.network, now)
}

// AllowRequest counts a request and reports whether it is within the limits. Nil limits
// allow everything.
func (l *ClientLimits) AllowRequest(c ClientKey) bool {
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

// Refused returns the number of requests beyond the limits.
func (l *ClientLimits) Refused() int64 { return l.refused.Load() }
