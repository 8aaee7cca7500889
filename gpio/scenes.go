package gpio

import (
	"math"
	"strconv"
	"time"
)

// Scene is one sign that a panel can show, with its name. The demo, the wall card and the
// console all use this list, so that none can leave one out.
type Scene struct {
	Name     string // of the sign: "joining"
	Meaning  string // an explanation in one short sentence, "" if the name is enough
	OnBar    bool   // it is on the bar and not on the health lamp
	Duration time.Duration
	// inputAt is the state of the board at a time since the scene began, which was at
	// start.
	inputAt func(start, since time.Duration) Input
}

// At returns the Input of the scene at a time since it began, which was at start. Both
// count as Pattern.At counts.
func (s Scene) At(start, since time.Duration) Input {
	in := s.inputAt(start, since)
	in.Now = start + since
	return in
}

// sceneMoment is the time of an opening within its scene.
const sceneMoment = 11 * time.Second

// Scenes lists the complete language of the lamps: the states, the faults, what the
// button does to the lamps, and the signs of the bar.
func Scenes() []Scene {
	var all []Scene
	health := func(name, means string, in Input) {
		takes := max(Render(in, 0).Health.Period(), 3*time.Second) + time.Second
		all = append(all, Scene{name, means, false, takes, func(start, _ time.Duration) Input {
			if in.Address {
				in.AddressSince = start
			}
			return in
		}})
	}
	bar := func(name, means string, takes time.Duration, input func(start, since time.Duration) Input) {
		all = append(all, Scene{name, means, true, takes, input})
	}
	busy := Input{Health: Serving, Load: 0.4, Peak: 0.4}
	lasting := func(in Input) func(start, since time.Duration) Input {
		in.Health, in.Load, in.Peak = busy.Health, busy.Load, busy.Peak
		return func(_, _ time.Duration) Input { return in }
	}

	health("serving", "answers clients", Input{Health: Serving})
	health("starting", "the program is up and reads its settings", Input{Health: Starting})
	health("joining", "looks for its rack", Input{Health: Joining})
	health("draining", "takes no new clients, finishes what it has", Input{Health: Draining})
	health("drained", "safe to unplug; also after a shutdown", Input{Health: Drained})
	health("locate", "this one here", Input{Health: Serving, Locate: true})
	health("stopped", "no power, or Bramble does not run", Input{})
	for f := firstFault; f <= lastFault; f++ {
		health(f.String(), f.Advice(), Input{Health: Serving, Faults: NewFaultSet(f)})
	}
	health("acknowledged", "a fault that somebody knows of: one flash in place of its count", Input{Health: Serving, Faults: NewFaultSet(TooHot), Acknowledged: NewFaultSet(TooHot)})
	health("address", "its last number, digit by digit; 0 is one long light. Here: 203", Input{Health: Serving, Address: true, Octet: 203})

	bar("load", "the share of its own capacity in use; the single lamp above is the peak", 14*time.Second, func(_, since time.Duration) Input {
		load := (1 - math.Cos(2*math.Pi*since.Seconds()/10)) / 2
		in := Input{Health: Serving, Load: load, Peak: load}
		if since > 5*time.Second {
			in.Peak = 1
		}
		return in
	})
	bar("leader", "the last lamp blinks twice every two seconds: leader of the ledger", 6*time.Second, lasting(Input{Leader: true}))
	bar("neighbour dead: after", "a light runs towards the dead board", 12*time.Second, lasting(Input{DeadSide: After}))
	bar("neighbour dead: before", "the same, the other way", 12*time.Second, lasting(Input{DeadSide: Before}))
	bar("neighbours dead: both", "lights run from the middle both ways", 12*time.Second, lasting(Input{DeadSide: Before | After}))
	bar("sold out", "after the load, the bar closes from both ends and goes dark", 14*time.Second, lasting(Input{SoldOut: true}))
	bar("opening", "the last ten seconds run down all bars in step; then all lamps light", sceneMoment+4*time.Second, func(start, _ time.Duration) Input {
		in := busy
		in.OpensAt = start + sceneMoment
		return in
	})
	bar("purge", "a spot runs up the bar and down again: stored pages are purged", 5*time.Second, func(start, _ time.Duration) Input {
		in := busy
		in.PurgedAt = start + 2*time.Second
		return in
	})
	return all
}

// Title returns the scene's name with its meaning.
func (s Scene) Title() string {
	if s.Meaning == "" {
		return s.Name
	}
	return s.Name + ": " + s.Meaning
}

// ButtonRule describes the effect of one kind of press.
type ButtonRule struct {
	Press ButtonPress
	How   string
	Does  string
}

// ButtonRules lists the effects of the button, with the times of Button.
func ButtonRules() []ButtonRule {
	hold := func(d time.Duration) string { return "hold " + formatSeconds(d) + ", let go" }
	return []ButtonRule{
		{ShortPress, "press", "acknowledge the faults; end locate"},
		{DoublePress, "press twice", "show the last number of the address"},
		{LongPress, hold(longPress), "locate: blink this board, here and on the console"},
		{DrainPress, hold(drainPress), "drain: take no new clients"},
		{ShutdownPress, hold(shutdownPress), "shut down cleanly; unplug when it flashes once in three seconds"},
	}
}

// formatSeconds formats a whole number of seconds: "8 s".
func formatSeconds(d time.Duration) string { return strconv.Itoa(int(d/time.Second)) + " s" }
