package pins

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"periph.io/x/conn/v3/driver"
	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/conn/v3/pin"
	"periph.io/x/host/v3/bcm283x"
	"periph.io/x/host/v3/gpioioctl"
)

// pinFunc is periph's name for what a pin does.
type pinFunc = pin.Func

// PinHost is the machine as far as panels use it. Tests make their own.
type PinHost struct {
	Model       string                      // "Raspberry Pi Model B Rev 2", "" if unknown
	LEDs        string                      // folder of the kernel's LEDs
	Pin         func(number int) gpio.PinIO // nil: there is no such pin
	Holder      func(pin gpio.PinIO) string // the program or bus that holds it, "" if none does or it is unknown
	Unavailable error                       // why there are no pins at all, nil if there are some
}

// NewPinHost finds the machine's pins through periph: memory-mapped if possible, else
// by the kernel's character device. A machine without pins is not an error until a pin
// is claimed.
func NewPinHost() *PinHost {
	h := &PinHost{Model: readModel(), LEDs: "/sys/class/leds"}
	state, err := driverreg.Init()
	chip := headerChip()
	switch {
	case err != nil:
		h.Unavailable = fmt.Errorf("starting periph: %w", err)
	case chip == nil:
		h.Unavailable = errors.New("this machine has no accessible GPIO pins; on a Pi, run as root or as a member of the group gpio")
	}
	mapped := state != nil && bcm283x.Present() &&
		slices.ContainsFunc(state.Loaded, func(d driver.Impl) bool { return d.String() == "bcm283x-gpio" })
	h.Pin = func(number int) gpio.PinIO {
		if chip == nil {
			return nil
		}
		// periph's own pin knows both kinds of access, and falls back to the second.
		if p := gpioreg.ByName("GPIO" + strconv.Itoa(number)); p != nil {
			return p
		}
		// The kernel of the first boards calls its lines by other names.
		if number < chip.LineCount() {
			return chip.ByNumber(number)
		}
		return nil
	}
	h.Holder = func(p gpio.PinIO) string {
		if who := lineHolder(chip.Path(), p.Number()); who != "" {
			return who
		}
		if !mapped {
			return ""
		}
		// The function of a memory-mapped pin can be read without changing it.
		f, ok := p.(interface{ Func() pin.Func })
		if !ok {
			return ""
		}
		return busFunction(f.Func())
	}
	return h
}

// headerChip is the chip that the header is on: the kernel labels it pinctrl-…
// on every Pi, and periph sorts it to the front.
func headerChip() *gpioioctl.GPIOChip {
	for _, c := range gpioioctl.Chips {
		if strings.HasPrefix(c.Label(), "pinctrl-") {
			return c
		}
	}
	return nil
}

// busFunction returns the bus function of a pin, "" if it is a plain pin.
func busFunction(f pin.Func) string {
	switch f {
	case pin.FuncNone, gpio.IN, gpio.IN_HIGH, gpio.IN_LOW, gpio.OUT, gpio.OUT_HIGH, gpio.OUT_LOW:
		return ""
	}
	return "the bus function " + string(f)
}

// readModel returns the machine's name in the device tree; the text ends in a zero byte.
func readModel() string {
	text, _ := os.ReadFile("/proc/device-tree/model") // other machines have none
	return strings.TrimRight(string(text), "\x00\n")
}

// claimPin finds a pin by its name and makes sure that nothing else holds it.
func (h *PinHost) claimPin(name string) (gpio.PinIO, error) {
	number, err := parsePin(name)
	if err != nil {
		return nil, err
	}
	if h.Unavailable != nil {
		return nil, fmt.Errorf("%s is not available: %w", h.Where(name), h.Unavailable)
	}
	p := h.Pin(number)
	if p == nil {
		return nil, fmt.Errorf("%s is not a pin of this board", h.Where(name))
	}
	if who := h.Holder(p); who != "" {
		return nil, fmt.Errorf("%s is held by %s: stop that, or choose another pin under [panel]", h.Where(name), who)
	}
	return p, nil
}

// adviceFor returns what to do about an error of the kernel, of which periph passes on
// only the text.
func adviceFor(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "busy"):
		return ": another program has claimed it since; stop that, or choose another pin under [panel]"
	case strings.Contains(text, "permi"), strings.Contains(text, "denied"):
		return ": run as root or as a member of the group gpio"
	}
	return ""
}
