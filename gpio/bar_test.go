package gpio

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// litLamps draws the bar at a time, first lamp first: "11000".
func litLamps(bar []Pattern, at time.Duration) string {
	var b strings.Builder
	for _, p := range bar {
		if p.At(at).Lit() {
			b.WriteByte('1')
		} else {
			b.WriteByte('0')
		}
	}
	return b.String()
}

func TestPeakDot(t *testing.T) {
	for _, c := range []struct {
		load, peak float64
		want       string
	}{
		{0, 0, "00000"},
		{0.4, 0.4, "11000"},
		{0.4, 0.8, "11010"},
		{0.4, 1, "11001"},
		{0.4, 0.45, "11000"}, // no lamp of its own yet
		{0.4, 0.5, "11100"},
		{0, 0.2, "10000"},
		{1, 1, "11111"},
		{0.2, 77, "10001"},
		{0.2, math.NaN(), "10000"},
	} {
		if got := litLamps(Render(Input{Health: Serving, Load: c.load, Peak: c.peak}, 5).Bar, 0); got != c.want {
			t.Errorf("load %v, peak %v: %s, want %s", c.load, c.peak, got, c.want)
		}
	}
}

func TestPriorities(t *testing.T) {
	full := Input{Health: Serving, Faults: NewFaultSet(TooHot), Load: 0.4, Locate: true, Address: true, Octet: 7, Leader: true,
		SoldOut: true, DeadSide: After, OpensAt: 100 * time.Second, PurgedAt: 100 * time.Second, Now: 100 * time.Second}
	for _, c := range []struct {
		drop        func(*Input)
		health, bar string
	}{
		{func(*Input) {}, "a long light, then the digits 7", "a long light, then the digits 7"},
		{func(in *Input) { in.Address = false }, "fast blink", "fast blink"},
		{func(in *Input) { in.Locate = false }, "steady, then 7 flashes", "countdown"},
		{func(in *Input) { in.OpensAt = 0 }, "steady, then 7 flashes", "purge wave"},
		{func(in *Input) { in.PurgedAt = 0 }, "steady, then 7 flashes", "load with leader mark, then points at the board after this one, then curtain"},
		{func(in *Input) { in.Acknowledged = in.Faults }, "steady, then 1 flash", "load with leader mark, then points at the board after this one, then curtain"},
		{func(in *Input) { in.Leader, in.SoldOut = false, false }, "steady, then 1 flash", "load, then points at the board after this one"},
		{func(in *Input) { in.DeadSide, in.Faults = 0, 0 }, "steady", "steady"},
		{func(in *Input) { in.Health, in.Leader = Joining, true }, "slow blink", "dark"},
		{func(in *Input) { in.Health, in.Address = Stopped, true }, "dark", "dark"},
	} {
		c.drop(&full)
		show := Render(full, 5)
		if show.Health.Name != c.health || show.Bar[0].Name != c.bar {
			t.Errorf("got %q, %q\nwant %q, %q", show.Health.Name, show.Bar[0].Name, c.health, c.bar)
		}
	}
}

// TestCountdown: ten seconds before the opening the bar is full, it runs down
// with a short gap each second, and lights up when the sale opens; whatever the load
// and whenever the sale opens.
func TestCountdown(t *testing.T) {
	for _, opens := range []time.Duration{100 * time.Second, 1_900_000_000*time.Second + 437*time.Millisecond} {
		for _, load := range []float64{0, 0.4, 1} {
			in := Input{Health: Serving, Load: load, OpensAt: opens}
			for from, want := range map[time.Duration]string{
				-10*time.Second + 1: "11111", -8*time.Second - 200*time.Millisecond: "11111",
				-8 * time.Second: "11110", -6 * time.Second: "11100", -4 * time.Second: "11000", -2 * time.Second: "10000",
				-time.Second: "10000", -50 * time.Millisecond: "00000", -9*time.Second - 50*time.Millisecond: "00000",
				0: "11111", 1999 * time.Millisecond: "11111",
				-11 * time.Second: litLamps(Render(Input{Health: Serving, Load: load}, 5).Bar, 0),
				3 * time.Second:   litLamps(Render(Input{Health: Serving, Load: load}, 5).Bar, 0),
			} {
				in.Now = opens + from
				if got := litLamps(Render(in, 5).Bar, in.Now); got != want {
					t.Errorf("load %v, %v from the opening: %s, want %s", load, from, got, want)
				}
			}
		}
	}
}

