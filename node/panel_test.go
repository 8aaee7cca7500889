package node

import (
	"reflect"
	"testing"

	"bramble/gpio/pins"
	"bramble/node/config"
)

func TestPanelPins(t *testing.T) {
	auto := config.Default().Panel
	none := config.PanelSettings{HealthPin: "none", BarPins: []string{"none"}, ButtonPin: "none", KernelLED: "none"}
	some := config.PanelSettings{HealthPin: "GPIO5", BarPins: []string{"GPIO6", "GPIO13"}, ButtonPin: "none", KernelLED: "none", ActiveLow: true}
	strip := none
	strip.Blinkt = true
	const pi = "Raspberry Pi Model B Plus Rev 1.2"
	for _, tt := range []struct {
		name  string
		cfg   config.PanelSettings
		model string
		want  pins.Wiring
		ask   bool
	}{
		{"a Pi", auto, pi, pins.Defaults(pi), true},
		{"no Pi", auto, "", pins.Wiring{}, false},
		{"a Pi without a panel", none, pi, pins.Wiring{}, false},
		{"named pins", some, pi, pins.Wiring{Health: "GPIO5", Bar: []string{"GPIO6", "GPIO13"}, ActiveLow: true}, true},
		{"named pins on an unknown machine", some, "", pins.Wiring{Health: "GPIO5", Bar: []string{"GPIO6", "GPIO13"}, ActiveLow: true}, true},
		{"a strip alone", strip, pi, pins.Wiring{Strip: true}, true},
	} {
		if got, ask := panelPins(tt.cfg, tt.model); !reflect.DeepEqual(got, tt.want) || ask != tt.ask {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.name, got, ask, tt.want, tt.ask)
		}
	}
}
