package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/gpio"
	"bramble/gpio/gpiotest"
)

// newClock returns a fake clock at a round time of 2026, a whole number of beats and
// of all short patterns since the epoch.
func newClock() *gpiotest.FakeClock { return &gpiotest.FakeClock{T: time.Unix(1_790_000_016, 0)} }

// runFor plays for a time of the fake clock.
func runFor(t *testing.T, p *gpio.Panel, clock *gpiotest.FakeClock, d time.Duration) {
	t.Helper()
	clock.End = clock.T.Add(d)
	p.Run(context.Background())
}

func TestPanelPlays(t *testing.T) {
	clock := newClock()
	five, two := &gpiotest.FakeDriver{Bar: 5, Clock: clock}, &gpiotest.FakeDriver{Bar: 2, Clock: clock, NoHealth: true}
	p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{five, two}})
	p.Tick()
	if five.Lit() != "......" || two.Lit() != "..." {
		t.Errorf("without an Input it shows %s, %s", five.Lit(), two.Lit())
	}
	p.Update(gpio.Input{Health: gpio.Serving, Load: 0.6, Faults: gpio.NewFaultSet(gpio.PeerLost)})
	p.Tick()
	if five.Lit() != "####.." || two.Lit() != ".#." {
		t.Errorf("it shows %s, %s", five.Lit(), two.Lit())
	}
	if p.Input().Load != 0.6 {
		t.Errorf("it says that it shows %+v", p.Input())
	}
}

// TestPanelWritesOnlyChanges: in a minute of a steady pattern nothing is written,
// of a blinking one only the lamp that changes.
func TestPanelWritesOnlyChanges(t *testing.T) {
	clock := newClock()
	d := &gpiotest.FakeDriver{Bar: 5, Clock: clock}
	p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{d}})
	p.Update(gpio.Input{Health: gpio.Serving, Load: 0.6})
	runFor(t, p, clock, time.Minute)
	if len(d.Sets) != 6 || d.Flushes != 1 {
		t.Errorf("steady: %d writes, %d flushes, want 6 and 1", len(d.Sets), d.Flushes)
	}
	d.Sets, d.Flushes = nil, 0
	p.Update(gpio.Input{Health: gpio.Joining})
	runFor(t, p, clock, time.Minute)
	for _, s := range d.Sets[1:] {
		if s.Lamp == gpio.HealthLamp && s.At.UnixMilli()%500 != 0 {
			t.Errorf("a slow blink changes at %v", s.At)
		}
	}
	// One lamp twice a second, and the three lamps of the load that turn off.
	if n := len(d.Sets); n < 120 || n > 124 {
		t.Errorf("a slow blink takes %d writes a minute, want 120 and 3 for the load", n)
	}
}

