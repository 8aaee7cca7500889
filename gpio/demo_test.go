package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"bramble/gpio"
	"bramble/gpio/gpiotest"
)

func TestDemo(t *testing.T) {
	clock := newClock()
	d := &gpiotest.FakeDriver{Bar: 5, Clock: clock}
	var said []string
	if err := gpio.Demo(context.Background(), clock, d, func(s string) { said = append(said, s) }); err != nil {
		t.Fatal(err)
	}
	if len(said) != len(gpio.Scenes()) || d.Closed {
		t.Errorf("said %q; closed: %v", said, d.Closed)
	}
	clock.End = clock.T.Add(10 * time.Second)
	if err := gpio.Demo(context.Background(), clock, d, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled it returns %v", err)
	}
	d.Err = errors.New("wire cut")
	if err := gpio.Demo(context.Background(), newClock(), d, func(string) {}); !errors.Is(err, d.Err) {
		t.Errorf("with a broken driver it returns %v", err)
	}
}

func TestCheckWiring(t *testing.T) {
	clock := newClock()
	d := &gpiotest.FakeDriver{Bar: 2, Clock: clock}
	key := &gpiotest.FakeContact{Clock: clock, Presses: [][2]time.Duration{{8 * time.Second, 8100 * time.Millisecond}, {10 * time.Second, 14 * time.Second}}}
	var said []string
	say := func(s string) { said = append(said, s+" "+d.Lit()) }
	if err := gpio.CheckWiring(context.Background(), clock, d, key, say); err != nil {
		t.Fatal(err)
	}
	want := `all lamps dark 
1 of 3: the health lamp, at fake 0 ...
2 of 3: lamp 1 of the bar, at fake 1 ...
3 of 3: lamp 2 of the bar, at fake 2 ...
all lamps lit ...
now the button, a fake button, for 25s: press it once, twice, or hold it; a press is only announced here, and does nothing ...
heard: short press ...
heard: held for three seconds ...`
	if got := strings.Join(said, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	alone := ""
	for _, s := range d.Sets {
		if s.Level == gpio.Full {
			alone += fmt.Sprint(s.Lamp)
		}
	}
	if alone != "012012" {
		t.Errorf("lamps lit in the order %s", alone)
	}

	said = nil
	key.Presses = [][2]time.Duration{{0, time.Hour}}
	if err := gpio.CheckWiring(context.Background(), clock, d, key, say); err != nil || !strings.Contains(strings.Join(said, "\n"), "the button is stuck") {
		t.Errorf("a stuck button: %v, %q", err, said)
	}
	said, key.Presses = nil, nil
	if err := gpio.CheckWiring(context.Background(), clock, d, key, say); err != nil || !strings.Contains(strings.Join(said, "\n"), "nothing heard") {
		t.Errorf("a silent button: %v, %q", err, said)
	}
	if err := gpio.CheckWiring(context.Background(), clock, &gpiotest.FakeDriver{Err: errors.New("wire cut"), Bar: 1}, nil, say); err == nil {
		t.Error("a broken driver is not noticed")
	}
}
