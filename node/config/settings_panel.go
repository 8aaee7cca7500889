package config

import (
	"slices"
	"strconv"
	"strings"
)

// Values that replace the name of a pin.
const (
	PinAuto = "auto" // the pin of the wiring in gpio/README.md; no pin on a machine that is not a Pi
	PinNone = "none"
)

const maxBar = 16 // limits the lamps of a bar: no header has more pins

func panelKeys() []keySpec {
	return []keySpec{
		keyOf("panel", "health_pin", func(c *Config) *string { return &c.Panel.HealthPin }, checkPin,
			`Pin of the health lamp, such as "GPIO27"; "none" for no lamp. "auto" uses the pin of the wiring in gpio/README.md.`),
		keyOf("panel", "bar_pins", func(c *Config) *[]string { return &c.Panel.BarPins }, checkBar,
			`Pins of the load bar, lowest lamp first; 3 to 10 of them are easy to read. ["auto"] and ["none"] as for health_pin.`),
		keyOf("panel", "button_pin", func(c *Config) *string { return &c.Panel.ButtonPin }, checkPin,
			`Pin of the button; "auto" and "none" as for health_pin.`),
		keyOf("panel", "kernel_led", func(c *Config) *string { return &c.Panel.KernelLED }, nil,
			`The kernel's LED that shows health alone, by its name under /sys/class/leds; "none" for none. `+
				`"auto" is ACT, the green LED of every Pi.`),
		keyOf("panel", "active_low", func(c *Config) *bool { return &c.Panel.ActiveLow }, nil,
			"Whether a low pin lights a lamp, because the lamps are wired to 3.3 V instead of ground."),
		keyOf("panel", "pwm", func(c *Config) *bool { return &c.Panel.PWM }, nil,
			"Whether lamps on pins with PWM have brightness; on other pins they are on or off."),
		keyOf("panel", "blinkt", func(c *Config) *bool { return &c.Panel.Blinkt }, nil,
			"Whether a Blinkt! (eight APA102) replaces the lamps on pins."),
	}
}

// checkPin accepts the name of a pin, "auto" or "none". Which pins exist depends on the
// board, which reports a missing one when it starts.
func checkPin(s string) string {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.ToUpper(s), "GPIO"))
	return problemIf(s != PinAuto && s != PinNone && (err != nil || n < 0 || n > 27), s, ` is not a pin; write one from "GPIO0" to "GPIO27", "auto" or "none"`)
}

func checkBar(list []string) string {
	if len(list) == 1 && (list[0] == PinAuto || list[0] == PinNone) {
		return ""
	}
	if len(list) == 0 || slices.Contains(list, PinAuto) || slices.Contains(list, PinNone) {
		return `write the pins of the lamps, or ["auto"] or ["none"] alone`
	}
	return checkList(maxBar, "lamps", checkPin)(list)
}