// TestPanelButton has all kinds of presses, one after another.
func TestPanelButton(t *testing.T) {
	const s = time.Second
	const ms = time.Millisecond
	clock := newClock()
	d := &gpiotest.FakeDriver{Bar: 1, Clock: clock}
	key := &gpiotest.FakeContact{Clock: clock, Presses: [][2]time.Duration{
		{10 * s, 10*s + 100*ms},                                 // acknowledge
		{20 * s, 20*s + 100*ms}, {20*s + 300*ms, 20*s + 400*ms}, // address
		{60 * s, 61500 * ms},                                     // locate
		{70 * s, 74 * s},                                         // drain
		{80 * s, 89 * s},                                         // shut down
		{100 * s, 130 * s},                                       // something leans on it
		{140 * s, 140*s + 100*ms}, {140*s + 300*ms, 140400 * ms}, // address
		{145 * s, 145*s + 100*ms}, // enough of it
	}}
	in := gpio.Input{Health: gpio.Serving, Faults: gpio.NewFaultSet(gpio.PeerLost), Octet: 7}
	var heard []gpio.ButtonPress
	p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{d}, Contact: key, OnPress: func(press gpio.ButtonPress) {
		heard = append(heard, press)
	}})
	p.Update(in)
	for _, c := range []struct {
		until time.Duration
		want  string
	}{
		{5 * s, "serving; peer lost"},
		{15 * s, "serving; peer lost (acknowledged)"},
		{21 * s, "address ends in 7; serving; peer lost (acknowledged)"},
		{50 * s, "serving; peer lost (acknowledged)"}, // shown twice
		{61*s + 300*ms, "locate: this one here; serving; peer lost (acknowledged)"},
		{65 * s, "serving; peer lost (acknowledged)"}, // this test does not set Locate
		{73500 * ms, "draining"},
		{75 * s, "serving; peer lost (acknowledged)"},
		{88500 * ms, "drained: safe to unplug"},
		{119 * s, "drained: safe to unplug"},
		{121 * s, "serving; peer lost (acknowledged), button stuck"},
		{131 * s, "serving; peer lost (acknowledged)"},
		{141 * s, "address ends in 7; serving; peer lost (acknowledged)"},
		{146 * s, "serving; peer lost (acknowledged)"},
	} {
		runFor(t, p, clock, c.until-clock.Elapsed())
		if got := gpio.Render(p.Input(), 1).Summary; got != c.want {
			t.Errorf("at %v it says %q, want %q", c.until, got, c.want)
		}
	}
	want := []gpio.ButtonPress{gpio.ShortPress, gpio.DoublePress, gpio.LongPress, gpio.DrainPress, gpio.ShutdownPress, gpio.DoublePress, gpio.ShortPress}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}

	// A fault that ends and comes back is a new one.
	p.Update(gpio.Input{Health: gpio.Serving})
	runFor(t, p, clock, s)
	p.Update(in)
	runFor(t, p, clock, s)
	if got := gpio.Render(p.Input(), 1).Summary; got != "serving; peer lost" {
		t.Errorf("a fault that came back reads %q", got)
	}
}

// TestShortPressEndsLocateFirst: somebody who ends locate has not seen the faults.
func TestShortPressEndsLocateFirst(t *testing.T) {
	clock := newClock()
	key := &gpiotest.FakeContact{Clock: clock, Presses: [][2]time.Duration{{time.Second, 1100 * time.Millisecond}}}
	in := gpio.Input{Health: gpio.Serving, Faults: gpio.NewFaultSet(gpio.TooHot), Locate: true}
	var p *gpio.Panel
	p = gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{&gpiotest.FakeDriver{}}, Contact: key, OnPress: func(press gpio.ButtonPress) {
		if press == gpio.ShortPress {
			in.Locate = false
			p.Update(in)
		}
	}})
	p.Update(in)
	runFor(t, p, clock, 3*time.Second)
	if got := gpio.Render(p.Input(), 0).Summary; got != "serving; too hot" {
		t.Errorf("it says %q", got)
	}
}

// TestAddressFromItsBeginning: the address is shown from the long light on,
// whenever it is requested, and twice.
func TestAddressFromItsBeginning(t *testing.T) {
	clock := newClock()
	clock.T = clock.T.Add(987 * time.Millisecond)
	d := &gpiotest.FakeDriver{Clock: clock}
	key := &gpiotest.FakeContact{Clock: clock, Presses: [][2]time.Duration{{100 * time.Millisecond, 200 * time.Millisecond}, {300 * time.Millisecond, 400 * time.Millisecond}}}
	p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{d}, Contact: key})
	p.Update(gpio.Input{Health: gpio.Drained, Octet: 20})
	runFor(t, p, clock, time.Minute)
	var lights []string
	for i, s := range d.Sets {
		if s.Level == gpio.Full && i+1 < len(d.Sets) {
			lights = append(lights, fmt.Sprint(d.Sets[i+1].At.Sub(s.At).Round(25*time.Millisecond)))
		}
	}
	if got := strings.Join(lights, " "); !strings.Contains(got, "1.5s 250ms 250ms 750ms 1.5s 250ms 250ms 750ms 125ms") {
		t.Errorf("lights of %s", got)
	}
}

