// Package pinstest has a fake of a header pin, so that drivers of lamps on pins
// can be tested on machines without any.
package pinstest

import (
	"errors"
	"fmt"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/pin"
)

// FakePin is a pin without hardware that is as touchy as a line of the kernel's
// character device: reading it while it is an output turns it into an input.
type FakePin struct {
	gpio.PinIO // nil: what panels do not use
	N          int
	PWMs       bool            // it has hardware PWM
	PWMBroken  bool            // it claims to, and fails
	Err        error           // of each Out and In from now on
	Changed    func(high bool) // called at each change of an output, if not nil

	Level  gpio.Level // of an output: as last written; of an input: what is outside
	Output bool
	Duty   gpio.Duty
	Writes int
	Reads  int // while it was an output: there must be none
}

// Pins returns n pins by their GPIO numbers. As on a Raspberry Pi, 13 and 19 have
// hardware PWM.
func Pins(n int) map[int]*FakePin {
	all := map[int]*FakePin{}
	for number := range n {
		all[number] = &FakePin{N: number, PWMs: number == 13 || number == 19}
	}
	return all
}

// String is the name.
func (p *FakePin) String() string { return p.Name() }

// Name is the name by which periph knows the pin.
func (p *FakePin) Name() string { return fmt.Sprintf("GPIO%d", p.N) }

// Number is the GPIO number.
func (p *FakePin) Number() int { return p.N }

// Func reads the pin, with what that does to an output.
func (p *FakePin) Func() pin.Func {
	p.Read()
	return gpio.IN
}

// SupportedFuncs are those of a plain pin, and PWM if it has it.
func (p *FakePin) SupportedFuncs() []pin.Func {
	if p.PWMs {
		return []pin.Func{gpio.IN, gpio.OUT, "PWM1"}
	}
	return []pin.Func{gpio.IN, gpio.OUT}
}

// In makes the pin an input; a pull-up lets it be high.
func (p *FakePin) In(pull gpio.Pull, _ gpio.Edge) error {
	if p.Err != nil {
		return p.Err
	}
	p.Output, p.Level = false, pull == gpio.PullUp
	return nil
}

// Read is harmless on inputs only.
func (p *FakePin) Read() gpio.Level {
	if p.Output {
		p.Reads++
		p.Output = false
	}
	return p.Level
}

// Out makes the pin an output.
func (p *FakePin) Out(l gpio.Level) error {
	if p.Err != nil {
		return p.Err
	}
	p.Writes++
	if changes := !p.Output || p.Level != l; changes && p.Changed != nil {
		p.Changed(bool(l))
	}
	p.Output, p.Level, p.Duty = true, l, 0
	return nil
}

// PWM records the duty.
func (p *FakePin) PWM(d gpio.Duty, _ physic.Frequency) error {
	if !p.PWMs || p.PWMBroken {
		return errors.New("fake pin: no PWM")
	}
	p.Writes++
	p.Output, p.Duty = true, d
	return nil
}
