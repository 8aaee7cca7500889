package pins

import (
	"errors"
	"fmt"

	"periph.io/x/conn/v3/gpio"

	panel "bramble/gpio"
)

// A Blinkt! is eight APA102 LEDs on two plain pins. They are not those of the SPI bus, so
// the driver bit-bangs.
const (
	stripData  = "GPIO23"
	stripClock = "GPIO24"
	stripLamps = 8
	// stripBrightness is of 31: at full the LEDs are too bright to look at and take 60 mA
	// each; all of them at 7 take about 110 mA.
	stripBrightness = 7
)

// Strip is a Driver of a strip of APA102 LEDs: the first is the health lamp, the others
// are the bar. All are white, because colours mean nothing here.
type Strip struct {
	data, clock gpio.PinIO
	levels      [stripLamps]panel.Level
	last        int // the last lamp that has changed since the last Flush, -1 for none
	high        bool
}

// OpenStrip makes the two pins outputs and turns all lamps off.
func OpenStrip(h *PinHost) (*Strip, error) {
	data, err := h.claimPin(stripData)
	if err != nil {
		return nil, err
	}
	clock, err := h.claimPin(stripClock)
	if err != nil {
		return nil, err
	}
	s := &Strip{data: data, clock: clock, last: stripLamps - 1}
	for _, pin := range []gpio.PinIO{data, clock} {
		if err := pin.Out(gpio.Low); err != nil {
			return nil, fmt.Errorf("%s cannot be made an output: %w%s", h.Where(pin.Name()), err, adviceFor(err))
		}
	}
	return s, s.Flush()
}

func (s *Strip) String() string {
	return fmt.Sprintf("a strip of %d lamps on %s and %s", stripLamps, stripData, stripClock)
}

// Lamps returns a health lamp and a bar of seven.
func (s *Strip) Lamps() (health bool, bar int) { return true, stripLamps - 1 }

// Where returns the lamp's position on the strip.
func (s *Strip) Where(lamp int) string { return fmt.Sprintf("lamp %d of the strip", lamp+1) }

// Set records the level.
func (s *Strip) Set(lamp int, level panel.Level) error {
	if s.levels[lamp] != level {
		s.levels[lamp] = level
		s.last = max(s.last, lamp)
	}
	return nil
}

// Flush sends a frame of the data sheet: 32 zero bits; for each lamp three ones,
// five bits of brightness and a byte each of blue, green and red; then clocks
// that push the last lamp's bits through, half a clock a lamp, with 32 zero bits
// first that the SK9822, a copy of the APA102, waits for. Lamps after the last changed
// one are left out: they do not change.
func (s *Strip) Flush() error {
	if s.last < 0 {
		return nil
	}
	if err := s.sendBits(0, 32); err != nil {
		return err
	}
	for _, level := range s.levels[:s.last+1] {
		white := uint32(dutyOf(level) >> 16) // DutyMax is 1<<24
		white = min(white, 255)
		if level != panel.Off {
			white = max(white, 1)
		}
		if err := s.sendBits(0b111<<29|stripBrightness<<24|white<<16|white<<8|white, 32); err != nil {
			return err
		}
	}
	if err := s.sendBits(0, 32+(s.last+2)/2); err != nil {
		return err
	}
	s.last = -1
	return nil
}

// sendBits clocks out bits, the highest of 32 first and zeros after them; a lamp
// reads the data when the clock rises. The data pin is written only when it
// changes.
func (s *Strip) sendBits(word uint32, bits int) error {
	for range bits {
		if high := word&(1<<31) != 0; high != s.high {
			if err := s.data.Out(gpio.Level(high)); err != nil {
				return err
			}
			s.high = high
		}
		word <<= 1
		if err := s.clock.Out(gpio.High); err != nil {
			return err
		}
		if err := s.clock.Out(gpio.Low); err != nil {
			return err
		}
	}
	return nil
}

// Close turns all lamps off and releases the pins.
func (s *Strip) Close() error {
	s.levels, s.last = [stripLamps]panel.Level{}, stripLamps-1
	return errors.Join(s.Flush(), releasePin(s.data), releasePin(s.clock))
}
