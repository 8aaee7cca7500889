package gpio

import (
	"math"
	"time"
)

// Level is the perceived brightness of a lamp, from Off to Full. A driver that cannot dim lights
// the lamp above half of Full (see Lit); one that can maps the perceived brightness to
// the duty cycle that its lamp needs.
type Level uint8

// The ends of the scale.
const (
	Off  Level = 0
	Full Level = 255
)

// Lit reports whether a lamp that cannot dim is lit at the level.
func (l Level) Lit() bool { return l > Full/2 }

// Step holds one level for a while.
type Step struct {
	Level Level  `json:"level"`
	MS    uint16 `json:"ms"` // the duration in milliseconds
}

// Pattern is the behaviour of one lamp: its steps, repeated. A pattern without steps, or
// whose steps take no time, is dark.
type Pattern struct {
	Name  string `json:"name"` // of the code, in words: "slow blink"
	Steps []Step `json:"steps"`
}

// Period is the time after which the pattern begins again.
func (p Pattern) Period() time.Duration {
	var ms int64
	for _, s := range p.Steps {
		ms += int64(s.MS)
	}
	return time.Duration(ms) * time.Millisecond
}

// At returns the lamp's level at time t, counted from any moment that the lamps of a
// panel share. Panels use the Unix epoch, so that equal patterns blink in step along
// the rack. t may be negative. At allocates nothing. The console's page has the same
// rule in lamp.js.
func (p Pattern) At(t time.Duration) Level {
	level, _ := p.levelAt(t)
	return level
}

// levelAt returns the level of At, and the least time for which it lasts.
func (p *Pattern) levelAt(t time.Duration) (Level, time.Duration) {
	period := p.Period()
	if period <= 0 {
		return Off, math.MaxInt64
	}
	t %= period
	if t < 0 {
		t += period
	}
	for i := range p.Steps {
		d := time.Duration(p.Steps[i].MS) * time.Millisecond
		if t < d {
			return p.Steps[i].Level, d - t
		}
		t -= d
	}
	return Off, math.MaxInt64 // not reached: t is within the steps
}
