// Package admission holds the policies that decide which clients the public listener
// admits and which requests it works on: admission permits, load shedding, rate limits,
// the pace of bodies, the allowance of HTTP/2 connections, and permits for TLS
// handshakes. It knows neither sockets nor the life of a connection.
package admission

import (
	"context"
	"errors"
	"math"
	"net"
	"sync/atomic"
	"time"

	"bramble/cache/fairshare"
)

const (
	// waitersPerPermit is the number of requests that may wait for each permit. One that
	// waits holds its request and a small stack, a tenth of one that is served.
	waitersPerPermit = 4
	// permitWait limits the wait for a permit: longer than it takes to make a page that
	// another request is waiting for too, shorter than people wait.
	permitWait = 2 * time.Second
	// handoffsPerPermit is the number of connections that may be net/http's for each permit:
	// those of buyers, who think between the requests of a form.
	handoffsPerPermit = 4
	// parkAfter limits how long a request keeps its permit while its client takes nothing of
	// the reply: a round trip or two.
	parkAfter = 50 * time.Millisecond
	// uploadShare is the part of all permits, as 1/uploadShare, that requests may hold whose
	// bodies are still arriving.
	uploadShare = 4
	// StreamsPerPermit is the number of HTTP/2 requests that may exist for each permit,
	// whatever they wait for: one is worked on, four wait for the permit, and one is still
	// arriving.
	StreamsPerPermit = waitersPerPermit + 2
	// noLimit is the number of permits that stands for any number: more than the connections that a board can have.
	noLimit = 1 << 24
)

// Gate is the admission control between the listener and net/http, whose requests cost
// ten times as much as a page in memory, in time and in bytes. It is a semaphore with a
// bounded queue and a bounded wait, and it sheds load under pressure: some requests are
// refused before they wait. The caller sends the refusals.
type Gate struct {
	size    int64              // permits
	permits *fairshare.Permits // one for each request that is let through
	siteOf  func(host string) string
	uploads atomic.Int64
	parked  atomic.Int64 // requests whose clients are slow to read
	streams atomic.Int64 // requests of HTTP/2, from their beginning to the end of the reply
	// evict ends a connection that has taken far more than its share, and reports whether
	// there was one.
	evict func() bool

	handedOff     atomic.Int64 // connections
	silentClients WaitList     // the handed-off connections whose clients must send something

	pressure  atomic.Uint64 // the bits of a float64, 0 to 1
	decisions atomic.Uint32 // requests about which pressure decides
	shed      atomic.Int64  // refused requests
}

// NewGate makes a gate with a number of permits; 0 sets no limit. siteOf returns the site that has a Host; the sites
// share the permits and the queue. nil: there is one site. evict ends a connection
// that has taken far more than its share, and reports whether there was one.
func NewGate(permits int, siteOf func(host string) string, evict func() bool) *Gate {
	if permits <= 0 {
		permits = noLimit
	}
	g := &Gate{size: int64(permits), siteOf: siteOf, evict: evict}
	g.permits = fairshare.New(permits, permits*waitersPerPermit, siteOf != nil)
	if siteOf == nil {
		g.siteOf = func(string) string { return "" }
	}
	return g
}

// Pressure returns the pressure of this moment, from 0 to 1.
func (g *Gate) Pressure() float64 { return math.Float64frombits(g.pressure.Load()) }

// RecordPressure takes a measurement into account.
func (g *Gate) RecordPressure(measured float64) {
	g.pressure.Store(math.Float64bits(smoothPressure(g.Pressure(), measured)))
}

// CountShed counts a request or a connection that was refused elsewhere for its load.
func (g *Gate) CountShed() { g.shed.Add(1) }

// Shed returns the number of requests that were refused.
func (g *Gate) Shed() int64 { return g.shed.Load() }

// GateUsage is what a Gate holds at one moment.
type GateUsage struct {
	Permits   int64 // held
	Waiting   int64 // requests that wait for a permit
	Uploads   int64
	Parked    int64 // requests whose clients are slow to read
	Streams   int64 // requests of HTTP/2
	HandedOff int64 // connections
}

// Usage returns what the gate holds now.
func (g *Gate) Usage() GateUsage {
	_, held, waiting := g.permits.Counts()
	return GateUsage{
		Permits: int64(held), Waiting: int64(waiting), Uploads: g.uploads.Load(),
		Parked: g.parked.Load(), Streams: g.streams.Load(), HandedOff: g.handedOff.Load(),
	}
}

// ShouldShed decides whether a request is refused at once: because of pressure, or
// because the queue for permits is full. A nil gate refuses nothing.
func (g *Gate) ShouldShed(kind RequestKind, host string) bool {
	if g == nil {
		return false
	}
	if g.permits.IsFull(g.siteOf(host)) {
		g.shed.Add(1)
		return true
	}
	pressure := g.Pressure()
	if pressure == 0 || !isInShare(g.decisions.Add(1), kind.shedShare(pressure)) {
		return false
	}
	g.shed.Add(1)
	return true
}

