//go:build linux

package images

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bramble/gpio"
	"bramble/gpio/pins"
	"bramble/node/console"
)

// actPin is the green LED's on boards with 26 pins, lit when it is low.
const actPin = 16

const (
	// leastWatch is the time that the bar takes to point at a dead neighbour, so that an
	// idle bar is not taken for one.
	leastWatch = 8 * time.Second
	// phaseStep is the resolution of the search for the beginning of a pattern: all lights
	// are multiples of it.
	phaseStep = 5 * time.Millisecond
	// slack bounds how early or late a lamp may change: less than half
	// of the shortest light, or a fast blink would pass for a steady one.
	slack = 45 * time.Millisecond
	// mostStray bounds the time for which a lamp may differ from its pattern: a board that
	// wakes up late, and not a flash too many or too few.
	mostStray = 60 * time.Millisecond
	// longGap is a gap between samples that is too long: half of a flash that is counted.
	// It happens on a busy machine; mostMissed bounds the part of the time that is lost.
	longGap    = 125 * time.Millisecond
	mostMissed = 0.25
)

// pinLamp is a pin with a lamp, and the lamp's expected pattern.
type pinLamp struct {
	pin     int
	low     bool // lit by a low pin
	promise gpio.Pattern
	line    []bool // the promise, a phaseStep each: it is asked for a million times
}

func newPinLamp(pin int, low bool, promise gpio.Pattern) pinLamp {
	l := pinLamp{pin, low, promise, make([]bool, promise.Period()/phaseStep)}
	for i := range l.line {
		l.line[i] = promise.At(time.Duration(i) * phaseStep).Lit()
	}
	return l
}

// due reports whether the lamp must be lit at a time after the pattern's beginning.
func (p pinLamp) due(at time.Duration) bool {
	at += p.promise.Period() // slack may lead to before the beginning
	return p.line[int(at/phaseStep)%len(p.line)]
}

// lampsOf returns the lamps that play a show: those of the header, health first, and the
// green LED, which shows health too.
func lampsOf(numbers []int, show gpio.Show) []pinLamp {
	lamps := []pinLamp{newPinLamp(actPin, true, show.Health), newPinLamp(numbers[0], false, show.Health)}
	for i, pin := range numbers[1:] {
		lamps = append(lamps, newPinLamp(pin, false, show.Bar[i]))
	}
	return lamps
}

// lit reports whether the lamp is lit in a sample.
func (p pinLamp) lit(s sample) bool { return s.levels>>p.pin&1 == 1 != p.low }

// checkLamps compares samples with the expected pattern of each lamp. The beginning of the
// patterns by the board's clock is unknown, but it is the same for all of one length on
// the header: a light that runs down the bar does not pass for one that runs up. The
// green LED has its own beginning, because the kernel plays it after the board's program
// has ended.
func checkLamps(samples []sample, lamps []pinLamp) error {
	missed := time.Duration(0)
	for i, s := range samples[1:] {
		if gap := s.at - samples[i].at; gap > longGap {
			missed += gap
		}
	}
	if length := samples[len(samples)-1].at; float64(missed) > mostMissed*float64(length) {
		return fmt.Errorf("no samples for %v of %v: the machine is too busy", missed, length)
	}
	var all []error
	type inStep struct {
		period time.Duration
		green  bool
	}
	groups := map[inStep][]pinLamp{}
	for _, l := range lamps {
		at := inStep{l.promise.Period(), l.pin == actPin}
		groups[at] = append(groups[at], l)
	}
	for at, group := range groups {
		least, of := 2*mostStray, group[0] // beyond, it only matters that it is
		for phase := time.Duration(0); phase < at.period; phase += phaseStep {
			if stray, worst := longestStray(samples, group, phase, least); stray < least {
				least, of = stray, worst
			}
		}
		if least > mostStray {
			all = append(all, of.broken(samples, least))
		}
	}
	return errors.Join(all...)
}

// longestStray returns the lamp that differs from its pattern for longest, and that time,
// if the first sample was phase after the patterns' beginning. It stops counting at
// enough.
func longestStray(samples []sample, lamps []pinLamp, phase, enough time.Duration) (most time.Duration, of pinLamp) {
	for _, l := range lamps {
		if stray := l.stray(samples, phase, enough); stray >= most {
			most, of = stray, l
		}
		if most >= enough {
			break
		}
	}
	return most, of
}

// stray returns the time for which the lamp differs from its pattern: by more than slack,
// and each light or dark that was sampled and never came.
func (p pinLamp) stray(samples []sample, phase, enough time.Duration) (stray time.Duration) {
	began, looks, seen := samples[0].at, 0, true // of the promised level; the first may be cut short
	was := p.due(phase)
	for i := 1; i < len(samples) && stray < enough; i++ {
		s := samples[i]
		lit, promised := p.lit(s), p.due(phase+s.at)
		if promised != was {
			if !seen && looks >= enoughLooks {
				stray += s.at - began
			}
			was, began, looks, seen = promised, s.at, 0, false
		}
		looks++
		if lit == promised {
			seen = true
		} else if p.due(phase+s.at-slack) != lit && p.due(phase+s.at+slack) != lit {
			stray += min(s.at-samples[i-1].at, sampleEvery)
		}
	}
	return stray
}

// enoughLooks is the number of samples that prove a missing light.
const enoughLooks = 3

// broken returns the error of a lamp that plays another pattern: a character is an
// eighth of a second.
func (p pinLamp) broken(samples []sample, stray time.Duration) error {
	var line strings.Builder
	due := time.Duration(0)
	for _, s := range samples {
		for ; due <= s.at; due += time.Second / 8 {
			if p.lit(s) {
				line.WriteByte('#')
			} else {
				line.WriteByte('.')
			}
		}
	}
	return fmt.Errorf("GPIO%d differs from its pattern for %v at least: %q; it played %s", p.pin, stray, p.promise.Name, &line)
}

