package gpio

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden timelines")

// allInputs returns all inputs that differ on the health lamp: each
// state with each set of faults, and locate.
func allInputs() map[string]Input {
	all := map[string]Input{
		"stopped": {Health: Stopped},
		"locate":  {Health: Serving, Locate: true},
	}
	for octet := range 256 {
		all[fmt.Sprintf("address %d", octet)] = Input{Health: Serving, Address: true, Octet: uint8(octet)}
	}
	for h := Starting; h <= Drained; h++ {
		known := NewFaultSet(PeerLost)
		all[fmt.Sprintf("%v; acknowledged", h)] = Input{Health: h, Faults: known, Acknowledged: known}
		for set := 0; set < 1<<(lastFault-firstFault+1); set++ {
			in := Input{Health: h, Faults: FaultSet(set << firstFault)}
			all[fmt.Sprintf("%v; %v", h, in.Faults)] = in
		}
	}
	return all
}

// canonicalForm is a pattern as somebody sees it who does not know when it began:
// in beats, without repetition, from the offset that makes it smallest.
func canonicalForm(t *testing.T, p Pattern) string {
	t.Helper()
	if p.Period()%(beat*time.Millisecond) != 0 {
		t.Fatalf("%q lasts %v, which is no whole number of beats", p.Name, p.Period())
	}
	s := strings.NewReplacer("_", "0", "█", "1").Replace(p.Timeline(p.Period(), beat*time.Millisecond))
	// The first offset at which the doubled text repeats is its shortest period.
	s = s[:strings.Index((s + s)[1:], s)+1]
	// The smallest rotation by Booth's two-pointer method.
	n, i, j, k := len(s), 0, 1, 0
	for i < n && j < n && k < n {
		a, b := s[(i+k)%n], s[(j+k)%n]
		switch {
		case a == b:
			k++
			continue
		case a > b:
			i += k + 1
		default:
			j += k + 1
		}
		if i == j {
			j++
		}
		k = 0
	}
	i = min(i, j)
	return s[i:] + s[:i]
}

// TestNoTwoStatesAlike is the promise of the language: on one lamp that is
// only on and off, no two states and sets of faults look the same, wherever in
// the pattern the watching begins.
func TestNoTwoStatesAlike(t *testing.T) {
	by := map[string]string{}
	for name, in := range allInputs() {
		look := canonicalForm(t, Render(in, 0).Health)
		if other, taken := by[look]; taken {
			t.Errorf("%q and %q look alike: %s", name, other, look)
		}
		by[look] = name
	}
}

// TestFlashesCount counts the flashes of each fault as a person would: short
// lights between two longer darks.
func TestFlashesCount(t *testing.T) {
	for h := Starting; h <= Drained; h++ {
		for f := firstFault; f <= lastFault; f++ {
			p := Render(Input{Health: h, Faults: NewFaultSet(f)}, 0).Health
			flashes := 0
			for i, s := range p.Steps {
				// A flash of a code is followed by its gap or, last, by the tail.
				if s.Level == Full && s.MS == codeFlash && i+1 < len(p.Steps) && p.Steps[i+1].MS <= codeGap+codeTail && p.Steps[i+1].MS >= codeGap {
					flashes++
				}
			}
			if h == Starting { // its own two blinks are as short, the last of them before the code's pause
				flashes--
			}
			if flashes != int(f) {
				t.Errorf("%v; %v: %d flashes, want %d: %v", h, f, flashes, f, p.Steps)
			}
		}
	}
}