// Acquire waits for a permit. It returns nil if the request must be refused: the queue is
// full, the wait was too long, or ctx has ended. waited reports whether it had to wait.
func (g *Gate) Acquire(ctx context.Context, host string) (p *Permit, waited bool) {
	p = &Permit{gate: g, site: g.siteOf(host)}
	if g.permits.TryAcquire(p.site) {
		return p, false
	}
	ctx, cancel := context.WithTimeout(ctx, permitWait)
	defer cancel()
	if err := g.permits.Acquire(ctx, p.site, false); err != nil {
		g.shed.Add(1)
		return nil, !errors.Is(err, fairshare.ErrFull)
	}
	return p, true
}

// Permit is a request's admission. The request holds a unit of the gate's semaphore only
// while it is worked on or its client takes the reply; for a client that reads slowly
// the unit is released, and the request is parked.
type Permit struct {
	gate  *Gate
	site  string
	state atomic.Int32 // permitHeld and so on
}

const (
	permitHeld int32 = iota
	permitParked
	permitReleased
)

// Release releases the permit; a second call does nothing.
func (p *Permit) Release() {
	switch p.state.Swap(permitReleased) {
	case permitHeld:
		p.gate.permits.Release(p.site)
	case permitParked:
		p.gate.parked.Add(-1)
	}
}

// Write writes a part of a reply under WatchWrite.
func (p *Permit) Write(to net.Conn, timeout time.Duration, b []byte) (int, error) {
	defer p.WatchWrite(to.SetWriteDeadline, timeout)()
	return to.Write(b)
}

// WatchWrite watches a write until done is called. If the client does not take it at
// once, the request is parked, and its deadline is set: timeout, or less if many are
// parked. If too many are parked, and no connection can be evicted, this one ends.
// A nil permit is not watched.
func (p *Permit) WatchWrite(setDeadline func(time.Time) error, timeout time.Duration) (done func()) {
	if p == nil || p.state.Load() != permitHeld {
		return func() {}
	}
	decided := make(chan struct{})
	slow := time.AfterFunc(parkAfter, func() {
		defer close(decided)
		if p.state.CompareAndSwap(permitHeld, permitParked) {
			// An error means that the connection is closed already.
			_ = setDeadline(time.Now().Add(p.gate.park(p.site, timeout)))
		}
	})
	return func() {
		if !slow.Stop() {
			<-decided // the deadline must not be set once the reply is over
		}
	}
}

// park releases the unit of a permit and returns the time that remains for its reply.
func (g *Gate) park(site string, timeout time.Duration) time.Duration {
	g.permits.Release(site)
	n, most := g.parked.Add(1), g.maxHandoffs()
	left := ScaleTimeout(timeout, MinWriteTimeout, n, most)
	if n > most && !g.evict() {
		left = 0
		g.shed.Add(1)
	}
	return left
}

// TryAcquireUpload reports whether a request may keep its permit while its body arrives. If
// so, ReleaseUpload must be called too.
func (g *Gate) TryAcquireUpload() bool {
	if g.uploads.Add(1) > max(g.size/uploadShare, 1) {
		g.uploads.Add(-1)
		g.shed.Add(1)
		return false
	}
	return true
}

// ReleaseUpload is called when the body has arrived.
func (g *Gate) ReleaseUpload() { g.uploads.Add(-1) }

// TryAcquireStream reports whether another request of HTTP/2 may exist. If so,
// ReleaseStream must be called when it has been answered. If there are too many, one
// connection is evicted.
func (g *Gate) TryAcquireStream() bool {
	if g.streams.Add(1) > g.size*StreamsPerPermit && !g.evict() {
		g.shed.Add(1)
		g.streams.Add(-1)
		return false
	}
	return true
}

// ReleaseStream is called when a request of HTTP/2 has been answered.
func (g *Gate) ReleaseStream() { g.streams.Add(-1) }

// maxHandoffs limits the connections that are handed off to net/http, and the requests
// that are parked.
func (g *Gate) maxHandoffs() int64 { return g.size * handoffsPerPermit }

// BodyLag returns how far a body may be behind its rate now: the configured time, or less
// as more connections are net/http's.
func (g *Gate) BodyLag(configured time.Duration) time.Duration {
	return ScaleTimeout(configured, minBodyLag, g.handedOff.Load(), g.maxHandoffs())
}

// TryAcquireHandoff reports whether another connection may be net/http's for good. If so,
// ReleaseHandoff must be called when it ends. If there are too many, it evicts the
// connection of the client that has been silent longest: a form arrives in one packet or
// two, and clients that send slowly on purpose make room for it.
func (g *Gate) TryAcquireHandoff() bool {
	if g.handedOff.Add(1) <= g.maxHandoffs() {
		return true
	}
	g.shed.Add(1)
	if g.silentClients.evictLongest() {
		return true // that one ends in a moment
	}
	g.handedOff.Add(-1)
	return false
}

// ReleaseHandoff is called when a connection that was handed off has ended.
func (g *Gate) ReleaseHandoff() { g.handedOff.Add(-1) }

// SilentClients holds the connections that are handed off and whose clients must send something.
func (g *Gate) SilentClients() *WaitList { return &g.silentClients }

// IsCrowded reports whether net/http has more than half of the connections that it may
// have. Then each should be closed with its reply, to make room.
func (g *Gate) IsCrowded() bool { return g.handedOff.Load()*2 > g.maxHandoffs() }
