// Package pins drives a panel's lamps on real hardware: LEDs on header pins through
// periph, the on-board ACT LED through sysfs, and a strip of APA102 LEDs. Package
// gpio decides what the lamps show.
//
// A pin that is an output is never read back: through the kernel's character
// device, periph's Read and Func turn it into an input.
package pins

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	panel "bramble/gpio"
)

// pwmFrequency is higher than the eye can see, even from its corner, and far below the
// pin's limit.
const pwmFrequency = 1 * physic.KiloHertz

// Pins is a Driver of LEDs that each have a header pin of their own.
type Pins struct {
	lamps     []pinLamp // by the numbers of panel.Driver; the first has no pin if there is no health lamp
	activeLow bool
}

type pinLamp struct {
	pin   gpio.PinIO // nil: there is none
	where string
	pwm   bool
	known bool // lit has been written
	lit   bool
}

// OpenPins makes the pins outputs and turns their lamps off. health may be "". The error
// names each pin that is not available, and what holds it, if that is known.
func OpenPins(h *PinHost, health string, bar []string, activeLow, pwm bool) (*Pins, error) {
	p := &Pins{lamps: make([]pinLamp, 1+len(bar)), activeLow: activeLow}
	var bad []error
	for i, name := range append([]string{health}, bar...) {
		if name == "" {
			continue
		}
		pin, err := h.claimPin(name)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		p.lamps[i] = pinLamp{pin: pin, where: h.Where(name), pwm: pwm && hasPWM(pin)}
	}
	if len(bad) > 0 { // nothing has been touched yet
		return nil, errors.Join(bad...)
	}
	for i := range p.lamps {
		if p.lamps[i].pin == nil {
			continue
		}
		if err := p.Set(i, panel.Off); err != nil {
			// After a failed Out the pin must not be used again: periph takes the
			// line for open and writes to file descriptor 0.
			where := p.lamps[i].where
			p.lamps[i].pin = nil
			return nil, errors.Join(fmt.Errorf("%s cannot be made an output: %w%s", where, err, adviceFor(err)), p.Close())
		}
	}
	return p, nil
}

// hasPWM: periph offers hardware PWM on channel 1 only, which the header has at GPIO13
// and GPIO19. On all other pins it would use DMA, at the cost of memory traffic, and
// stays off.
func hasPWM(pin gpio.PinIO) bool {
	if n := pin.Number(); n != 13 && n != 19 {
		return false
	}
	f, ok := pin.(interface{ SupportedFuncs() []pinFunc })
	return ok && slices.ContainsFunc(f.SupportedFuncs(), func(name pinFunc) bool { return strings.HasPrefix(string(name), "PWM") })
}

func (p *Pins) String() string {
	var names []string
	for _, l := range p.lamps {
		if l.pin != nil {
			names = append(names, l.where)
		}
	}
	return fmt.Sprintf("%d lamps on %s", len(names), strings.Join(names, ", "))
}

// Lamps returns whether there is a health lamp, and the length of the bar.
func (p *Pins) Lamps() (health bool, bar int) { return p.lamps[0].where != "", len(p.lamps) - 1 }

// Where returns the lamp's pin.
func (p *Pins) Where(lamp int) string { return p.lamps[lamp].where }

// Set writes at once, and only if the lamp must change.
func (p *Pins) Set(lamp int, level panel.Level) error {
	l := &p.lamps[lamp]
	if l.pin == nil {
		return nil
	}
	if l.pwm {
		duty := dutyOf(level)
		if p.activeLow {
			duty = gpio.DutyMax - duty
		}
		err := l.pin.PWM(duty, pwmFrequency)
		if err == nil {
			return nil
		}
		l.pwm = false // the access that periph has found can only switch on and off
	}
	lit := level.Lit()
	if l.known && l.lit == lit {
		return nil
	}
	if err := l.pin.Out(gpio.Level(lit != p.activeLow)); err != nil {
		return err
	}
	l.known, l.lit = true, lit
	return nil
}

// dutyOf is the duty cycle with which a lamp looks as bright as the level: about its
// square, because the eye sees ratios (CIE 1931 L* is within a few percent of a power of
// 2.2).
func dutyOf(l panel.Level) gpio.Duty {
	return gpio.Duty(int64(gpio.DutyMax) * int64(l) * int64(l) / (int64(panel.Full) * int64(panel.Full)))
}

// Flush has nothing to do.
func (p *Pins) Flush() error { return nil }

// Close turns all lamps off and makes their pins inputs, as they were when the board was
// switched on.
func (p *Pins) Close() error {
	var all []error
	for i := range p.lamps {
		l := &p.lamps[i]
		if l.pin == nil {
			continue
		}
		if l.known || l.pwm {
			all = append(all, l.pin.Out(gpio.Level(p.activeLow)), releasePin(l.pin))
		}
		l.pin = nil
	}
	return errors.Join(all...)
}

// releasePin makes a pin an input. A line of the character device goes back to the
// kernel, which does the same.
func releasePin(pin gpio.PinIO) error {
	if line, ok := pin.(interface{ Close() }); ok {
		line.Close()
		return nil
	}
	return pin.In(gpio.PullNoChange, gpio.NoEdge)
}

// ButtonPin is a contact from a header pin to ground. The pin's own pull-up holds
// it high while the contact is open.
type ButtonPin struct {
	pin   gpio.PinIO
	where string
}

// OpenButton makes the pin an input.
func OpenButton(h *PinHost, name string) (*ButtonPin, error) {
	pin, err := h.claimPin(name)
	if err != nil {
		return nil, err
	}
	where := h.Where(name)
	if err := pin.In(gpio.PullUp, gpio.NoEdge); err != nil {
		return nil, fmt.Errorf("%s cannot be made an input for the button: %w%s", where, err, adviceFor(err))
	}
	return &ButtonPin{pin, where}, nil
}

func (b *ButtonPin) String() string { return "the button on " + b.where }

// Down reads the contact. The pin is an input, so that reading it is safe.
func (b *ButtonPin) Down() (bool, error) { return b.pin.Read() == gpio.Low, nil }

// Close releases the pin.
func (b *ButtonPin) Close() error { return releasePin(b.pin) }
