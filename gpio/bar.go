package gpio

import (
	"math"
	"time"
)

// The bar shows the load, and over it the rack's story. What belongs to a story
// is a movement along the bar or a rhythm of its own; none of it is a colour.
// Lengths are in beats.
const (
	barShare = 32 // how long the load stands between two signs
	barSteps = 8  // a movement takes at most so many steps, however many lamps there are
	markGap  = 16 // from one leader mark to the next
)

// A moment's pattern repeats after momentPeriod, but is told only near its
// moment, so that nobody sees it twice. It is in the pattern before its time
// comes: whoever plays it needs no message to begin in step with the others.
const (
	momentPeriod = 256 // beats: 32 s
	openBefore   = 20 * time.Second
	openAfter    = 4 * time.Second
	purgeBefore  = 4 * time.Second
	purgeAfter   = 2 * time.Second
	countSeconds = 10
	openLight    = 16 // beats of full light when a sale has opened
)

// showsLoad: a board shows a load only while it may have clients.
func showsLoad(h Health) bool { return h == Serving || h == Draining }

// barLamps is what each lamp of the load bar does. An address and locate take
// the whole bar; then comes the opening, then a purge, then the load with the
// signs that stay.
func barLamps(in Input, lamps int) []Pattern {
	switch {
	case in.Health == Stopped || in.Health > Drained:
		return allAlike(dark(), lamps)
	case in.Address:
		return allAlike(addressPattern(in.Octet, in.Asked), lamps)
	case in.Locate:
		return allAlike(fastBlink(), lamps)
	case !showsLoad(in.Health) || lamps == 0:
		return allAlike(dark(), lamps)
	}
	s := newStrip(loadLevels(in.Load, in.Peak, lamps))
	switch {
	case in.Opens != 0:
		s.countdown()
		return s.patterns("countdown", in.Opens-openBefore)
	case in.Purged != 0:
		s.wave()
		return s.patterns("purge wave", in.Purged-purgeBefore)
	case !in.Leader && !in.SoldOut && in.Points == 0:
		return s.plain()
	}
	s.load(barShare, in.Leader)
	if in.Points != 0 {
		s.point(in.Points)
	}
	if in.SoldOut {
		s.curtain()
	}
	return s.patterns(storyName(in), 0)
}

func allAlike(p Pattern, lamps int) []Pattern {
	bar := make([]Pattern, lamps)
	for i := range bar {
		bar[i] = p
	}
	return bar
}

// loadLevels is the bar at rest: lit from below up to the load, the lamp at the
// edge by its part, and a dot for the peak where it stands clear of the bar.
func loadLevels(load, peak float64, lamps int) []Level {
	levels := make([]Level, lamps)
	for i := range levels {
		levels[i] = Level(math.Round(min(max(load*float64(lamps)-float64(i), 0), 1) * float64(Full)))
	}
	if dot := int(math.Round(peak*float64(lamps))) - 1; dot >= 0 && levels[dot] == Off {
		levels[dot] = Full
	}
	return levels
}

func storyName(in Input) string {
	name := "load"
	if in.Leader {
		name += " with leader mark"
	}
	if in.Points != 0 {
		name += ", then points at " + in.Points.String()
	}
	if in.SoldOut {
		name += ", then curtain"
	}
	return name
}

func storySays(in Input) string {
	s := ""
	if in.Leader {
		s += "; leads the ledger"
	}
	if in.Points != 0 {
		s += "; dead on the ring: " + in.Points.String()
	}
	if in.SoldOut {
		s += "; sold out"
	}
	if in.Opens != 0 {
		s += "; the sale opens"
	}
	if in.Purged != 0 {
		s += "; a purge passes"
	}
	return s
}

// strip draws what the lamps of a bar do, frame after frame.
type strip struct {
	rest  []Level // the bar as the load leaves it
	steps [][]Step
}

func newStrip(rest []Level) *strip { return &strip{rest: rest, steps: make([][]Step, len(rest))} }

// frame holds what level says of each lamp for a number of beats.
func (s *strip) frame(beats int, level func(lamp int) Level) {
	for i := range s.steps {
		s.steps[i] = append(s.steps[i], Step{level(i), uint16(beats * beat)})
	}
}

func (s *strip) at(lamp int) Level { return s.rest[lamp] }

// lit is Full where on holds and Off elsewhere.
func lit(on func(lamp int) bool) func(int) Level {
	return func(i int) Level {
		if on(i) {
			return Full
		}
		return Off
	}
}

// inverted is what stands out from a level.
func inverted(l Level) Level {
	if l.Lit() {
		return Off
	}
	return Full
}