func TestRender(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Input
		code string // name of the health lamp's code
		bar  []Level
		says string
	}{
		{"nothing known", Input{}, "dark", []Level{0, 0, 0, 0, 0}, "dark: nothing runs here"},
		{"starting", Input{Health: Starting, Load: 1}, "slow short blink", []Level{0, 0, 0, 0, 0}, "starting"},
		{"joining", Input{Health: Joining}, "slow blink", []Level{0, 0, 0, 0, 0}, "joining"},
		{"idle", Input{Health: Serving}, "steady", []Level{0, 0, 0, 0, 0}, "serving"},
		{"half", Input{Health: Serving, Load: 0.5}, "steady", []Level{255, 255, 128, 0, 0}, "serving"},
		{"full", Input{Health: Serving, Load: 1}, "steady", []Level{255, 255, 255, 255, 255}, "serving"},
		{"beyond", Input{Health: Serving, Load: math.Inf(1)}, "steady", []Level{255, 255, 255, 255, 255}, "serving"},
		{"below", Input{Health: Serving, Load: -3}, "steady", []Level{0, 0, 0, 0, 0}, "serving"},
		{"no number", Input{Health: Serving, Load: math.NaN()}, "steady", []Level{0, 0, 0, 0, 0}, "serving"},
		{"draining shows its load", Input{Health: Draining, Load: 0.2}, "slow long blink", []Level{255, 0, 0, 0, 0}, "draining"},
		{"drained", Input{Health: Drained, Load: 0.2}, "short flash every three seconds", []Level{0, 0, 0, 0, 0}, "drained: safe to unplug"},
		{"two faults", Input{Health: Serving, Faults: NewFaultSet(OriginDown, PeerLost)}, "steady, then 2 flashes, then 3 flashes",
			[]Level{0, 0, 0, 0, 0}, "serving; peer lost, origin down"},
		{"locate outweighs a fault", Input{Health: Serving, Faults: NewFaultSet(TooHot), Locate: true}, "fast blink",
			[]Level{255, 255, 255, 255, 255}, "locate: this one here; serving; too hot"},
		{"a dead lamp cannot be located", Input{Health: Stopped, Locate: true}, "dark", []Level{0, 0, 0, 0, 0}, "dark: nothing runs here"},
		{"state of a later version", Input{Health: 200, Load: 1}, "dark", []Level{0, 0, 0, 0, 0}, "dark: in a state that this version does not know"},
	} {
		t.Run(c.name, func(t *testing.T) {
			show := Render(c.in, DefaultLamps)
			var bar []Level
			for _, p := range show.Bar {
				bar = append(bar, p.At(0))
			}
			if show.Health.Name != c.code || show.Summary != c.says || !slices.Equal(bar, c.bar) {
				t.Errorf("got %q, %v, %q\nwant %q, %v, %q", show.Health.Name, bar, show.Summary, c.code, c.bar, c.says)
			}
		})
	}
}

func TestRenderBoundsLamps(t *testing.T) {
	for lamps, want := range map[int]int{-1: 0, 0: 0, 1: 1, MaxLamps: MaxLamps, MaxLamps + 1: MaxLamps, math.MaxInt: MaxLamps} {
		if got := len(Render(Input{Health: Serving}, lamps).Bar); got != want {
			t.Errorf("%d lamps asked for: %d, want %d", lamps, got, want)
		}
	}
}

func TestFaults(t *testing.T) {
	s := NewFaultSet(NoMajority, PeerLost, 0, 1, 77)
	if got := s.String(); got != "peer lost, no majority" {
		t.Errorf("set reads %q", got)
	}
	if s.Len() != 2 || !s.Has(PeerLost) || s.Has(TooHot) || s.Has(0) || s.With(99) != s {
		t.Errorf("set %v is not the set of its two faults", s)
	}
	if stray := FaultSet(0xf803); stray.Len() != 0 || stray.List() != nil || stray.Words() != nil {
		t.Errorf("unknown bits read as %v", stray.List())
	}
}

// TestPanelGolden compares the text of a whole panel with testdata/panel.txt: one
// beat (125 ms) a character.
func TestPanelGolden(t *testing.T) {
	show := Render(Input{Health: Serving, Load: 0.55, Faults: NewFaultSet(PeerLost)}, DefaultLamps)
	compareGolden(t, "panel.txt", show.Timeline(3*time.Second, beat*time.Millisecond))
}
