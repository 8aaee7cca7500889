package gpio

import (
	"math"
	"time"
)

// The bar shows the load, and between two views of the load the rack's signs: each sign
// is a movement along the bar or a rhythm, never a colour. Lengths are in beats.
const (
	loadBeats   = 32 // the load between two signs
	maxBarSteps = 8  // steps of a movement at most, however many lamps there are
	markGap     = 16 // from one leader mark to the next
)

// The pattern of a moment repeats after momentPeriod, but is shown only near its moment,
// so that it is never seen twice. It is in the Show in advance: so all boards begin at
// the same time without a message.
const (
	momentPeriod = 256 // beats: 32 s
	openBefore   = 20 * time.Second
	openAfter    = 4 * time.Second
	purgeBefore  = 4 * time.Second
	purgeAfter   = 2 * time.Second
	countSeconds = 10
	openingBeats = 16 // of full light when a sale has opened
)

// showsLoad reports whether the bar shows the load: only while the board may have
// clients.
func showsLoad(h Health) bool { return h == Serving || h == Draining }

// barLamps returns the pattern of each lamp of the load bar. An address and locate use
// the entire bar; next in priority are an opening, a purge, and the load with the
// lasting signs.
func barLamps(in Input, lamps int) []Pattern {
	switch {
	case in.Health == Stopped || in.Health > Drained:
		return repeatPattern(darkPattern(), lamps)
	case in.Address:
		return repeatPattern(addressPattern(in.Octet, in.AddressSince), lamps)
	case in.Locate:
		return repeatPattern(fastBlinkPattern(), lamps)
	case !showsLoad(in.Health) || lamps == 0:
		return repeatPattern(darkPattern(), lamps)
	}
	animation := &barAnimation{rest: loadLevels(in.Load, in.Peak, lamps), steps: make([][]Step, lamps)}
	switch {
	case in.OpensAt != 0:
		animation.drawCountdown()
		return animation.toPatterns("countdown", in.OpensAt-openBefore)
	case in.PurgedAt != 0:
		animation.drawWave()
		return animation.toPatterns("purge wave", in.PurgedAt-purgeBefore)
	case !in.Leader && !in.SoldOut && in.DeadSide == 0:
		return animation.restPatterns()
	}
	animation.drawLoad(loadBeats, in.Leader)
	if in.DeadSide != 0 {
		animation.drawPointer(in.DeadSide)
	}
	if in.SoldOut {
		animation.drawCurtain()
	}
	return animation.toPatterns(storyName(in), 0)
}

func repeatPattern(p Pattern, lamps int) []Pattern {
	bar := make([]Pattern, lamps)
	for i := range bar {
		bar[i] = p
	}
	return bar
}

// loadLevels returns the bar without signs: lit from below up to the load, the lamp at
// the edge in proportion, and a dot for the peak if the bar does not cover it.
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
	if in.DeadSide != 0 {
		name += ", then points at " + in.DeadSide.String()
	}
	if in.SoldOut {
		name += ", then curtain"
	}
	return name
}

func storySummary(in Input) string {
	s := ""
	if in.Leader {
		s += "; leader of the ledger"
	}
	if in.DeadSide != 0 {
		s += "; dead on the ring: " + in.DeadSide.String()
	}
	if in.SoldOut {
		s += "; sold out"
	}
	if in.OpensAt != 0 {
		s += "; the sale opens"
	}
	if in.PurgedAt != 0 {
		s += "; a purge passes"
	}
	return s
}

// barAnimation builds the patterns of a bar's lamps, frame by frame.
type barAnimation struct {
	rest  []Level // the bar without signs
	steps [][]Step
}

// addFrame sets each lamp to its level for a number of beats.
func (a *barAnimation) addFrame(beats int, level func(lamp int) Level) {
	for i := range a.steps {
		a.steps[i] = append(a.steps[i], Step{level(i), uint16(beats * beat)})
	}
}

func (a *barAnimation) restLevel(lamp int) Level { return a.rest[lamp] }

// fullWhere returns a function that is Full for the lamps for which on returns true, and
// Off for the others.
func fullWhere(on func(lamp int) bool) func(int) Level {
	return func(i int) Level {
		if on(i) {
			return Full
		}
		return Off
	}
}

// invertLevel returns a level that stands out from l.
func invertLevel(l Level) Level {
	if l.Lit() {
		return Off
	}
	return Full
}

