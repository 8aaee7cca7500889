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
	if wiring.Strip {
		if d, err := OpenStrip(h); err != nil {
			miss("strip", err)
		} else {
			parts.Drivers = append(parts.Drivers, d)
		}
	} else if wiring.Health != "" || len(wiring.Bar) > 0 {
		if d, err := OpenPins(h, wiring.Health, wiring.Bar, wiring.ActiveLow, wiring.PWM); err != nil {
			miss("lamps", err)
		} else {
			parts.Drivers = append(parts.Drivers, d)
		}
	}
	if wiring.LED != "" {
		if d, err := OpenLED(h, wiring.LED); err != nil {
			miss("LED", err)
		} else {
			parts.Drivers = append(parts.Drivers, d)
		}
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