func TestPanelFailures(t *testing.T) {
	clock := newClock()
	bad, good := &gpiotest.FakeDriver{Bar: 5, Err: errors.New("wire cut")}, &gpiotest.FakeDriver{Bar: 5}
	key := &gpiotest.FakeContact{Clock: clock}
	var failed []string
	p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{bad, good}, Contact: key, OnFailure: func(err error) { failed = append(failed, err.Error()) }})
	p.Update(gpio.Input{Health: gpio.Serving, Load: 1})
	runFor(t, p, clock, time.Second)
	key.Err = errors.New("no such pin")
	runFor(t, p, clock, time.Second)
	want := []string{
		"panel: a fake panel with a bar of 5 lamps has failed and is not used any more: wire cut",
		"panel: a fake button cannot be read and is not used any more: no such pin",
	}
	if !slices.Equal(failed, want) {
		t.Errorf("failures %q, want %q", failed, want)
	}
	if good.Lit() != "######" || !key.Closed {
		t.Errorf("the good one shows %s; key closed: %v", good.Lit(), key.Closed)
	}
}

func TestPanelClose(t *testing.T) {
	for health, kept := range map[gpio.Health]bool{gpio.Serving: false, gpio.Draining: false, gpio.Drained: true} {
		clock := newClock()
		d, key := &gpiotest.FakeDriver{}, &gpiotest.FakeContact{Clock: clock}
		p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{d, onlyDriver{&gpiotest.FakeDriver{}}}, Contact: key})
		p.Update(gpio.Input{Health: health})
		p.Tick()
		if err := p.Close(); err != nil || !d.Closed || !key.Closed || (d.Persisted != nil) != kept {
			t.Errorf("%v: %v, closed %v and %v, kept %v", health, err, d.Closed, key.Closed, d.Persisted)
		}
	}
}

// onlyDriver hides that a fake is a Persister.
type onlyDriver struct{ gpio.Driver }

// A tick of a panel with all its lamps busy allocates nothing.
func TestTickAllocatesNothing(t *testing.T) {
	clock := newClock()
	p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{&gpiotest.FakeDriver{Bar: 8, Levels: make([]gpio.Level, 9)}}, Contact: &gpiotest.FakeContact{Clock: clock}})
	p.Update(gpio.Input{Health: gpio.Serving, Load: 0.3, Faults: gpio.NewFaultSet(gpio.PeerLost, gpio.ButtonStuck), Leader: true, SoldOut: true, DeadSide: gpio.After})
	p.Tick()
	if n := testing.AllocsPerRun(1000, func() { clock.T = clock.T.Add(p.Tick()) }); n != 0 {
		t.Errorf("%v allocations a tick, want none", n)
	}
}

func BenchmarkTick(b *testing.B) {
	for name, in := range map[string]gpio.Input{
		"steady":  {Health: gpio.Serving, Load: 0.5},
		"busiest": {Health: gpio.Serving, Load: 0.3, Faults: gpio.NewFaultSet(gpio.PeerLost, gpio.NoMajority), Leader: true, SoldOut: true, DeadSide: gpio.After},
		"locate":  {Health: gpio.Serving, Locate: true},
	} {
		b.Run(name, func(b *testing.B) {
			clock := newClock()
			p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{&gpiotest.FakeDriver{Bar: 5, Levels: make([]gpio.Level, 6)}}, Contact: &gpiotest.FakeContact{Clock: clock}})
			p.Update(in)
			p.Tick()
			b.ReportAllocs()
			for b.Loop() {
				clock.T = clock.T.Add(p.Tick())
			}
		})
	}
}

func TestWallClock(t *testing.T) {
	c := gpio.NewWallClock(func() time.Duration { return time.Hour })
	if lead := time.Until(c.Now()); lead < 59*time.Minute || lead > 61*time.Minute {
		t.Errorf("with an offset of one hour it is %v ahead", lead)
	}
	for range 2 {
		was := c.Elapsed()
		if err := c.Sleep(t.Context(), time.Millisecond); err != nil || c.Elapsed()-was < time.Millisecond {
			t.Errorf("slept from %v to %v: %v", was, c.Elapsed(), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a sleep that is called off says %v", err)
	}
}

// TestConcurrentUpdates: many goroutines update, one plays; for the race detector.
func TestConcurrentUpdates(t *testing.T) {
	clock := gpio.NewWallClock(nil)
	p := gpio.NewPanel(gpio.Config{Clock: clock, Drivers: []gpio.Driver{&gpiotest.FakeDriver{Bar: 5}}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	for i := 0; ctx.Err() == nil; i++ {
		p.Update(gpio.Input{Health: gpio.Serving, Load: float64(i%10) / 10})
		_ = p.Input()
		time.Sleep(time.Millisecond)
	}
	<-done
}