// drawLoad draws the load. The leader's mark is a double blip of the last lamp, light
// on dark or dark on light, every two seconds.
func (a *barAnimation) drawLoad(beats int, leader bool) {
	if !leader {
		a.addFrame(beats, a.restLevel)
		return
	}
	blip := func(i int) Level {
		if i == len(a.rest)-1 {
			return invertLevel(a.rest[i])
		}
		return a.rest[i]
	}
	for range beats / markGap {
		a.addFrame(markGap-4, a.restLevel)
		a.addFrame(1, blip)
		a.addFrame(1, a.restLevel)
		a.addFrame(1, blip)
		a.addFrame(1, a.restLevel)
	}
}

// stepOf returns the step of a movement in which a lamp is lit.
func (a *barAnimation) stepOf(lamp int) int { return lamp * a.stepCount() / len(a.rest) }

func (a *barAnimation) stepCount() int { return min(len(a.rest), maxBarSteps) }

// drawPointer draws a light that runs twice towards the dead neighbour: up for the one
// after, down for the one before, from the middle in both directions for both.
func (a *barAnimation) drawPointer(to Side) {
	n := a.stepCount()
	for range 2 {
		a.addFrame(2, func(int) Level { return Off })
		for k := range n {
			switch to & (Before | After) {
			case After:
				a.addFrame(1, fullWhere(func(i int) bool { return a.stepOf(i) == k }))
			case Before:
				a.addFrame(1, fullWhere(func(i int) bool { return a.stepOf(i) == n-1-k }))
			default:
				if k < (n+1)/2 {
					a.addFrame(2, fullWhere(func(i int) bool { return a.stepOf(i) == (n-1)/2-k || a.stepOf(i) == n/2+k }))
				}
			}
		}
	}
	a.addFrame(2, func(int) Level { return Off })
}

// drawCurtain closes the bar from both ends to the middle, and leaves it dark: sold
// out.
func (a *barAnimation) drawCurtain() {
	n := a.stepCount()
	a.addFrame(4, func(int) Level { return Off })
	for k := range (n + 1) / 2 {
		a.addFrame(2, fullWhere(func(i int) bool { return a.stepOf(i) <= k || a.stepOf(i) >= n-1-k }))
	}
	a.addFrame(4, func(int) Level { return Full })
	a.addFrame(6, func(int) Level { return Off })
}

// drawCountdown runs the bar down in ten seconds, each of which ends in a short gap of
// all lamps, and lights the entire bar when the sale has opened.
func (a *barAnimation) drawCountdown() {
	const before = int(openBefore/time.Millisecond)/beat - countSeconds*8
	a.addFrame(before, a.restLevel)
	for left := countSeconds; left > 0; left-- {
		a.addFrame(7, fullWhere(func(i int) bool { return i*countSeconds < left*len(a.rest) }))
		a.addFrame(1, func(int) Level { return Off })
	}
	a.addFrame(openingBeats, func(int) Level { return Full })
	a.addFrame(momentPeriod-before-countSeconds*8-openingBeats, a.restLevel)
}

// drawWave runs a spot that stands out up the bar and down again, once.
func (a *barAnimation) drawWave() {
	const before = int(purgeBefore/time.Millisecond) / beat
	n := a.stepCount()
	a.addFrame(before, a.restLevel)
	for k := range 2*n - 1 {
		at := min(k, 2*n-2-k)
		a.addFrame(1, func(i int) Level {
			if a.stepOf(i) == at {
				return invertLevel(a.rest[i])
			}
			return a.rest[i]
		})
	}
	a.addFrame(momentPeriod-before-(2*n-1), a.restLevel)
}

// restPatterns returns the bar without signs, each pattern with its own name.
func (a *barAnimation) restPatterns() []Pattern {
	bar := make([]Pattern, len(a.rest))
	for i, l := range a.rest {
		switch l {
		case Off:
			bar[i] = darkPattern()
		case Full:
			bar[i] = steadyPattern("steady", l)
		default:
			bar[i] = steadyPattern("dim", l)
		}
	}
	return bar
}

// toPatterns returns the frames as patterns. The first frame is due at start, as
// Pattern.At counts.
func (a *barAnimation) toPatterns(name string, start time.Duration) []Pattern {
	bar := make([]Pattern, len(a.steps))
	for i, steps := range a.steps {
		bar[i] = Pattern{name, mergeSteps(rotateSteps(steps, start))}
	}
	return bar
}

// rotateSteps turns steps that begin at start into steps that begin at zero: the steps
// before zero move to the end.
func rotateSteps(steps []Step, start time.Duration) []Step {
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
