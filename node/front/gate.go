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
	// waitersPerPlace is how many may wait for each place in net/http. One that
	// waits holds its request and a small stack, a tenth of one that is served.
	waitersPerPlace = 4
	// placeWait is how long one may wait: longer than a page takes that another
	// is having made at that moment, shorter than people do.
	placeWait = 2 * time.Second
	// givenPerPlace connections may be net/http's for each place: those of buyers
	// that fill in forms, whose next request is a person's thought away.
	givenPerPlace = 4
	// asideAfter is how long a request keeps its place while its client takes
	// nothing of the reply: a round trip or two.
	asideAfter = 50 * time.Millisecond
	// uploadShare is the part of all places that requests may hold whose bodies
	// are still coming.
	uploadShare = 4
)

// gate stands between the listener and net/http, whose requests cost ten times as
// much as a page in memory in time and in bytes. A bounded number is let through
// at once, a bounded number waits for a bounded time, and under pressure some are
// not let through at all. The rest get the prepared refusal.
type gate struct {
	places  chan struct{} // one in it for each request that is let through; nil: no bound
	waiting atomic.Int64
	uploads atomic.Int64
	aside   atomic.Int64 // requests whose clients are slow to read
	given   atomic.Int64 // connections
	streams atomic.Int64 // requests of HTTP/2, from their beginning to the end of the reply
	// relieve ends a connection that has taken far more than its share, and reports
	// whether there was one.
	relieve func() bool

	mu     sync.Mutex // guards what follows, and the same in each connection
	silent list.List  // *given whose clients are to send something, the longest first

	pressure atomic.Uint64 // the bits of a float64, 0 to 1
	turn     atomic.Uint32 // counts those that pressure decides about
	shed     atomic.Int64  // refused requests
}

// newGate makes a gate with a number of places; 0 sets no bound.
func newGate(places int) *gate {
	g := new(gate)
	if places > 0 {
		g.places = make(chan struct{}, places)
	}
	return g
}

// strain is the pressure of this moment.
func (g *gate) strain() float64 { return math.Float64frombits(g.pressure.Load()) }

// feel takes in a measurement.
func (g *gate) feel(measured float64) {
	g.pressure.Store(math.Float64bits(eased(g.strain(), measured)))
}

// sheds decides whether a request is refused without more ado: by pressure, or
// because so many wait for a place that it need not begin to.
func (g *gate) sheds(k kind) bool {
	if g == nil {
		return false
	}
	if g.waiting.Load() >= int64(cap(g.places))*waitersPerPlace && g.places != nil {
		g.shed.Add(1)
		return true
	}
	pressure := g.strain()
	if pressure == 0 || !among(g.turn.Add(1), k.share(pressure)) {
		return false
	}
	g.shed.Add(1)
	return true
}

// enter lets a request through as soon as there is a place, and gives that, or nil
// if the request is to be refused; waited is whether it had to wait. It gives up
// when gone is closed.
func (g *gate) enter(gone <-chan struct{}) (p *place, waited bool) {
	if g.places == nil {
		return &place{gate: g}, false
	}
	select {
	case g.places <- struct{}{}:
		return &place{gate: g}, false
	default:
	}
	if g.waiting.Add(1) > int64(cap(g.places))*waitersPerPlace {
		g.waiting.Add(-1)
		g.shed.Add(1)
		return nil, false
	}
	defer g.waiting.Add(-1)
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}:
		return &place{gate: g}, true
	case <-timer.C:
	case <-gone:
	}
	g.shed.Add(1)
	return nil, true
}

// free makes room for another.
func (g *gate) free() {
	if g.places != nil {
		<-g.places
	}
}

// place is a request's place behind the gate. Only while its client takes the
// reply does a request hold one of the gate's own: it is for work, and who reads
// slowly stands aside.
type place struct {
	gate  *gate
	state atomic.Int32 // placeHeld and so on
}

const (
	placeHeld int32 = iota
	placeAside
	placeLeft
)

// leave gives the place back.
func (p *place) leave() {
	switch p.state.Swap(placeLeft) {
	case placeHeld:
		p.gate.free()
	case placeAside:
		p.gate.aside.Add(-1)
	}
}

// send writes a part of a reply. If the client does not take it at once, the
// request stands aside for the rest of its time, and has less of that the more
// there are; if there are too many its connection ends.
func (p *place) send(to net.Conn, whole time.Duration, b []byte) (int, error) {
	defer p.sending(to.SetWriteDeadline, whole)()
	return to.Write(b)
}

// sending watches over a write until what it gives is called.
func (p *place) sending(limit func(time.Time) error, whole time.Duration) (done func()) {
	if p == nil || p.state.Load() != placeHeld {
		return func() {}
	}
	decided := make(chan struct{})
	slow := time.AfterFunc(asideAfter, func() {
		defer close(decided)
		if !p.state.CompareAndSwap(placeHeld, placeAside) {
			return
		}
		p.gate.free()
		n := p.gate.aside.Add(1)
		left := shrunk(whole, leastWriting, n, p.gate.most())
		if most := p.gate.most(); most > 0 && n > most && !p.gate.relieve() {
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

// enterUpload reports whether a request may keep its place while its body comes.
// Then leaveUpload is called too.
func (g *gate) enterUpload() bool {
	if g.uploads.Add(1) > int64(max(cap(g.places)/uploadShare, 1)) && g.places != nil {
		g.uploads.Add(-1)
		g.shed.Add(1)
		return false
	}
	return true
}

func (g *gate) leaveUpload() { g.uploads.Add(-1) }

// most is how many connections may be net/http's, and how many requests may stand
// aside; 0 sets no bound.
func (g *gate) most() int64 { return int64(cap(g.places)) * givenPerPlace }

// enterGiven reports whether another connection may be net/http's for good. Then
// leaveGiven is called when it ends. If there are as many as may be, the one ends
// whose client has been silent longest: a form comes in one packet or two, and
// who sends slowly on purpose makes way for it.
func (g *gate) enterGiven() bool {
	if n := g.given.Add(1); g.places == nil || n <= g.most() {
		return true
	}
	if silent := g.longest(); silent != nil {
		silent.conn.end()
		g.shed.Add(1)
		return true // that leaves in a moment
	}
	g.given.Add(-1)
	g.shed.Add(1)
	return false
}

// waits notes that a connection's client is to send something, or is not any more.
func (g *gate) waits(one *given, is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one.silent != nil {
		g.silent.Remove(one.silent)
		one.silent = nil
	}
	if is {
		one.silent = g.silent.PushBack(one)
	}
}

// longest takes the connection whose client has been silent longest out of those
// that wait; nil if none does.
func (g *gate) longest() *given {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.silent.Front()
	if first == nil {
		return nil
	}
	one := first.Value.(*given)
	g.silent.Remove(first)
	one.silent = nil
	return one
}

func (g *gate) leaveGiven() { g.given.Add(-1) }

// crowded reports whether more than half of the connections that may be net/http's
// are: then each is closed with its reply, and makes room.
func (g *gate) crowded() bool { return g.places != nil && g.given.Load()*2 > g.most() }
