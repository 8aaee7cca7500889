package gpio

import (
	"strconv"
	"time"
)

// DefaultLamps is the default number of lamps of the load bar; MaxLamps is the most for
// which Render makes patterns.
const (
	DefaultLamps = 5
	MaxLamps     = 64
)

// All times are whole beats of an eighth of a second: half a period of the fast
// blink, and about the shortest flash that is seen from across a room. One beat
// per character also makes a readable timeline.
const beat = 125

// The rhythm of a fault's code, in milliseconds. The dark before and after the
// flashes is longer than between two of them, so that they can be counted.
const (
	codePause = 6 * beat // dark before the first flash
	codeFlash = 2 * beat // lit
	codeGap   = 3 * beat // dark after each flash
	codeTail  = 3 * beat // dark after the last, on top of its gap
)

// Render returns the patterns of a board's lamps; lamps is the number of lamps of its load
// bar. It is pure: the same input gives the same Show.
//
// An address has priority over everything but Stopped, because a person at the board has
// just requested it. Next is Locate, because a person in front of the rack is looking for
// the board. Then come health and faults together; several faults are flashed one after
// another, with health in between.
func Render(in Input, lamps int) Show {
	in = in.normalized()
	return Show{Health: healthLampPattern(in), Bar: barLamps(in, min(max(lamps, 0), MaxLamps)), Summary: summarize(in)}
}

func healthLampPattern(in Input) Pattern {
	switch {
	case in.Health == Stopped || in.Health > Drained:
		return darkPattern()
	case in.Address:
		return addressPattern(in.Octet, in.AddressSince)
	case in.Locate:
		return fastBlinkPattern()
	}
	return withFaults(healthPattern(in.Health), in.Faults, in.Acknowledged)
}

// summarize describes the input in one sentence.
func summarize(in Input) string {
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
	for i, f := range in.Faults.List() {
		if i == 0 {
			s += "; "
		} else {
			s += ", "
		}
		s += f.String()
		if in.Acknowledged.Has(f) {
			s += " (acknowledged)"
		}
	}
	if showsLoad(in.Health) {
		s += storySummary(in)
	}
	if in.Locate {
		s = "locate: this one here; " + s
	}
	if in.Address {
		s = "address ends in " + strconv.Itoa(int(in.Octet)) + "; " + s
	}
	return s
}

// healthPattern returns the rhythm of a state of health without faults. The three states in
// transition share the 1 Hz and differ in the part of it that is light: a quarter while
// starting, half while joining, seven eighths while draining.
func healthPattern(h Health) Pattern {
	switch h {
	case Starting:
		return Pattern{"slow short blink", []Step{{Full, 2 * beat}, {Off, 6 * beat}}}
	case Joining:
		return Pattern{"slow blink", []Step{{Full, 4 * beat}, {Off, 4 * beat}}}
	case Serving:
		return steadyPattern("steady", Full)
	case Draining:
		return Pattern{"slow long blink", []Step{{Full, 7 * beat}, {Off, beat}}}
	case Drained:
		return Pattern{"short flash every three seconds", []Step{{Full, beat}, {Off, 23 * beat}}}
	}
	return darkPattern()
}

func steadyPattern(name string, l Level) Pattern { return Pattern{name, []Step{{l, 8 * beat}}} }

func darkPattern() Pattern { return steadyPattern("dark", Off) }

func fastBlinkPattern() Pattern { return Pattern{"fast blink", []Step{{Full, beat}, {Off, beat}}} }

// withFaults adds each fault's flashes after at least two seconds of the state's own
// rhythm, which is enough to recognise it. All acknowledged faults share one flash at
// the end: known, but not fixed.
func withFaults(p Pattern, faults, acked FaultSet) Pattern {
	var counts []int
	for _, f := range faults.List() {
		if !acked.Has(f) {
			counts = append(counts, int(f))
		}
	}
	if len(counts) < faults.Len() {
		counts = append(counts, 1)
	}
	if len(counts) == 0 {
		return p
	}
	lead := p.Steps
	for total := p.Period(); total.Milliseconds() < 16*beat; total += p.Period() {
		lead = append(lead[:len(lead):len(lead)], p.Steps...)
	}
	out := Pattern{Name: p.Name}
	for _, n := range counts {
		out.Name += ", then " + strconv.Itoa(n) + " flash"
		if n > 1 {
			out.Name += "es"
		}
		out.Steps = append(out.Steps, lead...)
		out.Steps = append(out.Steps, Step{Off, codePause})
		for range n {
			out.Steps = append(out.Steps, Step{Full, codeFlash}, Step{Off, codeGap})
		}
		out.Steps = append(out.Steps, Step{Off, codeTail})
	}
	out.Steps = mergeSteps(out.Steps)
	return out
}

// The rhythm of an address, in milliseconds. It begins with a light that is longer than
// any other in the language, except a steady one.
const (
	addressBegin = 12 * beat // lit: the beginning
	addressPause = 8 * beat  // dark before a digit
	addressZero  = 6 * beat  // lit: the digit 0
	addressEnd   = 8 * beat  // dark after the last digit, on top of its gap
)

// addressPattern flashes the decimal digits of a number, each like a fault's code, from
// start on; 0 is one long light.
func addressPattern(octet uint8, start time.Duration) Pattern {
	p := Pattern{Name: "a long light, then the digits", Steps: []Step{{Full, addressBegin}, {Off, addressPause}}}
	digits := strconv.Itoa(int(octet))
	for i, digit := range digits {
		if i > 0 {
			p.Steps = append(p.Steps, Step{Off, addressPause - codeGap})
			p.Name += ","
		}
		p.Name += " " + string(digit)
		if digit == '0' {
			p.Steps = append(p.Steps, Step{Full, addressZero}, Step{Off, codeGap})
			continue
		}
		for range digit - '0' {
			p.Steps = append(p.Steps, Step{Full, codeFlash}, Step{Off, codeGap})
		}
	}
	p.Steps = mergeSteps(rotateSteps(append(p.Steps, Step{Off, addressEnd}), start))
	return p
}

// mergeSteps joins neighbouring steps of the same level, so that a Show takes little
// room on its way to the console. Steps that together exceed the 65 s of a step stay
// apart.
func mergeSteps(steps []Step) []Step {
	out := steps[:1]
	for _, s := range steps[1:] {
		if last := &out[len(out)-1]; last.Level == s.Level && int(last.MS)+int(s.MS) < 1<<16 {
			last.MS += s.MS
		} else {
			out = append(out, s)
		}
	}
	return out
}
