package pins

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"

	panel "bramble/gpio"
	"bramble/gpio/gpiotest"
	"bramble/gpio/pins/pinstest"
)

const (
	modelB    = "Raspberry Pi Model B Rev 2"
	modelZero = "Raspberry Pi Zero Rev 1.3"
)

// fakeHost returns a machine with all the pins of a header, each free, and the
// folder of its LEDs.
func fakeHost(model, leds string) (*PinHost, map[int]*pinstest.FakePin) {
	all := pinstest.Pins(len(headerPins))
	return &PinHost{
		Model: model, LEDs: leds,
		Pin:    func(n int) gpio.PinIO { return all[n] },
		Holder: func(gpio.PinIO) string { return "" },
	}, all
}

// drawPins draws pins: "#" for one that drives high, "." low, "i" for an input.
func drawPins(all map[int]*pinstest.FakePin, numbers ...int) string {
	var b strings.Builder
	for _, n := range numbers {
		switch p := all[n]; {
		case !p.Output:
			b.WriteByte('i')
		case bool(p.Level):
			b.WriteByte('#')
		default:
			b.WriteByte('.')
		}
	}
	return b.String()
}

func TestPins(t *testing.T) {
	for _, c := range []struct {
		activeLow        bool
		dark, lit, ended string
	}{
		{false, "......", "#.##..", "iiiiii"},
		{true, "######", ".#..##", "iiiiii"},
	} {
		h, all := fakeHost(modelB, "")
		s := Defaults(modelB)
		p, err := OpenPins(h, s.Health, s.Bar, c.activeLow, false)
		if err != nil {
			t.Fatal(err)
		}
		numbers := []int{27, 17, 22, 23, 24, 25}
		if got := drawPins(all, numbers...); got != c.dark {
			t.Errorf("active low %v: opened as %s, want %s", c.activeLow, got, c.dark)
		}
		for lamp, level := range []panel.Level{panel.Full, 127, 128, panel.Full, panel.Off, 3} {
			for range 3 { // only the first may write
				if err := p.Set(lamp, level); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := drawPins(all, numbers...); got != c.lit {
			t.Errorf("active low %v: %s, want %s", c.activeLow, got, c.lit)
		}
		writes := 0
		for _, pin := range all {
			writes += pin.Writes
		}
		if writes != 6+3 {
			t.Errorf("%d writes, want one each at first and one for each of three that are lit", writes)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if got := drawPins(all, numbers...); got != c.ended {
			t.Errorf("active low %v: closed as %s, want %s", c.activeLow, got, c.ended)
		}
	}
}

// TestPanelOnPins plays the demo on pins: no output is ever read back, and no
// pin but the panel's is touched.
func TestPanelOnPins(t *testing.T) {
	h, all := fakeHost(modelZero, "")
	s := Defaults(modelZero)
	s.LED = ""
	o, err := Open(s, h)
	if err != nil {
		t.Fatal(err)
	}
	all[26].Level = gpio.High // the button is open
	clock := &gpiotest.FakeClock{}
	for _, d := range o.Drivers {
		if err := panel.Demo(t.Context(), clock, d, func(string) {}); err != nil {
			t.Fatal(err)
		}
		if err := panel.CheckWiring(t.Context(), clock, d, o.Contact, func(string) {}); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Contact.Close(); err != nil {
		t.Fatal(err)
	}
	ours := []int{17, 22, 23, 24, 25, 26, 27}
	for n, p := range all {
		if p.Reads > 0 {
			t.Errorf("GPIO%d was read %d times while it was an output", n, p.Reads)
		}
		if touched := p.Writes > 0; touched && !slices.Contains(ours, n) {
			t.Errorf("GPIO%d is not the panel's and was written", n)
		}
	}
}

func TestButtonPin(t *testing.T) {
	h, all := fakeHost(modelB, "")
	b, err := OpenButton(h, "GPIO18")
	if err != nil {
		t.Fatal(err)
	}
	if down, err := b.Down(); down || err != nil {
		t.Errorf("open contact: %v, %v", down, err)
	}
	all[18].Level = gpio.Low
	if down, err := b.Down(); !down || err != nil {
		t.Errorf("closed contact: %v, %v", down, err)
	}
	if b.String() != "the button on GPIO18 (header pin 12)" {
		t.Errorf("it is %v", b)
	}
}

func TestPWM(t *testing.T) {
	h, all := fakeHost(modelZero, "")
	p, err := OpenPins(h, "GPIO13", []string{"GPIO17"}, false, true)
	if err != nil {
		t.Fatal(err)
	}
	for level, want := range map[panel.Level]gpio.Duty{0: 0, 128: 4227265, 255: gpio.DutyMax} {
		if err := p.Set(0, level); err != nil || all[13].Duty != want {
			t.Errorf("%v: duty %d, want %d; %v", level, all[13].Duty, want, err)
		}
		if err := p.Set(1, level); err != nil || all[17].Duty != 0 || bool(all[17].Level) != level.Lit() {
			t.Errorf("a pin without PWM at %v: %v, %v", level, all[17].Level, err)
		}
	}
	if err := p.Close(); err != nil || drawPins(all, 13, 17) != "ii" {
		t.Errorf("closed as %s: %v", drawPins(all, 13, 17), err)
	}
	all[13].PWMBroken = true // as on pins that are not memory-mapped
	if p, err = OpenPins(h, "GPIO13", nil, false, true); err != nil || p.Set(0, 200) != nil || drawPins(all, 13) != "#" {
		t.Errorf("without working PWM: %v, %s", err, drawPins(all, 13))
	}
	all[13].PWMBroken = false
	if p, err = OpenPins(h, "GPIO13", nil, true, true); err != nil || all[13].Duty != gpio.DutyMax || p.Set(0, panel.Full) != nil || all[13].Duty != 0 {
		t.Errorf("active low: %v, duty %d", err, all[13].Duty)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(h *PinHost, all map[int]*pinstest.FakePin, s *Wiring)
		want  string
		parts int // that are opened nevertheless
	}{
		{"held", func(h *PinHost, _ map[int]*pinstest.FakePin, _ *Wiring) {
			h.Holder = func(p gpio.PinIO) string {
				if p.Number() == 22 {
					return `"spi0 CS0"`
				}
				return ""
			}
		}, `panel: no lamps: GPIO22 (header pin 15) is held by "spi0 CS0": stop that, or choose another pin under [panel]`, 0},
		{"busy after all", func(_ *PinHost, all map[int]*pinstest.FakePin, _ *Wiring) {
			all[24].Err = errors.New("line_request ioctl: device or resource busy")
		}, "panel: no lamps: GPIO24 (header pin 18) cannot be made an output: line_request ioctl: device or resource busy: another program has claimed it since; stop that, or choose another pin under [panel]", 0},
		{"not allowed", func(_ *PinHost, all map[int]*pinstest.FakePin, _ *Wiring) {
			all[18].Err = errors.New("permission denied")
		},
			"panel: no button: GPIO18 (header pin 12) cannot be made an input for the button: permission denied: run as root or as a member of the group gpio", 1},
		{"no pins", func(h *PinHost, _ map[int]*pinstest.FakePin, s *Wiring) {
			h.Unavailable, s.Button = errors.New("this machine shows no GPIO pins"), ""
		},
			"panel: no lamps: GPIO27 (header pin 13) is not available: this machine shows no GPIO pins", 0},
		{"no such pin", func(h *PinHost, _ map[int]*pinstest.FakePin, _ *Wiring) {
			h.Pin = func(n int) gpio.PinIO {
				if n == 18 {
					return nil
				}
				return &pinstest.FakePin{N: n}
			}
		}, "panel: no button: GPIO18 (header pin 12) is not a pin of this board", 1},
		{"no name of a pin", func(_ *PinHost, _ map[int]*pinstest.FakePin, s *Wiring) { s.Button = "pin 7" },
			`panel: "pin 7" is not a pin: pins are called GPIO0 to GPIO27, as in gpio/README.md`, 0},
		{"two tasks", func(_ *PinHost, _ map[int]*pinstest.FakePin, s *Wiring) { s.Button = "17" },
			"panel: 17 has two tasks on the panel: give each lamp and the button its own pin", 0},
		{"no LED", func(_ *PinHost, _ map[int]*pinstest.FakePin, s *Wiring) { s.LED = "ACT" },
			`panel: no LED: the LED "ACT" is not on this machine, nor is any other`, 1},
		{"strip held", func(h *PinHost, _ map[int]*pinstest.FakePin, s *Wiring) {
			s.Strip, h.Holder = true, func(gpio.PinIO) string { return "the kernel" }
			s.Button = ""
		}, "panel: no strip: GPIO23 (header pin 16) is held by the kernel: stop that, or choose another pin under [panel]", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, all := fakeHost(modelB, t.TempDir())
			s := Defaults(modelB)
			s.LED = ""
			c.spoil(h, all, &s)
			o, err := Open(s, h)
			if err == nil {
				t.Fatal("no error")
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if first != c.want {
				t.Errorf("got  %s\nwant %s", first, c.want)
			}
			if len(o.Drivers) != c.parts {
				t.Errorf("%d drivers are there, want %d", len(o.Drivers), c.parts)
			}
			for n, p := range all {
				if p.Output && c.parts == 0 {
					t.Errorf("GPIO%d was left an output", n)
				}
			}
		})
	}
}

// TestDefaultsCollideWithNoBus, on any board, and are on its header.
func TestDefaultsCollideWithNoBus(t *testing.T) {
	for _, model := range []string{
		modelB, modelZero, "Raspberry Pi Model B", "Raspberry Pi Model B Rev 1", "Raspberry Pi Model B rev2", "Raspberry Pi Model A",
		"Raspberry Pi Model B Plus Rev 1.2", "Raspberry Pi Model B+", "Raspberry Pi 2 Model B Rev 1.1", "Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 5 Model B Rev 1.0", "",
	} {
		s := Defaults(model)
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", model, err)
		}
		if w := s.Warnings(model); w != nil {
			t.Errorf("%s: %q", model, w)
		}
	}
}

// TestGuideIsRight: the wiring guide and its drawing name the pins that are used.
func TestGuideIsRight(t *testing.T) {
	for _, file := range []string{"../README.md", "../wiring.svg"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, model := range []string{modelB, modelZero, "Raspberry Pi Model B Rev 1"} {
			for _, name := range Defaults(model).pinNames() {
				if !strings.Contains(string(text), name) {
					t.Errorf("%s: no word of %s, of a %s", file, name, model)
				}
				n, err := parsePin(name)
				if row := fmt.Sprintf("pin %d: %s", headerPin(model, n), name); err != nil ||
					strings.HasSuffix(file, ".md") && !isFirstModel(model) && !strings.Contains(string(text), row) {
					t.Errorf("%s: no %q", file, row)
				}
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	s := Wiring{Health: "GPIO4", Bar: []string{"GPIO2", "GPIO10", "GPIO14", "GPIO20", "GPIO1", "nonsense"}}
	got := strings.Join(s.Warnings(modelZero), "\n")
	for _, bus := range []string{"1-wire", "I2C:", "SPI", "serial console", "PCM sound", "HATs"} {
		if !strings.Contains(got, bus) {
			t.Errorf("no word of %s in\n%s", bus, got)
		}
	}
	if w := (Wiring{Strip: true, Button: "GPIO26"}).Warnings(modelB); !slices.Equal(w, []string{"GPIO26 is not on the header of a " + modelB}) {
		t.Errorf("%q", w)
	}
}

func TestWhere(t *testing.T) {
	for _, c := range []struct{ model, name, want string }{
		{modelB, "GPIO17", "GPIO17 (header pin 11)"},
		{modelB, "27", "GPIO27 (header pin 13)"},
		{"Raspberry Pi Model B", "gpio21", "GPIO21 (header pin 13)"},
		{"Raspberry Pi Model B", "GPIO27", "GPIO27 (not on this board's header)"},
		{modelB, "GPIO21", "GPIO21 (not on this board's header)"},
		{modelZero, "GPIO21", "GPIO21 (header pin 40)"},
		{modelZero, "GPIO28", "GPIO28"},
		{modelZero, "-1", "-1"},
	} {
		h := &PinHost{Model: c.model}
		if got := h.Where(c.name); got != c.want {
			t.Errorf("%s on %s: %s, want %s", c.name, c.model, got, c.want)
		}
	}
	seen := map[int]int{}
	for n, at := range headerPins {
		if other, twice := seen[at]; twice || at < 3 || at > 40 {
			t.Errorf("GPIO%d and GPIO%d are both at header pin %d", n, other, at)
		}
		seen[at] = n
	}
}

// TestHost opens the pins of this machine, whatever it is.
func TestHost(t *testing.T) {
	h := NewPinHost()
	if h.Unavailable != nil {
		if _, err := h.claimPin("GPIO17"); err == nil || !strings.Contains(err.Error(), "GPIO17 (header pin 11) is not available") {
			t.Errorf("a machine without pins says %v", err)
		}
		return
	}
	if p, err := h.claimPin("GPIO17"); err == nil && p.Number() != 17 {
		t.Errorf("GPIO17 is %v", p)
	}
}

func TestBusFunction(t *testing.T) {
	for f, want := range map[pinFunc]string{"": "", gpio.IN_LOW: "", gpio.OUT_HIGH: "", "I2C1_SDA": "the bus function I2C1_SDA"} {
		if got := busFunction(f); got != want {
			t.Errorf("%s: %q, want %q", f, got, want)
		}
	}
}

// A lamp that blinks allocates nothing.
func TestSetAllocatesNothing(t *testing.T) {
	h, _ := fakeHost(modelB, "")
	p, err := OpenPins(h, "GPIO27", nil, false, false)
	if err != nil {
		t.Fatal(err)
	}
	level := panel.Full
	if n := testing.AllocsPerRun(100, func() { _ = p.Set(0, level); level = panel.Full - level }); n != 0 {
		t.Errorf("%v allocations a change", n)
	}
}

func ExampleOpen() {
	h, all := fakeHost(modelB, "")
	opened, err := Open(Wiring{Health: "GPIO27", Bar: []string{"GPIO17", "GPIO22"}}, h)
	if err != nil {
		fmt.Println(err)
		return
	}
	clock := &gpiotest.FakeClock{T: time.Unix(0, 0)}
	p := panel.NewPanel(panel.Config{Clock: clock, Drivers: opened.Drivers, Contact: opened.Contact})
	p.Update(panel.Input{Health: panel.Serving, Load: 0.5})
	p.Tick()
	fmt.Println(opened.Drivers[0], drawPins(all, 27, 17, 22))
	// Output: 3 lamps on GPIO27 (header pin 13), GPIO17 (header pin 11), GPIO22 (header pin 15) ##.
}
