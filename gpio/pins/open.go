package pins

import (
	"errors"
	"fmt"

	panel "bramble/gpio"
)

// PanelParts are the parts of a panel that could be opened.
type PanelParts struct {
	Drivers []panel.Driver
	Contact panel.Contact // nil: none
}

// Open opens the parts of the wiring, one by one. The error has a sentence for each part
// that could not be opened; the others are returned.
func Open(wiring Wiring, h *PinHost) (PanelParts, error) {
	var parts PanelParts
	if err := wiring.Check(); err != nil {
		return parts, fmt.Errorf("panel: %w", err)
	}
	var missing []error
	miss := func(what string, err error) { missing = append(missing, fmt.Errorf("panel: no %s: %w", what, err)) }
	add := func(what string, d panel.Driver, err error) {
		if err != nil {
			miss(what, err)
			return
		}
		parts.Drivers = append(parts.Drivers, d)
	}
	if wiring.Strip {
		d, err := OpenStrip(h)
		add("strip", d, err)
	} else if wiring.Health != "" || len(wiring.Bar) > 0 {
		d, err := OpenPins(h, wiring.Health, wiring.Bar, wiring.ActiveLow, wiring.PWM)
		add("lamps", d, err)
	}
	if wiring.LED != "" {
		d, err := OpenLED(h, wiring.LED)
		add("LED", d, err)
	}
	if wiring.Button != "" {
		if button, err := OpenButton(h, wiring.Button); err != nil {
			miss("button", err)
		} else {
			parts.Contact = button
		}
	}
	return parts, errors.Join(missing...)
}
