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
func Open(s Wiring, h *PinHost) (PanelParts, error) {
	var o PanelParts
	if err := s.Check(); err != nil {
		return o, fmt.Errorf("panel: %w", err)
	}
	var missing []error
	miss := func(what string, err error) { missing = append(missing, fmt.Errorf("panel: no %s: %w", what, err)) }
	if s.Strip {
		if d, err := OpenStrip(h); err != nil {
			miss("strip", err)
		} else {
			o.Drivers = append(o.Drivers, d)
		}
	} else if s.Health != "" || len(s.Bar) > 0 {
		if d, err := OpenPins(h, s.Health, s.Bar, s.ActiveLow, s.PWM); err != nil {
			miss("lamps", err)
		} else {
			o.Drivers = append(o.Drivers, d)
		}
	}
	if s.LED != "" {
		if d, err := OpenLED(h, s.LED); err != nil {
			miss("LED", err)
		} else {
			o.Drivers = append(o.Drivers, d)
		}
	}
	if s.Button != "" {
		if k, err := OpenButton(h, s.Button); err != nil {
			miss("button", err)
		} else {
			o.Contact = k
		}
	}
	return o, errors.Join(missing...)
}
