package admission

import (
	"math"
	"net/http"
	"runtime/metrics"
	"time"
)

// RequestKind classifies requests by cost and worth. Pages in memory have no kind: they
// are never shed, because refusing one costs as much as answering it.
type RequestKind uint8

const (
	// KindBrowse is any request that net/http answers for a client that only reads: pages
	// that are not in memory, searches. They cost most, and can be repeated.
	KindBrowse RequestKind = iota
	// KindSubmit is a request that sends something that a person has typed, for instance an
	// order. It costs as much, and is shed last.
	KindSubmit
)

const (
	// lowDelay and fullDelay are the scheduling delays at which pressure begins and is full:
	// a gossip probe waits for half a second and a leader's heartbeat for 0.8 s, so that at
	// half of that load must be shed.
	lowDelay  = 100 * time.Millisecond
	fullDelay = time.Second
	// delayShare is the quantile of all goroutines' delays that counts. Under overload at
	// least half of them wait; while another program has the processor for a moment, only
	// some do.
	delayShare = 0.5
	// minDelaySamples is the number of goroutines that must have run for the quantile to
	// mean anything.
	minDelaySamples = 100
	// PressureInterval is the interval between two measurements: within a second after a
	// crowd has left, pressure has been halved often enough to be gone.
	PressureInterval = 200 * time.Millisecond
	// AcceptsPerHold is the number of connections accepted before each pause under pressure,
	// and maxAcceptHold is the longest pause: at high pressure 320 are accepted per second.
	// Waiting in the kernel costs nothing, and accepted clients are served sooner.
	AcceptsPerHold = 16
	maxAcceptHold  = 50 * time.Millisecond
)

// KindOfMethod returns the kind of requests with a method.
func KindOfMethod(method string) RequestKind {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return KindBrowse
	}
	return KindSubmit
}

// ramp is 0 up to from, 1 from to on, and linear between them.
func ramp(x, from, to float64) float64 { return min(max((x-from)/(to-from), 0), 1) }

// shedShare returns the share of the requests of this kind that must be refused at a
// pressure.
func (k RequestKind) shedShare(pressure float64) float64 {
	if k == KindSubmit {
		return ramp(pressure, 0.5, 1)
	}
	return ramp(pressure, 0.25, 0.75)
}

// isInShare reports whether the nth of many is in a share of them that is spread
// evenly: the steps of the golden ratio never bunch.
func isInShare(n uint32, share float64) bool {
	const golden = 2654435769 // 2^32 / 1.618
	return float64(n*golden) < share*(1<<32)
}

// AcceptHold returns the pause that should follow AcceptsPerHold accepted connections.
func AcceptHold(pressure float64) time.Duration {
	return time.Duration(ramp(pressure, 0.25, 0.75) * float64(maxAcceptHold))
}

func pressureFromDelay(delay time.Duration) float64 {
	return ramp(float64(delay), float64(lowDelay), float64(fullDelay))
}

// smoothPressure returns the pressure after another measurement: it rises at once, and
// falls by half at a time, so that load shedding does not flutter.
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

// delayQuantile returns the delay that a share of all goroutines did not exceed between
// two readings of the runtime's histogram, whose buckets begin at the given seconds. It
// is 0 if too few ran.
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
			// The first bucket begins at minus infinity, and no delay is negative.
			return time.Duration(max(buckets[i], 0) * float64(time.Second))
		}
	}
	return 0
}

// DelayMeter measures how long runnable goroutines had to wait. One goroutine uses it.
type DelayMeter struct {
	sample     [1]metrics.Sample
	lastCounts []uint64
}

// Pressure returns the pressure that the scheduling delay since the last call means.
func (d *DelayMeter) Pressure() float64 { return pressureFromDelay(d.measure()) }

func (d *DelayMeter) measure() time.Duration {
	d.sample[0].Name = "/sched/latencies:seconds"
	metrics.Read(d.sample[:])
	if d.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0 // this runtime does not report it
	}
	now := d.sample[0].Value.Float64Histogram()
	delay := time.Duration(0)
	if len(d.lastCounts) == len(now.Counts) {
		delay = delayQuantile(now.Buckets, d.lastCounts, now.Counts, delayShare)
	}
	d.lastCounts = append(d.lastCounts[:0], now.Counts...)
	return delay
}
