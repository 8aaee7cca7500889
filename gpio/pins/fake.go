package pins

import (
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
)

// FakePin is a pin without hardware that is as touchy as a line of the kernel's
// character device: to read it while it is an output makes an input of it.
type FakePin struct {
	N         int
	PWMs      bool            // it has hardware PWM
	PWMBroken bool            // it says so, and fails
	Err       error           // of each Out and In from now on
	Changed   func(high bool) // called at each change of an output, if not nil

	Level  gpio.Level // as an output: as last written; as an input: what is outside
	Output bool
	Duty   gpio.Duty
	Writes int
	Reads  int // while it was an output: there must be none
}

// NewFakeHost returns a machine with all the pins of a header, each free, and
// the folder of its LEDs.
func NewFakeHost(model, leds string) (*PinHost, map[int]*FakePin) {
	all := map[int]*FakePin{}
	for n := range headerPins {
		all[n] = &FakePin{N: n, PWMs: n == 13 || n == 19}
	}
	return &PinHost{
		Model: model, LEDs: leds,
		Pin:    func(n int) gpio.PinIO { return all[n] },
		Holder: func(gpio.PinIO) string { return "" },
	}, all
}

// String is the name.
func (p *FakePin) String() string { return p.Name() }

// Name is as periph has it.
func (p *FakePin) Name() string { return fmt.Sprintf("GPIO%d", p.N) }

// Number is that of the GPIO.
func (p *FakePin) Number() int { return p.N }

// Halt has nothing to stop.
func (p *FakePin) Halt() error { return nil }

// Function is Func by its old name.
func (p *FakePin) Function() string { return string(p.Func()) }

// Func reads the pin, with what that does to an output.
func (p *FakePin) Func() pinFunc {
	p.Read()
	return gpio.IN
}

// SupportedFuncs are those of a plain pin, and PWM if it has it.
func (p *FakePin) SupportedFuncs() []pinFunc {
	if p.PWMs {
		return []pinFunc{gpio.IN, gpio.OUT, "PWM1"}
	}
	return []pinFunc{gpio.IN, gpio.OUT}
}

// SetFunc is not needed by panels.
func (p *FakePin) SetFunc(pinFunc) error { return errors.New("fake pin: not supported") }

// In makes an input of the pin; a pull-up lets it be high.
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

// WaitForEdge sees none.
func (p *FakePin) WaitForEdge(time.Duration) bool { return false }

// Pull is not known.
func (p *FakePin) Pull() gpio.Pull { return gpio.PullNoChange }

// DefaultPull is not known.
func (p *FakePin) DefaultPull() gpio.Pull { return gpio.PullNoChange }

// Out makes an output of the pin.
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

// PWM takes the duty down.
func (p *FakePin) PWM(d gpio.Duty, _ physic.Frequency) error {
	if !p.PWMs || p.PWMBroken {
		return errors.New("fake pin: no PWM")
	}
	p.Writes++
	p.Output, p.Duty = true, d
	return nil
}

var _ gpio.PinIO = (*FakePin)(nil)
