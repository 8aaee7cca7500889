package gpio

import (
	"math"
	"strconv"
)

// DefaultLamps is how many lamps the load bar has unless the settings say
// otherwise; MaxLamps is the most that Tell makes a pattern for.
const (
	DefaultLamps = 5
	MaxLamps     = 64
)

// All times are whole beats of an eighth of a second: half a period of the fast
// blink, and about the shortest flash that is seen from across a room. One beat
// a character also makes a timeline that can be read.
const beat = 125

// The rhythm of a fault's code, in milliseconds. The dark before and after the
// flashes is longer than between two of them, so that they can be counted.
const (
	codePause = 6 * beat // dark before the first flash
	codeFlash = 2 * beat // lit
	codeGap   = 3 * beat // dark after each flash
	codeTail  = 3 * beat // dark after the last, on top of its gap
)

// Tell says what the lamps of a board do, lamps being the number of the load
// bar's. It is pure: the same input gives the same Show.
//
// Locate outweighs all else but Stopped, because somebody stands in front of the
// rack and looks for the board; then come health and faults together. Several
// faults are told one after the other, health in between.
func Tell(in Input, lamps int) Show {
	lamps = min(max(lamps, 0), MaxLamps)
	show := Show{Says: says(in), Bar: make([]Pattern, lamps)}
	switch {
	case in.Health == Stopped || in.Health > Drained:
		show.Health = dark()
	case in.Locate:
		show.Health = fastBlink()
	default:
		show.Health = withFaults(healthPattern(in.Health), in.Faults.List())
	}
	for i := range show.Bar {
		show.Bar[i] = barPattern(in, i, lamps)
	}
	return show
}

// says puts the input in one plain sentence.
func says(in Input) string {
	switch {
	case in.Health == Stopped:
		return "dark: nothing runs here"
	case in.Health > Drained:
		return "dark: in a state that this version does not know"
	}
	s := in.Health.String()
	if in.Health == Drained {
		s = "drained: safe to unplug"
	}
	if in.Faults.Len() > 0 {
		s += "; " + in.Faults.String()
	}
	if in.Locate {
		s = "locate: this one here; " + s
	}
	return s
}

// healthPattern is the rhythm of a state of health without faults. The three
// states in transition share the 1 Hz and differ in how much of it is light: the
// light comes with starting, is even with joining and goes with draining.
func healthPattern(h Health) Pattern {
	switch h {
	case Starting:
		return Pattern{"slow short blink", []Step{{Full, 2 * beat}, {Off, 6 * beat}}}
	case Joining:
		return Pattern{"slow blink", []Step{{Full, 4 * beat}, {Off, 4 * beat}}}
	case Serving:
		return Pattern{"steady", []Step{{Full, 8 * beat}}}
	case Draining:
		return Pattern{"slow wink", []Step{{Full, 7 * beat}, {Off, beat}}}
	case Drained:
		return Pattern{"short flash every three seconds", []Step{{Full, beat}, {Off, 23 * beat}}}
	}
	return dark()
}

func dark() Pattern { return Pattern{"dark", []Step{{Off, 8 * beat}}} }

func fastBlink() Pattern { return Pattern{"fast blink", []Step{{Full, beat}, {Off, beat}}} }

// withFaults lets each fault's flashes follow at least two seconds of the
// state's own rhythm, which is enough to know it by.
func withFaults(p Pattern, faults []Fault) Pattern {
	if len(faults) == 0 {
		return p
	}
	lead := p.Steps
	for total := p.Period(); total.Milliseconds() < 16*beat; total += p.Period() {
		lead = append(lead[:len(lead):len(lead)], p.Steps...)
	}
	out := Pattern{Name: p.Name}
	for _, f := range faults {
		out.Name += ", then " + strconv.Itoa(int(f)) + " flashes"
		out.Steps = append(out.Steps, lead...)
		out.Steps = append(out.Steps, Step{Off, codePause})
		for range f {
			out.Steps = append(out.Steps, Step{Full, codeFlash}, Step{Off, codeGap})
		}
		out.Steps = append(out.Steps, Step{Off, codeTail})
	}
	out.Steps = merged(out.Steps)
	return out
}

// merged joins neighbouring steps of the same level, so that a Show is as small
// as can be on its way to the console. No sum here comes near the 65 s that a
// Step can hold.
func merged(steps []Step) []Step {
	out := steps[:1]
	for _, s := range steps[1:] {
		if last := &out[len(out)-1]; last.Level == s.Level {
			last.MS += s.MS
		} else {
			out = append(out, s)
		}
	}
	return out
}

// barPattern is what lamp i of the load bar does. A board shows a load only
// while it may have clients.
func barPattern(in Input, i, lamps int) Pattern {
	switch {
	case in.Health == Stopped || in.Health > Drained:
		return dark()
	case in.Locate:
		return fastBlink()
	case in.Health != Serving && in.Health != Draining:
		return dark()
	}
	load := in.Load
	if !(load > 0) { // also when it is not a number
		load = 0
	}
	full := min(load, 1)*float64(lamps) - float64(i) // this lamp's part, 0 to 1
	level := Level(math.Round(min(max(full, 0), 1) * float64(Full)))
	name := "steady"
	switch level {
	case Off:
		return dark()
	case Full:
	default:
		name = "dim"
	}
	return Pattern{name, []Step{{level, 8 * beat}}}
}
