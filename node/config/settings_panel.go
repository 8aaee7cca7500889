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

// maxBar limits the lamps of a bar: no header has more pins.
const maxBar = 16

// panelKeys are the keys of [panel].
func panelKeys() []keySpec {
	return []keySpec{
		{
			table: "panel", key: "health_pin",
			doc:   `Pin of the health lamp, such as "GPIO27"; "none" for no lamp. "auto" uses the pin of the wiring in gpio/README.md.`,
			at:    func(c *Config) any { return &c.Panel.HealthPin },
			check: func(c *Config) string { return checkPin(c.Panel.HealthPin) },
		}, {
			table: "panel", key: "bar_pins",
			doc:   `Pins of the load bar, lowest lamp first; 3 to 10 of them are easy to read. ["auto"] and ["none"] as for health_pin.`,
			at:    func(c *Config) any { return &c.Panel.BarPins },
			check: func(c *Config) string { return checkBar(c.Panel.BarPins) },
		}, {
			table: "panel", key: "button_pin",
			doc:   `Pin of the button; "auto" and "none" as for health_pin.`,
			at:    func(c *Config) any { return &c.Panel.ButtonPin },
			check: func(c *Config) string { return checkPin(c.Panel.ButtonPin) },
		}, {
			table: "panel", key: "kernel_led",
			doc: `The kernel's LED that shows health alone, by its name under /sys/class/leds; "none" for none. ` +
				`"auto" is ACT, the green LED of every Pi.`,
			at: func(c *Config) any { return &c.Panel.KernelLED },
		}, {
			table: "panel", key: "active_low",
			doc: "Whether a low pin lights a lamp, because the lamps are wired to 3.3 V instead of ground.",
			at:  func(c *Config) any { return &c.Panel.ActiveLow },
		}, {
			table: "panel", key: "pwm",
			doc: "Whether lamps on pins with PWM have brightness; on other pins they are on or off.",
			at:  func(c *Config) any { return &c.Panel.PWM },
		}, {
			table: "panel", key: "blinkt",
			doc: "Whether a Blinkt! (eight APA102) replaces the lamps on pins.",
			at:  func(c *Config) any { return &c.Panel.Blinkt },
		},
	}
}

// checkPin accepts the name of a pin, "auto" or "none". Which pins exist depends on the
// board, which reports a missing one when it starts.
func checkPin(s string) string {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.ToUpper(s), "GPIO"))
	if s == PinAuto || s == PinNone || err == nil && n >= 0 && n <= 27 {
		return ""
	}
	return quote(s) + ` is not a pin; write one from "GPIO0" to "GPIO27", "auto" or "none"`
}

func checkBar(list []string) string {
	if len(list) == 1 && (list[0] == PinAuto || list[0] == PinNone) {
		return ""
	}
	if p := checkCount(len(list), maxBar, "lamps"); p != "" {
		return p
	}
	if len(list) == 0 || slices.Contains(list, PinAuto) || slices.Contains(list, PinNone) {
		return `write the pins of the lamps, or ["auto"] or ["none"] alone`
	}
	for _, s := range list {
		if p := checkPin(s); p != "" {
			return p
		}
	}
	return ""
}
