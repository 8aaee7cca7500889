package gpio

import (
	"math"
	"time"
)

// How a LoadMeter moves. The figures are for a bar that is sampled once per second and
// read by eye: a lamp of five stands for a fifth of the load.
const (
	meterSmooth = 3 * time.Second // time constant: two thirds of a jump are shown after it
	meterBand   = 0.06            // the bar follows when the smoothed load differs by more
	peakHold    = 5 * time.Second // the dot stays where it was
	peakFall    = 0.1             // of the bar's length per second, afterwards
)

// LoadMeter turns samples of the load into the values that the bar shows: smoothed
// (exponentially), with hysteresis, and with a peak that is held long enough to be
// seen. The zero value is ready. Only one goroutine may use it.
type LoadMeter struct {
	begun  bool
	at     time.Duration // of the last sample
	smooth float64
	load   float64 // shown: moves when smooth has left the band around it
	peak   float64
	peakAt time.Duration // when the peak was last reached
}

// Add adds a sample of the load at a time of any clock that does not go back, and
// returns the load and the peak for an Input. NaN counts as 0.
func (m *LoadMeter) Add(load float64, at time.Duration) (shown, peak float64) {
	load = clampShare(load)
	if !m.begun {
		*m = LoadMeter{begun: true, at: at, smooth: load, load: load, peak: load, peakAt: at}
		return m.load, m.peak
	}
	passed := max(at-m.at, 0)
	m.at = max(at, m.at)
	m.smooth += (load - m.smooth) * -math.Expm1(-passed.Seconds()/meterSmooth.Seconds())
	// No load and full load are shown exactly; the band would hide them.
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
