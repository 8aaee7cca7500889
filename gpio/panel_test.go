package gpio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// clockAt is a fake clock at a round time of 2026, a whole number of beats and
// of all short patterns since the epoch.
func clockAt() *FakeClock { return &FakeClock{T: time.Unix(1_790_000_016, 0)} }

// run plays for a while of the fake clock.
func run(t *testing.T, p *Panel, clock *FakeClock, d time.Duration) {
	t.Helper()
	clock.End = clock.T.Add(d)
	p.Run(context.Background())
}

func TestPanelPlays(t *testing.T) {
	clock := clockAt()
	five, two := &Fake{Bar: 5, Clock: clock}, &Fake{Bar: 2, Clock: clock, NoHealth: true}
	p := NewPanel(Config{Clock: clock, Drivers: []Driver{five, two}})
	p.Tick()
	if five.Looks() != "......" || two.Looks() != "..." {
		t.Errorf("told nothing it shows %s, %s", five.Looks(), two.Looks())
	}
	p.Update(Input{Health: Serving, Load: 0.6, Faults: NewFaultSet(PeerLost)})
	p.Tick()
	if five.Looks() != "####.." || two.Looks() != ".#." {
		t.Errorf("it shows %s, %s", five.Looks(), two.Looks())
	}
	if p.Input().Load != 0.6 {
		t.Errorf("it says that it shows %+v", p.Input())
	}
}

// TestPanelWritesOnlyChanges: in a minute of a steady state nothing is written,
// of a blinking one one lamp at each change and no other.
func TestPanelWritesOnlyChanges(t *testing.T) {
	clock := clockAt()
	d := &Fake{Bar: 5, Clock: clock}
	p := NewPanel(Config{Clock: clock, Drivers: []Driver{d}})
	p.Update(Input{Health: Serving, Load: 0.6})
	run(t, p, clock, time.Minute)
	if len(d.Sets) != 6 || d.Flushes != 1 {
		t.Errorf("steady: %d writes, %d flushes, want 6 and 1", len(d.Sets), d.Flushes)
	}
	d.Sets, d.Flushes = nil, 0
	p.Update(Input{Health: Joining})
	run(t, p, clock, time.Minute)
	for _, s := range d.Sets[1:] {
		if s.Lamp == HealthLamp && s.At.UnixMilli()%500 != 0 {
			t.Errorf("a slow blink changes at %v", s.At)
		}
	}
	// One lamp twice a second, and the three lamps of the load that went out.
	if n := len(d.Sets); n < 120 || n > 124 {
		t.Errorf("a slow blink takes %d writes a minute, want 120 and 3 for the load", n)
	}
}

