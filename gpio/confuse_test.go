package gpio

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The observation windows: how long somebody looks at one lamp, at any time,
// before he must know what it says. It is what it takes to see the longest count
// begin and end, wherever in it one begins to look.
const (
	lookAtHealth  = 18 * time.Second
	lookAtAddress = 30 * time.Second
	lookAtBar     = 12 * time.Second
)

// glimpses gives every window of the length d that a pattern can show, with only
// light and dark left: what is seen by somebody who sees no colours, begins to
// look at any beat and cannot remember more than the window.
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

// apart fails for every two of the named sets that share a glimpse.
func apart(t *testing.T, sets map[string]map[string]bool) {
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

// healthLooks gives the glimpses of every state with no fault, with each one, and
// with an acknowledged one.
func healthLooks(d time.Duration) map[string]map[string]bool {
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

// TestOneLampOneLook: on one lamp, every state is known after one look of the
// window's length. Several faults at once are told apart by counting each
// (TestNoTwoStatesAlike).
func TestOneLampOneLook(t *testing.T) { apart(t, healthLooks(lookAtHealth)) }

// TestAddressesApart: no two addresses look alike, nor like any state.
func TestAddressesApart(t *testing.T) {
	sets := healthLooks(lookAtAddress)
	for octet := range 256 {
		p := Render(Input{Health: Serving, Address: true, Octet: uint8(octet)}, 0).Health
		if p.Period() > lookAtAddress {
			t.Errorf("%d takes %v to tell, longer than the window", octet, p.Period())
		}
		sets[fmt.Sprint(octet)] = glimpses(lookAtAddress, p)
	}
	apart(t, sets)
}

// TestBarStoriesApart: on bars of 3 to 10 lamps, each story is told from each
// other by light and dark alone, whatever the load.
func TestBarStoriesApart(t *testing.T) {
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
				if in.OpensAt != 0 { // told once: look at the ten seconds and the opening
					bar = cut(bar, in.OpensAt-10*time.Second, lookAtBar)
				}
				for g := range glimpses(lookAtBar, bar...) {
					all[g] = true
				}
			}
			sets[name] = all
		}
		apart(t, sets)
	}
}

// cut makes of each pattern one that is nothing but its part from a time on.
func cut(lamps []Pattern, from, d time.Duration) []Pattern {
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
	for name, in := range every() {
		for _, s := range Render(in, 0).Health.Steps {
			if s.Level != Off && s.Level != Full {
				t.Errorf("%s: the health lamp is at %v", name, s.Level)
			}
		}
	}
}
