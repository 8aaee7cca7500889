package front

import (
	"math"
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
	given   atomic.Int64 // connections

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

// passage is how a request came through the gate.
type passage uint8

const (
	passageNone   passage = iota // it did not: it is to be refused
	passageAtOnce                // it holds a place
	passageLater                 // it holds a place, and had to wait for it
)

// enter lets a request through as soon as there is a place. Who is let through
// calls leave. It gives up when gone is closed.
func (g *gate) enter(gone <-chan struct{}) passage {
	if g.places == nil {
		return passageAtOnce
	}
	select {
	case g.places <- struct{}{}:
		return passageAtOnce
	default:
	}
	if g.waiting.Add(1) > int64(cap(g.places))*waitersPerPlace {
		g.waiting.Add(-1)
		g.shed.Add(1)
		return passageNone
	}
	defer g.waiting.Add(-1)
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}:
		return passageLater
	case <-timer.C:
	case <-gone:
	}
	g.shed.Add(1)
	return passageNone
}

// leave gives a place back.
func (g *gate) leave() {
	if g.places != nil {
		<-g.places
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

// most is how many connections may be net/http's; 0 sets no bound.
func (g *gate) most() int64 { return int64(cap(g.places)) * givenPerPlace }

// enterGiven reports whether another connection may be net/http's for good. Then
// leaveGiven is called when it ends.
func (g *gate) enterGiven() bool {
	if n := g.given.Add(1); g.places != nil && n > g.most() {
		g.given.Add(-1)
		g.shed.Add(1)
		return false
	}
	return true
}

func (g *gate) leaveGiven() { g.given.Add(-1) }

// crowded reports whether more than half of the connections that may be net/http's
// are: then each is closed with its reply, and makes room.
func (g *gate) crowded() bool { return g.places != nil && g.given.Load()*2 > g.most() }
