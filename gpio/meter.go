package gpio

import (
	"math"
	"time"
)

// How a Meter moves. The figures are for a bar that is sampled once a second and
// read by eye: a lamp of five stands for a fifth of the load.
const (
	meterSmooth = 3 * time.Second // time constant: a jump is two thirds told after it
	meterBand   = 0.06            // what the smoothed load may stray before the bar follows
	peakHold    = 5 * time.Second // how long the dot stays where it was
	peakFall    = 0.1             // of the whole bar a second, afterwards
)

// LoadMeter turns samples of the load into what the bar shows: smooth at a crowd's
// noise, and with a peak that is held long enough to be seen. The zero value is
// ready. It belongs to one goroutine.
type LoadMeter struct {
	begun  bool
	at     time.Duration // of the last sample
	smooth float64
	load   float64 // shown: moves when smooth has left the band around it
	peak   float64
	peakAt time.Duration // when the peak was last reached
}

// Add takes a sample of the load at a time of any clock that does not go back,
// and returns the load and the peak for an Input. A sample that is no number
// counts as none.
func (m *LoadMeter) Add(load float64, at time.Duration) (shown, peak float64) {
	load = clampShare(load)
	if !m.begun {
		*m = LoadMeter{begun: true, at: at, smooth: load, load: load, peak: load, peakAt: at}
		return m.load, m.peak
	}
	passed := max(at-m.at, 0)
	m.at = max(at, m.at)
	m.smooth += (load - m.smooth) * -math.Expm1(-passed.Seconds()/meterSmooth.Seconds())
	// Nothing at all and everything are told as such, or the band would hide them.
	if math.Abs(m.smooth-m.load) > meterBand || m.smooth < meterBand/4 || m.smooth > 1-meterBand/4 {
		m.load = m.smooth
	}
	if m.at-m.peakAt > peakHold {
		m.peak -= peakFall * passed.Seconds()
	}
	if m.load >= m.peak {
		m.peak, m.peakAt = m.load, m.at
	}
	return m.load, m.peak
}
