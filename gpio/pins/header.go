package pins

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// headerPins are the header pins by GPIO number. The first 26 are the same on all
// boards but the very first ones (see headerPin).
var headerPins = [...]int{
	27, 28, 3, 5, 7, 29, 31, 26, 24, 21, 19, 23, 32, 33, 8, 10, 36, 11, 12, 35, 38, 40, 15, 16, 18, 22, 37, 13,
}

// parsePin reads the name of a pin: GPIO17, or 17.
func parsePin(name string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.ToUpper(name), "GPIO"))
	if err != nil || n < 0 || n >= len(headerPins) {
		return 0, fmt.Errorf("%q is not a pin: pins are called GPIO0 to GPIO%d, as in gpio/README.md", name, len(headerPins)-1)
	}
	return n, nil
}

// has26Pins reports whether a model has 26 header pins: Model A and Model B without a plus.
func has26Pins(model string) bool {
	return (strings.HasPrefix(model, "Raspberry Pi Model A") || strings.HasPrefix(model, "Raspberry Pi Model B")) &&
		!strings.Contains(model, "Plus") && !strings.Contains(model, "+")
}

// isFirstModel reports whether a model is one of the first boards, of early 2012, on whose
// header three pins have other GPIO numbers. The device tree calls them Model B without a revision,
// or with revision 1.
func isFirstModel(model string) bool {
	return has26Pins(model) && strings.Contains(model, "Model B") && !strings.Contains(strings.ToLower(model), "rev 2") &&
		!strings.Contains(strings.ToLower(model), "rev2")
}

// headerPin is the pin of a GPIO on the model's header, 0 if it has none.
func headerPin(model string, number int) int {
	at := headerPins[number]
	if moved, found := map[int]int{0: 3, 1: 5, 21: 13, 2: 0, 3: 0, 27: 0}[number]; found && isFirstModel(model) {
		at = moved
	}
	if has26Pins(model) && at > 26 {
		return 0
	}
	return at
}

// Where returns a pin's name with its position on the header: "GPIO17 (header pin 11)". Anything
// but the name of a pin is returned as it is.
func (h *PinHost) Where(name string) string {
	n, err := parsePin(name)
	if err != nil {
		return name
	}
	if at := headerPin(h.Model, n); at != 0 {
		return fmt.Sprintf("GPIO%d (header pin %d)", n, at)
	}
	return fmt.Sprintf("GPIO%d (not on this board's header)", n)
}

// busOf names the bus or function that uses a pin, "" if none does, by the table of
// alternate functions in the BCM2835 data sheet (6.2) and their use in Linux.
func busOf(model string, number int) string {
	switch {
	case number <= 1 && !isFirstModel(model):
		return "the I2C bus of HATs' own memory"
	case number <= 3:
		return "I2C"
	case number == 4:
		return "1-wire"
	case number >= 7 && number <= 11:
		return "SPI"
	case number == 14 || number == 15:
		return "the serial console"
	case number >= 18 && number <= 21 && !has26Pins(model):
		return "PCM sound"
	}
	return ""
}

// Wiring names the pins of a panel.
type Wiring struct {
	Health    string   // pin of the health lamp, "" for none
	Bar       []string // pins of the load bar, lowest lamp first
	Button    string   // pin of the button, "" for none
	ActiveLow bool     // the lamps are lit by a low pin: wired to 3.3 V
	PWM       bool     // brightness, on the pins that have it
	LED       string   // the kernel's LED that shows health: "ACT"; "" for none
	Strip     bool     // a Blinkt! instead of lamps on pins
}

// Defaults are pins that no bus uses, on the board's own header. The bar is the
// same on all boards: GPIO17 and 22 to 25 are plain pins on each of them. So is
// header pin 13, which is GPIO27, and was GPIO21 on the first boards. The button
// is on the one plain pin that is left: with 26 pins GPIO18, whose bus (PCM
// sound) has none of its other lines there; with 40 pins GPIO26.
func Defaults(model string) Wiring {
	wiring := Wiring{
		Health: "GPIO27", Bar: []string{"GPIO17", "GPIO22", "GPIO23", "GPIO24", "GPIO25"}, Button: "GPIO26", LED: "ACT",
	}
	if has26Pins(model) {
		wiring.Button = "GPIO18"
	}
	if isFirstModel(model) {
		wiring.Health = "GPIO21"
	}
	return wiring
}

func (w Wiring) pinNames() []string {
	var all []string
	if w.Strip {
		all = append(all, stripData, stripClock)
	} else {
		all = append(append(all, w.Health), w.Bar...)
	}
	all = append(all, w.Button)
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

// Check returns an error if the wiring cannot work on any board: a name is not a pin, or
// a pin has two tasks.
func (w Wiring) Check() error {
	seen := map[int]bool{}
	for _, name := range w.pinNames() {
		n, err := parsePin(name)
		if err != nil {
			return err
		}
		if seen[n] {
			return fmt.Errorf("%s has two tasks on the panel: give each lamp and the button its own pin", name)
		}
		seen[n] = true
	}
	return nil
}

// Warnings returns the pins that a bus uses too, and those that the model's header does
// not have, a sentence each.
func (w Wiring) Warnings(model string) []string {
	var all []string
	for _, name := range w.pinNames() {
		n, err := parsePin(name)
		if err != nil {
			continue // Check reports it
		}
		if bus := busOf(model, n); bus != "" {
			all = append(all, fmt.Sprintf("GPIO%d is also used by %s: it works for the panel only while that is off", n, bus))
		}
		if headerPin(model, n) == 0 {
			all = append(all, fmt.Sprintf("GPIO%d is not on the header of a %s", n, model))
		}
	}
	return all
}
