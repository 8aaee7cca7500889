package front

import (
	"container/list"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// waitersPerSlot is how many may wait for each place in net/http. One that
	// waits holds its request and a small stack, a tenth of one that is served.
	waitersPerSlot = 4
	// slotWait is how long one may wait: longer than a page takes that another
	// is having made at that moment, shorter than people do.
	slotWait = 2 * time.Second
	// handoffsPerSlot connections may be net/http's for each place: those of buyers
	// that fill in forms, whose next request is a person's thought away.
	handoffsPerSlot = 4
	// parkAfter is how long a request keeps its place while its client takes
	// nothing of the reply: a round trip or two.
	parkAfter = 50 * time.Millisecond
	// uploadShare is the part of all places that requests may hold whose bodies
	// are still coming.
	uploadShare = 4
)

// gate stands between the listener and net/http, whose requests cost ten times as
// much as a page in memory in time and in bytes. A bounded number is let through
// at once, a bounded number waits for a bounded time, and under pressure some are
// not let through at all. The rest get the prepared refusal.
type gate struct {
	slots     chan struct{} // one in it for each request that is let through; nil: no bound
	waiting   atomic.Int64
	uploads   atomic.Int64
	parked    atomic.Int64 // requests whose clients are slow to read
	handedOff atomic.Int64 // connections
	streams   atomic.Int64 // requests of HTTP/2, from their beginning to the end of the reply
	// evict ends a connection that has taken far more than its share, and reports
	// whether there was one.
	evict func() bool

	mu     sync.Mutex // guards what follows, and the same in each connection
	silent list.List  // *given whose clients are to send something, the longest first

	pressure  atomic.Uint64 // the bits of a float64, 0 to 1
	decisions atomic.Uint32 // counts those that pressure decides about
	shed      atomic.Int64  // refused requests
}

// newGate makes a gate with a number of places; 0 sets no bound.
func newGate(places int) *gate {
	g := new(gate)
	if places > 0 {
		g.slots = make(chan struct{}, places)
	}
	return g
}

// currentPressure is the pressure of this moment.
func (g *gate) currentPressure() float64 { return math.Float64frombits(g.pressure.Load()) }

// recordPressure takes in a measurement.
func (g *gate) recordPressure(measured float64) {
	g.pressure.Store(math.Float64bits(smoothPressure(g.currentPressure(), measured)))
}

// shouldShed decides whether a request is refused without more ado: by pressure, or
// because so many wait for a place that it need not begin to.
func (g *gate) shouldShed(k requestKind) bool {
	if g == nil {
		return false
	}
	if g.waiting.Load() >= int64(cap(g.slots))*waitersPerSlot && g.slots != nil {
		g.shed.Add(1)
		return true
	}
	pressure := g.currentPressure()
	if pressure == 0 || !isInShare(g.decisions.Add(1), k.shedShare(pressure)) {
		return false
	}
	g.shed.Add(1)
	return true
}

// acquire lets a request through as soon as there is a place, and gives that, or nil
// if the request is to be refused; waited is whether it had to wait. It gives up
// when gone is closed.
func (g *gate) acquire(gone <-chan struct{}) (p *slot, waited bool) {
	if g.slots == nil {
		return &slot{gate: g}, false
	}
	select {
	case g.slots <- struct{}{}:
		return &slot{gate: g}, false
	default:
	}
	if g.waiting.Add(1) > int64(cap(g.slots))*waitersPerSlot {
		g.waiting.Add(-1)
		g.shed.Add(1)
		return nil, false
	}
	defer g.waiting.Add(-1)
	timer := time.NewTimer(slotWait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return &slot{gate: g}, true
	case <-timer.C:
	case <-gone:
	}
	g.shed.Add(1)
	return nil, true
}

// release makes room for another.
func (g *gate) release() {
	if g.slots != nil {
		<-g.slots
	}
}

// slot is a request's place behind the gate. Only while its client takes the
// reply does a request hold one of the gate's own: it is for work, and who reads
// slowly stands aside.
type slot struct {
	gate  *gate
	state atomic.Int32 // placeHeld and so on
}