// TestPanelButton is a story of somebody at the panel.
func TestPanelButton(t *testing.T) {
	const s = time.Second
	const ms = time.Millisecond
	clock := clockAt()
	d := &Fake{Bar: 1, Clock: clock}
	key := &FakeKey{Clock: clock, Presses: [][2]time.Duration{
		{10 * s, 10*s + 100*ms},                                 // acknowledge
		{20 * s, 20*s + 100*ms}, {20*s + 300*ms, 20*s + 400*ms}, // address
		{60 * s, 61500 * ms},                                     // locate
		{70 * s, 74 * s},                                         // drain
		{80 * s, 89 * s},                                         // shut down
		{100 * s, 130 * s},                                       // something leans on it
		{140 * s, 140*s + 100*ms}, {140*s + 300*ms, 140400 * ms}, // address
		{145 * s, 145*s + 100*ms}, // enough of it
	}}
	told := Input{Health: Serving, Faults: NewFaultSet(PeerLost), Octet: 7}
	var heard []ButtonPress
	p := NewPanel(Config{Clock: clock, Drivers: []Driver{d}, Contact: key, OnPress: func(press ButtonPress) {
		heard = append(heard, press)
	}})
	p.Update(told)
	for _, c := range []struct {
		until time.Duration
		want  string
	}{
		{5 * s, "serving; peer lost"},
		{15 * s, "serving; peer lost (acknowledged)"},
		{21 * s, "address ends in 7; serving; peer lost (acknowledged)"},
		{50 * s, "serving; peer lost (acknowledged)"}, // told twice
		{61*s + 300*ms, "locate: this one here; serving; peer lost (acknowledged)"},
		{65 * s, "serving; peer lost (acknowledged)"}, // the board was not told to locate in this test
		{73500 * ms, "draining"},
		{75 * s, "serving; peer lost (acknowledged)"},
		{88500 * ms, "drained: safe to unplug"},
		{119 * s, "drained: safe to unplug"},
		{121 * s, "serving; peer lost (acknowledged), button stuck"},
		{131 * s, "serving; peer lost (acknowledged)"},
		{141 * s, "address ends in 7; serving; peer lost (acknowledged)"},
		{146 * s, "serving; peer lost (acknowledged)"},
	} {
		run(t, p, clock, c.until-clock.Elapsed())
		if got := Render(p.Input(), 1).Summary; got != c.want {
			t.Errorf("at %v it says %q, want %q", c.until, got, c.want)
		}
	}
	want := []ButtonPress{ShortPress, DoublePress, LongPress, DrainPress, ShutdownPress, DoublePress, ShortPress}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}

	// A fault that has gone and comes back is news.
	p.Update(Input{Health: Serving})
	run(t, p, clock, s)
	p.Update(told)
	run(t, p, clock, s)
	if got := Render(p.Input(), 1).Summary; got != "serving; peer lost" {
		t.Errorf("a fault that came back reads %q", got)
	}
}

// TestShortPressEndsLocateFirst: who ends locate has not seen the faults.
func TestShortPressEndsLocateFirst(t *testing.T) {
	clock := clockAt()
	key := &FakeKey{Clock: clock, Presses: [][2]time.Duration{{time.Second, 1100 * time.Millisecond}}}
	in := Input{Health: Serving, Faults: NewFaultSet(TooHot), Locate: true}
	var p *Panel
	p = NewPanel(Config{Clock: clock, Drivers: []Driver{&Fake{}}, Contact: key, OnPress: func(press ButtonPress) {
		if press == ShortPress {
			in.Locate = false
			p.Update(in)
		}
	}})
	p.Update(in)
	run(t, p, clock, 3*time.Second)
	if got := Render(p.Input(), 0).Summary; got != "serving; too hot" {
		t.Errorf("it says %q", got)
	}
}

// TestAddressFromItsBeginning: the address is told from the long light on,
// whenever it is asked for, and twice.
func TestAddressFromItsBeginning(t *testing.T) {
	for octet := range 256 {
		p := addressPattern(uint8(octet), 0)
		if p.Period() != addressTime(uint8(octet)) {
			t.Fatalf("%d takes %v to tell, and %v is reckoned", octet, p.Period(), addressTime(uint8(octet)))
		}
	}
	clock := clockAt()
	clock.T = clock.T.Add(987 * time.Millisecond)
	d := &Fake{Clock: clock}
	key := &FakeKey{Clock: clock, Presses: [][2]time.Duration{{100 * time.Millisecond, 200 * time.Millisecond}, {300 * time.Millisecond, 400 * time.Millisecond}}}
	p := NewPanel(Config{Clock: clock, Drivers: []Driver{d}, Contact: key})
	p.Update(Input{Health: Drained, Octet: 20})
	run(t, p, clock, time.Minute)
	var lights []string
	for i, s := range d.Sets {
		if s.Level == Full && i+1 < len(d.Sets) {
			lights = append(lights, fmt.Sprint(d.Sets[i+1].At.Sub(s.At).Round(beat*time.Millisecond/5)))
		}
	}
	if got := strings.Join(lights, " "); !strings.Contains(got, "1.5s 250ms 250ms 750ms 1.5s 250ms 250ms 750ms 125ms") {
		t.Errorf("lights of %s", got)
	}
}