// watchTime returns two periods of a show: in less, another fault's flashes might be cut
// off where this one's end.
func watchTime(show gpio.Show) time.Duration {
	longest := show.Health.Period()
	for _, p := range show.Bar {
		longest = max(longest, p.Period())
	}
	return max(leastWatch, 2*longest)
}

// checkPins samples the pins of a board for a time, and compares them with a show.
func (e *emulatedBoard) checkPins(numbers []int, show gpio.Show, length time.Duration) error {
	e.t.Helper()
	if len(show.Bar) != len(numbers)-1 {
		return fmt.Errorf("the show has a bar of %d lamps, and %d are wired", len(show.Bar), len(numbers)-1)
	}
	lamps := lampsOf(numbers, show)
	for _, l := range lamps {
		if !e.registers.isOutput(l.pin) {
			return fmt.Errorf("GPIO%d is not an output, and has a lamp", l.pin)
		}
	}
	return checkLamps(e.samplePins(length), lamps)
}

// waitPins waits until the pins play the show for in.
func (e *emulatedBoard) waitPins(t *testing.T, numbers []int, in gpio.Input) {
	t.Helper()
	show := gpio.Render(in, len(numbers)-1)
	waitUntil(t, pinsLimit, "pins that say "+show.Summary, func() error { return e.checkPins(numbers, show, watchTime(show)) })
	t.Logf("on the pins: %s", show.Summary)
}

// pinsLimit bounds the time until the pins show a new state.
const pinsLimit = 2 * time.Minute

// comparePins compares the pins with the show on the board's console. It tries again if that
// changes meanwhile.
func (e *emulatedBoard) comparePins(t *testing.T, ops string, numbers []int) gpio.Show {
	t.Helper()
	var show gpio.Show
	waitUntil(t, pinsLimit, "pins as the panel promises", func() error {
		before, err := ownBoard(t.Context(), ops)
		if err != nil {
			return err
		}
		show = before.Panel
		broken := e.checkPins(numbers, show, watchTime(show))
		after, err := ownBoard(t.Context(), ops)
		if err != nil {
			return err
		}
		if !sameShow(show, after.Panel) {
			return fmt.Errorf("the panel promises %q, then %q, and the bar %s, then %s", show.Summary, after.Panel.Summary, barNames(show), barNames(after.Panel))
		}
		return broken
	})
	t.Logf("on the pins, as the console promises: %s; the bar: %s", show.Summary, barNames(show))
	return show
}

// sameShow reports that two shows look the same on lamps without brightness.
func sameShow(a, b gpio.Show) bool {
	one, other := append(slices.Clone(a.Bar), a.Health), append(slices.Clone(b.Bar), b.Health)
	return slices.EqualFunc(one, other, func(p, q gpio.Pattern) bool {
		return slices.Equal(newPinLamp(0, false, p).line, newPinLamp(0, false, q).line)
	})
}

// barNames returns the names of a bar's patterns.
func barNames(show gpio.Show) string {
	var names []string
	for _, p := range show.Bar {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// lampPins returns the pin numbers of health lamp and bar, in this order.
func (e *emulatedBoard) lampPins(t *testing.T) []int {
	t.Helper()
	model := strings.Trim(e.runShell("cat /proc/device-tree/model"), "\x00\n ")
	wired := pins.Defaults(model)
	names := append([]string{wired.Health}, wired.Bar...)
	t.Logf("%s: lamps on %v", model, names)
	var numbers []int
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "GPIO"))
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// waitSelf waits until a board's own state meets a condition.
func waitSelf(t *testing.T, ops, what string, is func(console.BoardView) bool) {
	t.Helper()
	waitUntil(t, bootLimit, what, func() error {
		s, err := ownBoard(t.Context(), ops)
		if err == nil && !is(s) {
			err = fmt.Errorf("it is %s with %v, and its panel says %q", s.State, s.Faults, s.Panel.Summary)
		}
		return err
	})
}

// steerBoard makes a board's console drain or locate that board.
func (e *emulatedBoard) steerBoard(t *testing.T, ops, what string, undo bool) {
	t.Helper()
	if err := postJSON(t.Context(), ops+"/api/v1/"+what, fmt.Sprintf(`{"board":%q,"undo":%t}`, e.hostName(), undo)); err != nil {
		t.Fatal(err)
	}
}

// checkDrained drains the board, and checks its lamps when it has no clients.
func (e *emulatedBoard) checkDrained(t *testing.T, ops string) {
	numbers := e.lampPins(t)
	e.steerBoard(t, ops, "locate", true)
	e.steerBoard(t, ops, "drain", false)
	waitSelf(t, ops, "the board to be drained", func(s console.BoardView) bool { return s.State == "drained" })
	e.comparePins(t, ops, numbers)
}

// checkLampsInService compares the board's pins with its panel, in service and
// while it is located.
func (e *emulatedBoard) checkLampsInService(t *testing.T, ops string) {
	numbers := e.lampPins(t)
	waitSelf(t, ops, "a board in service", func(s console.BoardView) bool { return s.State == "serving" && len(s.Faults) == 0 })
	e.comparePins(t, ops, numbers)
	e.steerBoard(t, ops, "locate", false)
	waitSelf(t, ops, "the board to be located", func(s console.BoardView) bool { return s.Panel.Health.Name == "fast blink" })
	e.comparePins(t, ops, numbers)
}