const (
	slotHeld int32 = iota
	slotParked
	slotReleased
)

// release gives the place back.
func (p *slot) release() {
	switch p.state.Swap(slotReleased) {
	case slotHeld:
		p.gate.release()
	case slotParked:
		p.gate.parked.Add(-1)
	}
}

// write writes a part of a reply. If the client does not take it at once, the
// request stands aside for the rest of its time, and has less of that the more
// there are; if there are too many its connection ends.
func (p *slot) write(to net.Conn, whole time.Duration, b []byte) (int, error) {
	defer p.watchWrite(to.SetWriteDeadline, whole)()
	return to.Write(b)
}

// watchWrite watches over a write until what it gives is called.
func (p *slot) watchWrite(limit func(time.Time) error, whole time.Duration) (done func()) {
	if p == nil || p.state.Load() != slotHeld {
		return func() {}
	}
	decided := make(chan struct{})
	slow := time.AfterFunc(parkAfter, func() {
		defer close(decided)
		if !p.state.CompareAndSwap(slotHeld, slotParked) {
			return
		}
		p.gate.release()
		n := p.gate.parked.Add(1)
		left := scaleTimeout(whole, minWriteTimeout, n, p.gate.maxHandedOff())
		if most := p.gate.maxHandedOff(); most > 0 && n > most && !p.gate.evict() {
			left = 0
			p.gate.shed.Add(1)
		}
		// An error means that the connection is closed already.
		_ = limit(time.Now().Add(left))
	})
	return func() {
		if !slow.Stop() {
			<-decided // a deadline is no longer the reply's to set once that is over
		}
	}
}

// acquireUpload reports whether a request may keep its place while its body comes.
// Then leaveUpload is called too.
func (g *gate) acquireUpload() bool {
	if g.uploads.Add(1) > int64(max(cap(g.slots)/uploadShare, 1)) && g.slots != nil {
		g.uploads.Add(-1)
		g.shed.Add(1)
		return false
	}
	return true
}

func (g *gate) releaseUpload() { g.uploads.Add(-1) }

// maxHandedOff is how many connections may be net/http's, and how many requests may stand
// aside; 0 sets no bound.
func (g *gate) maxHandedOff() int64 { return int64(cap(g.slots)) * handoffsPerSlot }

// acquireHandoff reports whether another connection may be net/http's for good. Then
// leaveGiven is called when it ends. If there are as many as may be, the one ends
// whose client has been silent longest: a form comes in one packet or two, and
// who sends slowly on purpose makes way for it.
func (g *gate) acquireHandoff() bool {
	if n := g.handedOff.Add(1); g.slots == nil || n <= g.maxHandedOff() {
		return true
	}
	if silent := g.takeLongestSilent(); silent != nil {
		silent.conn.abort()
		g.shed.Add(1)
		return true // that leaves in a moment
	}
	g.handedOff.Add(-1)
	g.shed.Add(1)
	return false
}

// setSilent notes that a connection's client is to send something, or is not any more.
func (g *gate) setSilent(one *handoff, is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one.silentEntry != nil {
		g.silent.Remove(one.silentEntry)
		one.silentEntry = nil
	}
	if is {
		one.silentEntry = g.silent.PushBack(one)
	}
}

// takeLongestSilent takes the connection whose client has been silent longest out of those
// that wait; nil if none does.
func (g *gate) takeLongestSilent() *handoff {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.silent.Front()
	if first == nil {
		return nil
	}
	one := first.Value.(*handoff)
	g.silent.Remove(first)
	one.silentEntry = nil
	return one
}

func (g *gate) releaseHandoff() { g.handedOff.Add(-1) }

// isCrowded reports whether more than half of the connections that may be net/http's
// are: then each is closed with its reply, and makes room.
func (g *gate) isCrowded() bool { return g.slots != nil && g.handedOff.Load()*2 > g.maxHandedOff() }
