package gpio_test

import (
	"context"
	"fmt"
	"time"

	"bramble/gpio"
	"bramble/gpio/gpiotest"
)

// What a board says, as text: a sign is an eighth of a second.
func ExampleRender() {
	show := gpio.Render(gpio.Input{Health: gpio.Serving, Load: 0.6, Faults: gpio.NewFaultSet(gpio.PeerLost)}, 5)
	fmt.Print(show.Timeline(5*time.Second, 125*time.Millisecond))
	// Output:
	// health ████████████████______██___██______█████  steady, then 2 flashes
	// bar 1  ████████████████████████████████████████  steady
	// bar 2  ████████████████████████████████████████  steady
	// bar 3  ████████████████████████████████████████  steady
	// bar 4  ________________________________________  dark
	// bar 5  ________________________________________  dark
	// summary serving; peer lost
}

// A panel plays the state of a board on its lamps, and reads the button. Driver, contact
// and clock are fakes here, so that five seconds take no time.
func ExamplePanel() {
	clock := &gpiotest.FakeClock{T: time.Unix(0, 0)}
	lamps := &gpiotest.FakeDriver{Bar: 3}
	button := &gpiotest.FakeContact{Clock: clock, Presses: [][2]time.Duration{{2 * time.Second, 5500 * time.Millisecond}}}
	p := gpio.NewPanel(gpio.Config{
		Clock: clock, Drivers: []gpio.Driver{lamps}, Contact: button,
		OnPress: func(press gpio.ButtonPress) { fmt.Println("the button was", press) },
	})
	runUntil := func(second int64) {
		clock.End = time.Unix(second, 0)
		p.Run(context.Background())
	}

	p.Update(gpio.Input{Health: gpio.Serving, Load: 0.7})
	runUntil(1)
	fmt.Println("serving:", lamps.Lit()) // the health lamp, then two of three for the load

	p.Update(gpio.Input{Health: gpio.Stopped})
	runUntil(2)
	fmt.Println("stopped:", lamps.Lit())

	runUntil(7)
	if err := p.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// serving: ###.
	// stopped: ....
	// the button was held for three seconds
}

// A button held for three seconds, given as edges.
func ExampleButton() {
	var b gpio.Button
	for _, edge := range []struct {
		down bool
		at   time.Duration
	}{{false, 0}, {true, time.Second}, {false, 4200 * time.Millisecond}, {false, 5 * time.Second}} {
		if press := b.Sample(edge.down, edge.at); press != gpio.NoPress {
			fmt.Println(press)
		}
	}
	// Output: held for three seconds
}
