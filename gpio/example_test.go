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

// A panel is told what the board knows, plays it, and hears the button; here by
// a clock that takes no time.
func ExamplePanel() {
	clock := &gpiotest.FakeClock{T: time.Unix(0, 0), End: time.Unix(5, 0)}
	lamps := &gpiotest.FakeDriver{Bar: 3}
	key := &gpiotest.FakeContact{Clock: clock, Presses: [][2]time.Duration{{time.Second, 4500 * time.Millisecond}}}
	p := gpio.NewPanel(gpio.Config{
		Clock: clock, Drivers: []gpio.Driver{lamps}, Contact: key,
		OnPress: func(press gpio.ButtonPress) { fmt.Println(press) },
	})
	p.Update(gpio.Input{Health: gpio.Serving, Load: 0.7})
	p.Run(context.Background())
	fmt.Println(lamps.Lit())
	if err := p.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// held for three seconds
	// ###.
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
