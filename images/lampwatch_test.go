//go:build linux

package images

import (
	"math/rand/v2"
	"testing"
	"time"

	"bramble/gpio"
)

// The samples of a board's pins match exactly one scene: else a board that shows the
// wrong one would pass.
func TestPinsTellScenesApart(t *testing.T) {
	said := func(change func(*gpio.Input)) gpio.Input {
		in := gpio.Input{Health: gpio.Serving}
		change(&in)
		return in
	}
	ins := []gpio.Input{
		{}, {Health: gpio.Starting}, {Health: gpio.Joining}, {Health: gpio.Serving}, {Health: gpio.Draining}, {Health: gpio.Drained},
		said(func(in *gpio.Input) { in.Load = 0.3 }),
		said(func(in *gpio.Input) { in.Load = 1 }),
		said(func(in *gpio.Input) { in.Load, in.Peak = 0.3, 0.8 }),
		said(func(in *gpio.Input) { in.Locate = true }),
		said(func(in *gpio.Input) { in.Address, in.Octet = true, 15 }),
		said(func(in *gpio.Input) { in.Address, in.Octet = true, 51 }),
		said(func(in *gpio.Input) { in.Leader = true }),
		said(func(in *gpio.Input) { in.DeadSide = gpio.After }),
		said(func(in *gpio.Input) { in.DeadSide = gpio.Before }),
		said(func(in *gpio.Input) { in.Faults = gpio.NewFaultSet(gpio.PeerLost, gpio.NoMajority) }),
		said(func(in *gpio.Input) { in.Faults = gpio.NewFaultSet(gpio.PeerLost, gpio.ButtonStuck) }),
	}
	for f := gpio.PeerLost; f <= gpio.BadSettings; f++ {
		ins = append(ins, said(func(in *gpio.Input) { in.Faults = gpio.NewFaultSet(f) }))
	}
	ins = append(ins, said(func(in *gpio.Input) {
		in.Faults = gpio.NewFaultSet(gpio.ClockNotSet)
		in.Acknowledged = in.Faults
	}))
	numbers := []int{21, 17, 22, 23, 24, 25}
	random := rand.New(rand.NewPCG(1, 2))
	var shows []gpio.Show
	var lamps [][]pinLamp
	for _, in := range ins {
		show := gpio.Render(in, len(numbers)-1)
		shows, lamps = append(shows, show), append(lamps, lampsOf(numbers, show))
	}
	for i, show := range shows {
		for j := range shows {
			seen := samplesOf(lamps[j], watchTime(show), random)
			if err := checkLamps(seen, lamps[i]); (err == nil) != (i == j) {
				t.Errorf("%q on the pins, and promised is %q: %v", shows[j].Summary, show.Summary, err)
			}
		}
	}
}

// samplesOf returns samples of the pins from a random moment on, of a board that is late
// now and then.
func samplesOf(lamps []pinLamp, length time.Duration, random *rand.Rand) []sample {
	phase := time.Duration(random.Int64N(int64(time.Minute)))
	var all []sample
	for at := time.Duration(0); at < length; at += sampleEvery + time.Duration(random.Int64N(int64(sampleEvery))) {
		late := time.Duration(random.Int64N(int64(20 * time.Millisecond)))
		var levels uint32
		for _, l := range lamps {
			if l.due(phase+at-late) != l.low {
				levels |= 1 << l.pin
			}
		}
		all = append(all, sample{at, levels})
	}
	return all
}
