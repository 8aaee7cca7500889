package gpio

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestAt(t *testing.T) {
	p := Pattern{Steps: []Step{{Full, 300}, {10, 0}, {Off, 100}, {128, 100}}}
	for ms, want := range map[int]Level{0: Full, 299: Full, 300: Off, 399: Off, 400: 128, 499: 128, 500: Full, -1: 128, -200: Off, -201: Full, 1700: Full, 1800: Off} {
		if got := p.At(time.Duration(ms) * time.Millisecond); got != want {
			t.Errorf("at %d ms: %v, want %v", ms, got, want)
		}
	}
	for _, p := range []Pattern{{}, {Steps: []Step{{Full, 0}}}} {
		if got := p.At(time.Second); got != Off {
			t.Errorf("%v without time is %v, want off", p.Steps, got)
		}
	}
}

// FuzzAt: at any time the level is that of one of the steps, and the same one
// period later.
func FuzzAt(f *testing.F) {
	f.Add(int64(0), uint16(1), uint16(2), uint8(3))
	f.Add(int64(-1), uint16(0), uint16(0), uint8(255))
	f.Add(int64(math.MinInt64), uint16(65535), uint16(65535), uint8(7))
	f.Fuzz(func(t *testing.T, at int64, a, b uint16, level uint8) {
		p := Pattern{Steps: []Step{{Level(level), a}, {Full, b}}}
		got := p.At(time.Duration(at))
		if got != Level(level) && got != Full && !(got == Off && p.Period() == 0) {
			t.Errorf("%v at %d: %v is none of its levels", p.Steps, at, got)
		}
		if next := time.Duration(at) + p.Period(); next > time.Duration(at) && p.At(next) != got {
			t.Errorf("%v at %d: %v, a period later %v", p.Steps, at, got, p.At(next))
		}
	})
}

func TestAtAllocatesNothing(t *testing.T) {
	p := Render(Input{Health: Serving, Faults: NewFaultSet(ButtonStuck)}, 0).Health
	var at time.Duration
	if n := testing.AllocsPerRun(100, func() { p.At(at); at += 40 * time.Millisecond }); n != 0 {
		t.Errorf("%v allocations a tick, want none", n)
	}
}

func TestLevel(t *testing.T) {
	if Level(127).Lit() || !Level(128).Lit() {
		t.Error("a lamp without brightness must be lit from half upwards")
	}
}

func TestTimeline(t *testing.T) {
	p := Pattern{Steps: []Step{{Full, 500}, {Off, 500}}}
	if got := p.Timeline(2*time.Second, 125*time.Millisecond); got != "████____████____" {
		t.Errorf("a slow blink reads %q", got)
	}
	ramp := Pattern{Steps: []Step{{0, 1}, {64, 1}, {128, 1}, {191, 1}, {255, 1}}}
	if got := ramp.Timeline(5*time.Millisecond, time.Millisecond); got != "_░▒▓█" {
		t.Errorf("a ramp reads %q", got)
	}
	if got := p.Timeline(time.Second, 0) + p.Timeline(-1, 1); got != "" {
		t.Errorf("no time to draw gives %q", got)
	}
	if got := len([]rune(p.Timeline(math.MaxInt64, 1))); got != maxCells {
		t.Errorf("%d cells, want at most %d", got, maxCells)
	}
}

// TestShowJSON fixes the form in which the console's page gets a Show.
func TestShowJSON(t *testing.T) {
	data, err := json.Marshal(Render(Input{Health: Joining}, 1))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"health":{"name":"slow blink","steps":[{"level":255,"ms":500},{"level":0,"ms":500}]},` +
		`"bar":[{"name":"dark","steps":[{"level":0,"ms":1000}]}],"summary":"joining"}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}