func TestPanelFailures(t *testing.T) {
	clock := clockAt()
	bad, good := &Fake{Bar: 5, Err: errors.New("wire cut")}, &Fake{Bar: 5}
	key := &FakeKey{Clock: clock}
	var failed []string
	p := NewPanel(Config{Clock: clock, Drivers: []Driver{bad, good}, Contact: key, OnFailure: func(err error) { failed = append(failed, err.Error()) }})
	p.Update(Input{Health: Serving, Load: 1})
	run(t, p, clock, time.Second)
	key.Err = errors.New("no such pin")
	run(t, p, clock, time.Second)
	want := []string{
		"panel: a fake panel with a bar of 5 lamps has failed and is left alone: wire cut",
		"panel: a fake button cannot be read and is left alone: no such pin",
	}
	if !slices.Equal(failed, want) {
		t.Errorf("told %q, want %q", failed, want)
	}
	if good.Looks() != "######" || !key.Closed {
		t.Errorf("the good one shows %s; key closed: %v", good.Looks(), key.Closed)
	}
}

func TestPanelClose(t *testing.T) {
	for health, kept := range map[Health]bool{Serving: false, Draining: false, Drained: true} {
		clock := clockAt()
		d, key := &Fake{}, &FakeKey{Clock: clock}
		p := NewPanel(Config{Clock: clock, Drivers: []Driver{d, onlyDriver{&Fake{}}}, Contact: key})
		p.Update(Input{Health: health})
		p.Tick()
		if err := p.Close(); err != nil || !d.Closed || !key.Closed || (d.Kept != nil) != kept {
			t.Errorf("%v: %v, closed %v and %v, kept %v", health, err, d.Closed, key.Closed, d.Kept)
		}
	}
}

// onlyDriver hides that a fake can keep.
type onlyDriver struct{ Driver }

// A tick of a panel with all its lamps busy allocates nothing.
func TestTickAllocatesNothing(t *testing.T) {
	clock := clockAt()
	p := NewPanel(Config{Clock: clock, Drivers: []Driver{&Fake{Bar: 8, Levels: make([]Level, 9)}}, Contact: &FakeKey{Clock: clock}})
	p.Update(Input{Health: Serving, Load: 0.3, Faults: NewFaultSet(PeerLost, ButtonStuck), Leader: true, SoldOut: true, DeadSide: After})
	p.Tick()
	if n := testing.AllocsPerRun(1000, func() { clock.T = clock.T.Add(p.Tick()) }); n != 0 {
		t.Errorf("%v allocations a tick, want none", n)
	}
}

func BenchmarkTick(b *testing.B) {
	for name, in := range map[string]Input{
		"steady":  {Health: Serving, Load: 0.5},
		"busiest": {Health: Serving, Load: 0.3, Faults: NewFaultSet(PeerLost, NoMajority), Leader: true, SoldOut: true, DeadSide: After},
		"locate":  {Health: Serving, Locate: true},
	} {
		b.Run(name, func(b *testing.B) {
			clock := clockAt()
			p := NewPanel(Config{Clock: clock, Drivers: []Driver{&Fake{Bar: 5, Levels: make([]Level, 6)}}, Contact: &FakeKey{Clock: clock}})
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
	c := NewWallClock(func() time.Duration { return time.Hour })
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

// TestTold: told by many, played by one; the race detector listens.
func TestTold(t *testing.T) {
	clock := NewWallClock(nil)
	p := NewPanel(Config{Clock: clock, Drivers: []Driver{&Fake{Bar: 5}}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	for i := 0; ctx.Err() == nil; i++ {
		p.Update(Input{Health: Serving, Load: float64(i%10) / 10})
		_ = p.Input()
		time.Sleep(time.Millisecond)
	}
	<-done
}