// load shows the bar at rest. The leader's mark is a double blip of the last
// lamp, light on dark or dark on light, every two seconds.
func (s *strip) load(beats int, leader bool) {
	if !leader {
		s.frame(beats, s.at)
		return
	}
	blip := func(i int) Level {
		if i == len(s.rest)-1 {
			return inverted(s.rest[i])
		}
		return s.rest[i]
	}
	for range beats / markGap {
		s.frame(markGap-4, s.at)
		s.frame(1, blip)
		s.frame(1, s.at)
		s.frame(1, blip)
		s.frame(1, s.at)
	}
}

// step is the part of a movement in which a lamp has its turn.
func (s *strip) step(lamp int) int { return lamp * s.stepCount() / len(s.rest) }

func (s *strip) stepCount() int { return min(len(s.rest), barSteps) }

// point lets a single light run twice towards the dead neighbour: up for the one
// after, down for the one before, from the middle both ways for both.
func (s *strip) point(to Side) {
	n := s.stepCount()
	for range 2 {
		s.frame(2, func(int) Level { return Off })
		for k := range n {
			switch to & (Before | After) {
			case After:
				s.frame(1, lit(func(i int) bool { return s.step(i) == k }))
			case Before:
				s.frame(1, lit(func(i int) bool { return s.step(i) == n-1-k }))
			default:
				if k < (n+1)/2 {
					s.frame(2, lit(func(i int) bool { return s.step(i) == (n-1)/2-k || s.step(i) == n/2+k }))
				}
			}
		}
	}
	s.frame(2, func(int) Level { return Off })
}

// curtain closes the bar from both ends to the middle, and leaves it dark: the
// shop is shut, there is nothing left.
func (s *strip) curtain() {
	n := s.stepCount()
	s.frame(4, func(int) Level { return Off })
	for k := range (n + 1) / 2 {
		s.frame(2, lit(func(i int) bool { return s.step(i) <= k || s.step(i) >= n-1-k }))
	}
	s.frame(4, func(int) Level { return Full })
	s.frame(6, func(int) Level { return Off })
}

// countdown runs the bar down in ten seconds, each of which ends in a wink of
// all lamps, and lights the whole bar when the sale has opened.
func (s *strip) countdown() {
	const before = int(openBefore/time.Millisecond)/beat - countSeconds*8
	s.frame(before, s.at)
	for left := countSeconds; left > 0; left-- {
		s.frame(7, lit(func(i int) bool { return i*countSeconds < left*len(s.rest) }))
		s.frame(1, func(int) Level { return Off })
	}
	s.frame(openLight, func(int) Level { return Full })
	s.frame(momentPeriod-before-countSeconds*8-openLight, s.at)
}

// wave runs a spot that stands out from the bar up and down again, once.
func (s *strip) wave() {
	const before = int(purgeBefore/time.Millisecond) / beat
	n := s.stepCount()
	s.frame(before, s.at)
	for k := range 2*n - 1 {
		place := min(k, 2*n-2-k)
		s.frame(1, func(i int) Level {
			if s.step(i) == place {
				return inverted(s.rest[i])
			}
			return s.rest[i]
		})
	}
	s.frame(momentPeriod-before-(2*n-1), s.at)
}

// plain is the bar at rest, each lamp with its own name.
func (s *strip) plain() []Pattern {
	bar := make([]Pattern, len(s.rest))
	for i, l := range s.rest {
		switch l {
		case Off:
			bar[i] = dark()
		case Full:
			bar[i] = steady("steady", l)
		default:
			bar[i] = steady("dim", l)
		}
	}
	return bar
}

// patterns makes patterns of the frames, of which the first is due at start,
// counted as Pattern.At counts.
func (s *strip) patterns(name string, start time.Duration) []Pattern {
	bar := make([]Pattern, len(s.steps))
	for i, steps := range s.steps {
		bar[i] = Pattern{name, merged(turned(steps, start))}
	}
	return bar
}

// turned lets steps that are to begin at start begin at zero, by cutting off
// what comes before and adding it at the end.
func turned(steps []Step, start time.Duration) []Step {
	period := Pattern{Steps: steps}.Period()
	cut := uint64((period - (start%period+period)%period) % period / time.Millisecond)
	var head, tail []Step
	for _, st := range steps {
		switch d := uint64(st.MS); {
		case cut >= d:
			tail = append(tail, st)
			cut -= d
		case cut > 0:
			tail = append(tail, Step{st.Level, uint16(cut)})
			head = append(head, Step{st.Level, uint16(d - cut)})
			cut = 0
		default:
			head = append(head, st)
		}
	}
	return append(head, tail...)
}