// TestCountdownInStep: boards that render at other moments, with other loads, show
// the same lamps at the same time.
func TestCountdownInStep(t *testing.T) {
	const opens = 1_900_000_000_123 * time.Millisecond
	first := Render(Input{Health: Serving, OpensAt: opens, Now: opens - 15*time.Second}, 5)
	other := Render(Input{Health: Draining, Load: 0.9, OpensAt: opens, Now: opens - time.Second, Leader: true, SoldOut: true}, 5)
	for at := opens - 10*time.Second; at < opens+2*time.Second; at += 10 * time.Millisecond {
		if a, b := litLamps(first.Bar, at), litLamps(other.Bar, at); a != b {
			t.Fatalf("%v from the opening: %s and %s", at-opens, a, b)
		}
	}
}

// TestMomentsPass: a moment is shown when it is near, and then no more.
func TestMomentsPass(t *testing.T) {
	plain := Input{Health: Serving}
	for from, shown := range map[time.Duration]bool{-openBefore - 1: false, -openBefore: true, 0: true, openAfter - 1: true, openAfter: false} {
		in := plain
		in.OpensAt, in.Now = 1000*time.Second, 1000*time.Second+from
		if got := in.normalized() != plain; got != shown {
			t.Errorf("%v from the opening it is shown: %v", from, got)
		}
	}
	for from, shown := range map[time.Duration]bool{-purgeBefore - 1: false, -purgeBefore: true, 0: true, purgeAfter - 1: true, purgeAfter: false} {
		in := plain
		in.PurgedAt, in.Now = 1000*time.Second, 1000*time.Second+from
		if got := in.normalized() != plain; got != shown {
			t.Errorf("%v from the purge it is shown: %v", from, got)
		}
	}
	if long := (2*maxBarSteps - 1) * beat * time.Millisecond; long > purgeAfter {
		t.Errorf("a wave takes %v and is shown for %v", long, purgeAfter)
	}
}

