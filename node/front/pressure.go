package front

import (
	"math"
	"net/http"
	"runtime/metrics"
	"time"
)

// requestKind is what a request costs a board, and what it is worth. Pages in memory are
// of no kind: they are never shed, for to refuse one costs as much as to answer it.
type requestKind uint8

const (
	// kindBrowse is whatever net/http answers for somebody who only looks: pages
	// that are not in memory, searches. They cost most, and can be asked again.
	kindBrowse requestKind = iota
	// kindSubmit has something that a person has typed, an order perhaps. It costs
	// as much, and is shed last.
	kindSubmit
)

const (
	// lowDelay and fullDelay are the delays in scheduling at which pressure
	// begins and is full: a gossip probe waits for half a second and a leader's
	// heartbeat for 0.8 s, so that at half of that something must give.
	lowDelay  = 100 * time.Millisecond
	fullDelay = time.Second
	// delayShare of all goroutines waited less than the delay that counts. Where
	// there is too much to do, half of them wait; where another program takes the
	// processor for a moment, some do.
	delayShare = 0.5
	// minDelaySamples is how many must have run for their delay to mean anything.
	minDelaySamples = 100
	// pressureInterval is how often pressure is measured: within a second of the crowd's
	// leaving it has been halved often enough to be forgotten.
	pressureInterval = 200 * time.Millisecond
	// acceptsPerHold arrivals are taken in between two pauses under pressure, and
	// holdMost is the longest pause: at high pressure 320 come in a second. To
	// wait in the kernel costs nothing, and who has come in is served sooner.
	acceptsPerHold = 16
	maxAcceptHold  = 50 * time.Millisecond
)

// kindOfMethod is the kind of a request with a method.
func kindOfMethod(method string) requestKind {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return kindBrowse
	}
	return kindSubmit
}

// ramp is 0 up to from, 1 from to on, and between them on the line.
func ramp(x, from, to float64) float64 { return min(max((x-from)/(to-from), 0), 1) }

// shedShare is which part of the requests of a kind are refused at a pressure.
func (k requestKind) shedShare(pressure float64) float64 {
	if k == kindSubmit {
		return ramp(pressure, 0.5, 1)
	}
	return ramp(pressure, 0.25, 0.75)
}

// isInShare reports whether the nth of many is among a share of them, which are
// spread evenly: the steps of the golden ratio never bunch.
func isInShare(n uint32, share float64) bool {
	const golden = 2654435769 // 2^32 / 1.618
	return float64(n*golden) < share*(1<<32)
}

// acceptHold is how long new connections wait in the kernel after holdEvery of them.
func acceptHold(pressure float64) time.Duration {
	return time.Duration(ramp(pressure, 0.25, 0.75) * float64(maxAcceptHold))
}

// delayPressure is the pressure that a delay in scheduling amounts to.
func delayPressure(delay time.Duration) float64 {
	return ramp(float64(delay), float64(lowDelay), float64(fullDelay))
}

// smoothPressure is the pressure after another measurement: it rises at once, and falls by
// half at a time, so that what is shed does not flutter.
func smoothPressure(before, measured float64) float64 {
	if math.IsNaN(measured) {
		measured = 0
	}
	now := min(max(measured, before/2, 0), 1)
	if now < 0.01 {
		return 0
	}
	return now
}

// delayQuantile gives the delay under which a share of all goroutines stayed, from two
// readings of the runtime's histogram, whose buckets begin at the given seconds.
// It is 0 if too few ran.
func delayQuantile(buckets []float64, before, after []uint64, share float64) time.Duration {
	total := uint64(0)
	for i, n := range after {
		total += n - before[i]
	}
	if total < minDelaySamples {
		return 0
	}
	below := uint64(0)
	for i, n := range after {
		below += n - before[i]
		if float64(below) >= share*float64(total) {
			// The first bucket begins at minus infinity, and nothing waits that long.
			return time.Duration(max(buckets[i], 0) * float64(time.Second))
		}
	}
	return 0
}

// delayMeter reads how long goroutines that could run had to wait. One goroutine uses it.
type delayMeter struct {
	sample     [1]metrics.Sample
	lastCounts []uint64
}

// measure is the delay since the last call.
func (d *delayMeter) measure() time.Duration {
	d.sample[0].Name = "/sched/latencies:seconds"
	metrics.Read(d.sample[:])
	if d.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0 // a runtime that does not tell
	}
	now := d.sample[0].Value.Float64Histogram()
	delay := time.Duration(0)
	if len(d.lastCounts) == len(now.Counts) {
		delay = delayQuantile(now.Buckets, d.lastCounts, now.Counts, delayShare)
	}
	d.lastCounts = append(d.lastCounts[:0], now.Counts...)
	return delay
}
