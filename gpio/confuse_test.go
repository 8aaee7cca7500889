package gpio

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The observation windows: the time for which somebody watches one lamp, from any
// moment, to know what it shows: enough to see the longest count
// begin and end, wherever the watching begins.
const (
	healthWindow  = 18 * time.Second
	addressWindow = 30 * time.Second
	barWindow     = 12 * time.Second
)

// glimpses returns every window of the length d that a pattern can show, with only
// light and dark: what is seen by somebody who sees no colours, begins to
// watch at any beat and cannot remember more than the window.
func glimpses(d time.Duration, lamps ...Pattern) map[string]bool {
	period := int64(1)
	for _, p := range lamps {
		period = lcm(period, p.Period().Milliseconds()/beat)
	}
	beats := int(d.Milliseconds() / beat)
	var whole strings.Builder
	for b := range int(period) + beats {
		for _, p := range lamps {
			if p.At(time.Duration(b)*beat*time.Millisecond + beat*time.Millisecond/2).Lit() {
				whole.WriteByte('1')
			} else {
				whole.WriteByte('0')
			}
		}
	}
	seen := map[string]bool{}
	for b := range int(period) {
		seen[whole.String()[b*len(lamps):(b+beats)*len(lamps)]] = true
	}
	return seen
}

func lcm(a, b int64) int64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}

// checkApart fails for every two of the named sets that share a glimpse.
func checkApart(t *testing.T, sets map[string]map[string]bool) {
	t.Helper()
	whose := map[string]string{}
	for name, set := range sets {
		for g := range set {
			if other, taken := whose[g]; taken && other != name {
				t.Errorf("%q and %q can show the same for the whole window", name, other)
				break
			}
			whose[g] = name
		}
	}
}

// healthGlimpses returns the glimpses of every state with no fault, with each one, and
// with an acknowledged one.
func healthGlimpses(d time.Duration) map[string]map[string]bool {
	sets := map[string]map[string]bool{
		"stopped": glimpses(d, Render(Input{}, 0).Health),
		"locate":  glimpses(d, Render(Input{Health: Serving, Locate: true}, 0).Health),
	}
	for h := Starting; h <= Drained; h++ {
		sets[h.String()] = glimpses(d, Render(Input{Health: h}, 0).Health)
		for f := firstFault; f <= lastFault; f++ {
			sets[fmt.Sprintf("%v; %v", h, f)] = glimpses(d, Render(Input{Health: h, Faults: NewFaultSet(f)}, 0).Health)
		}
		known := Input{Health: h, Faults: NewFaultSet(TooHot), Acknowledged: NewFaultSet(TooHot)}
		sets[h.String()+"; acknowledged"] = glimpses(d, Render(known, 0).Health)
	}
	return sets
}

// TestOneLampOneWindow: on one lamp, every state is known after one window of
// watching. Several faults at once are told apart by counting each
// (TestNoTwoStatesAlike).
func TestOneLampOneWindow(t *testing.T) { checkApart(t, healthGlimpses(healthWindow)) }

// TestAddressesApart: no two addresses look alike, nor like any state.
func TestAddressesApart(t *testing.T) {
	sets := healthGlimpses(addressWindow)
	for octet := range 256 {
		p := Render(Input{Health: Serving, Address: true, Octet: uint8(octet)}, 0).Health
		if p.Period() > addressWindow {
			t.Errorf("%d takes %v to tell, longer than the window", octet, p.Period())
		}
		sets[fmt.Sprint(octet)] = glimpses(addressWindow, p)
	}
	checkApart(t, sets)
}

// TestBarSignsApart: on bars of 3 to 10 lamps, each sign differs from each
// other in light and dark alone, whatever the load.
func TestBarSignsApart(t *testing.T) {
	stories := map[string]Input{
		"load":         {},
		"leader":       {Leader: true},
		"sold out":     {SoldOut: true},
		"points up":    {DeadSide: After},
		"points down":  {DeadSide: Before},
		"points both":  {DeadSide: Before | After},
		"leader, sold": {Leader: true, SoldOut: true},
		"all of it":    {Leader: true, SoldOut: true, DeadSide: After},
		"locate":       {Locate: true},
		"address":      {Address: true, Octet: 111},
		"countdown":    {OpensAt: 100 * time.Second, Now: 90 * time.Second},
	}
	for lamps := 3; lamps <= 10; lamps++ {
		sets := map[string]map[string]bool{}
		for name, in := range stories {
			all := map[string]bool{}
			for eighth := range 9 {
				in.Health, in.Load = Serving, float64(eighth)/8
				bar := Render(in, lamps).Bar
				if in.OpensAt != 0 { // shown once: only the ten seconds and the opening
					bar = cutFrom(bar, in.OpensAt-10*time.Second, barWindow)
				}
				for g := range glimpses(barWindow, bar...) {
					all[g] = true
				}
			}
			sets[name] = all
		}
		checkApart(t, sets)
	}
}

// cutFrom replaces each pattern by its part from a time on.
func cutFrom(lamps []Pattern, from, d time.Duration) []Pattern {
	var out []Pattern
	for _, p := range lamps {
		part := Pattern{Name: p.Name}
		for at := time.Duration(0); at < d; at += beat * time.Millisecond {
			part.Steps = append(part.Steps, Step{p.At(from + at), beat})
		}
		out = append(out, part)
	}
	return out
}

// TestHealthIsLightOrDark: the health lamp needs no brightness.
func TestHealthIsLightOrDark(t *testing.T) {
	for name, in := range allInputs() {
		for _, s := range Render(in, 0).Health.Steps {
			if s.Level != Off && s.Level != Full {
				t.Errorf("%s: the health lamp is at %v", name, s.Level)
			}
		}
	}
}