func TestPurgeWave(t *testing.T) {
	in := Input{Health: Serving, Load: 0.4, PurgedAt: 50 * time.Second, Now: 50 * time.Second}
	bar := Render(in, 5).Bar
	var got []string
	for k := -1; k < 10; k++ {
		got = append(got, litLamps(bar, in.PurgedAt+time.Duration(k)*beat*time.Millisecond))
	}
	want := strings.Fields("11000 01000 10000 11100 11010 11001 11010 11100 10000 01000 11000")
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestPointing(t *testing.T) {
	for side, want := range map[Side]string{
		After:          "10000 01000 00100 00010 00001",
		Before:         "00001 00010 00100 01000 10000",
		Before | After: "00100 00100 01010 01010 10001 10001",
	} {
		bar := Render(Input{Health: Serving, DeadSide: side}, 5).Bar
		var got []string
		for k := range strings.Count(want, " ") + 1 {
			got = append(got, litLamps(bar, time.Duration(loadBeats+2+k)*beat*time.Millisecond))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v: got %v, want %s", side, got, want)
		}
	}
}

func TestSideOf(t *testing.T) {
	rack := []string{"a", "b", "c", "d"}
	for _, c := range []struct {
		order []string
		self  string
		dead  string
		want  Side
	}{
		{rack, "a", "b", After}, {rack, "c", "b", Before}, {rack, "d", "b", 0}, {rack, "b", "b", 0},
		{rack, "a", "d", Before}, {rack, "d", "a", After}, {rack, "c", "bd", Before | After},
		{rack[:2], "a", "b", After}, {rack[:2], "b", "a", Before}, {rack[:1], "a", "a", 0}, {nil, "a", "b", 0}, {rack, "x", "ab", 0},
	} {
		if got := SideOf(c.order, c.self, func(b string) bool { return strings.Contains(c.dead, b) }); got != c.want {
			t.Errorf("%v, %s dead, %s points at %q, want %q", c.order, c.dead, c.self, got, c.want)
		}
	}
}

// TestPatternsFit: no pattern is longer than a Step can count, and every bar
// lamp lasts as long as its neighbours, at any size.
func TestPatternsFit(t *testing.T) {
	for n := 1; n <= MaxLamps; n++ {
		for _, in := range []Input{
			{Leader: true, SoldOut: true, DeadSide: Before | After}, {DeadSide: After}, {SoldOut: true},
			{OpensAt: 77 * time.Second, Now: 77 * time.Second}, {PurgedAt: 77 * time.Second, Now: 77 * time.Second},
		} {
			in.Health, in.Load = Serving, 0.5
			bar := Render(in, n).Bar
			for i, p := range bar {
				if p.Period() != bar[0].Period() || p.Period() == 0 {
					t.Fatalf("%d lamps: lamp %d lasts %v, the first %v", n, i+1, p.Period(), bar[0].Period())
				}
			}
		}
	}
}

func FuzzRotateSteps(f *testing.F) {
	f.Add(uint16(100), uint16(50), uint16(300), int64(70), int64(0))
	f.Add(uint16(1), uint16(0), uint16(65535), int64(-99), int64(5))
	f.Fuzz(func(t *testing.T, a, b, c uint16, start, at int64) {
		steps := []Step{{Full, a}, {7, b}, {Off, c}}
		if (Pattern{Steps: steps}).Period() == 0 {
			return
		}
		start, at = start%1_000_000, at%1_000_000
		got := Pattern{Steps: rotateSteps(steps, time.Duration(start)*time.Millisecond)}
		if got.Period() != (Pattern{Steps: steps}).Period() {
			t.Fatalf("%v turned by %d ms is %v", steps, start, got.Steps)
		}
		if x, y := got.At(time.Duration(start+at)*time.Millisecond), (Pattern{Steps: steps}).At(time.Duration(at)*time.Millisecond); x != y {
			t.Errorf("%v turned by %d ms: %v after its start, want %v", steps, start, x, y)
		}
	})
}

func TestLoadMeter(t *testing.T) {
	var m LoadMeter
	if load, peak := m.Add(0.5, 0); load != 0.5 || peak != 0.5 {
		t.Errorf("the first sample is shown as %v, %v", load, peak)
	}
	if load, _ := m.Add(1, meterSmooth); math.Abs(load-(1-0.5/math.E)) > 1e-9 {
		t.Errorf("after one time constant: %v", load)
	}
	if load, _ := m.Add(math.NaN(), meterSmooth); math.IsNaN(load) {
		t.Error("what is no number got in")
	}
	var held []float64
	_, high := m.Add(1, 3*time.Second)
	for s := 4; s < 40; s++ {
		load, peak := m.Add(0, time.Duration(s)*time.Second)
		if peak < load {
			t.Fatalf("peak %v under load %v", peak, load)
		}
		held = append(held, peak)
	}
	if held[4] != high || held[5] >= high || held[35] > 0.01 {
		t.Errorf("the peak of %v was held as %v", high, held)
	}
	if load, _ := m.Add(0.001, time.Second); load > 0.01 {
		t.Errorf("a clock that goes back gives %v", load)
	}
}

// TestSmoothing has a crowd.s noise at the edge of a lamp, the worst place: 100
// arrivals a second on average, at random. Unsmoothed, the lamp changes about
// every other second; smoothed, it may once in twenty seconds.
func TestSmoothing(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	flicker := func(load func(raw float64, at time.Duration) float64) int {
		changes, before := 0, ""
		for s := range 600 {
			arrivals := 0
			for range 1000 {
				if noise.Float64() < 0.1 {
					arrivals++
				}
			}
			now := litLamps(Render(Input{Health: Serving, Load: load(float64(arrivals)/200, time.Duration(s)*time.Second)}, 5).Bar, 0)
			if now != before {
				changes++
			}
			before = now
		}
		return changes
	}
	var m LoadMeter
	rough := flicker(func(raw float64, _ time.Duration) float64 { return raw })
	smooth := flicker(func(raw float64, at time.Duration) float64 { load, _ := m.Add(raw, at); return load })
	t.Logf("changes in ten minutes: %d raw, %d smoothed", rough, smooth)
	if rough < 150 || smooth > 30 {
		t.Errorf("changes in ten minutes: %d raw, %d smoothed", rough, smooth)
	}
}
