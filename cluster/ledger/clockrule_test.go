package ledger

import (
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

func TestDecideClock(t *testing.T) {
	set := func(ahead ...time.Duration) (list []clockReading) {
		for i, a := range ahead {
			list = append(list, clockReading{Board: string(rune('a' + i)), Ahead: a, Set: true})
		}
		return list
	}
	unset := func(list []clockReading, n int) []clockReading {
		for range n {
			list = append(list, clockReading{Board: "u", Ahead: -56 * 365 * day})
		}
		return list
	}
	synced := func(n int, ahead time.Duration) []clockReading {
		return []clockReading{{Board: "a", Ahead: ahead, Set: true, Servers: n}}
	}
	runs := clockInput{Known: true, Followed: true, Passed: time.Second, Waited: time.Minute}
	setLate := clockInput{Known: true, Passed: time.Second}
	unreal := clockInput{Known: true, Unreal: true, Passed: time.Second}
	override := clockInput{Known: true, Followed: true, Override: true, Passed: time.Second}
	stepped := clockInput{Known: true, Followed: true, Stepped: 29 * day, Passed: time.Second}
	starts := clockInput{}
	waited := clockInput{Waited: decisionWait}
	fresh := clockInput{Fresh: true}
	freshWaited := clockInput{Fresh: true, Waited: decisionWait}
	for _, tt := range []struct {
		name     string
		in       clockInput
		voters   int
		readings []clockReading
		want     clockDecision // Held: a part of the text
	}{
		// A rack that runs.
		{"all agree", runs, 3, set(0, 0, 0), clockDecision{Known: true, Agreed: true}},
		{"a little behind", runs, 3, set(time.Second, time.Second, time.Second),
			clockDecision{Known: true, Agreed: true, Target: time.Second, Slew: 50 * time.Millisecond}},
		{"a little ahead", runs, 3, set(-time.Second, -2*time.Second, -2*time.Second),
			clockDecision{Known: true, Agreed: true, Target: -2 * time.Second, Slew: -50 * time.Millisecond}},
		{"one two hours fast", runs, 3, set(2*time.Hour, 0, 10*time.Millisecond),
			clockDecision{Known: true, Agreed: true}},
		{"one 400 days fast", runs, 3, set(0, 400*day, 0), clockDecision{Known: true, Agreed: true}},
		{"one in 1970", runs, 3, unset(set(0, 0), 1), clockDecision{Known: true, Agreed: true}},
		{"one silent", runs, 3, set(0, 0), clockDecision{Known: true, Agreed: true}},
		{"one silent, one fast", runs, 3, set(0, time.Hour), clockDecision{Known: true, Held: "the boards' clocks differ: a +0s, b +1h0m0s; 2 must agree"}},
		{"two silent", runs, 3, set(time.Hour), clockDecision{Known: true, Held: "only 1 of 2 boards"}},
		{"all unset", runs, 3, unset(nil, 3), clockDecision{Known: true, Held: "no board's clock is set"}},
		{"three that differ", runs, 3, set(-time.Hour, 0, time.Hour), clockDecision{Known: true, Held: "differ"}},
		{"the majority is wrong", runs, 3, set(0, 2*time.Hour, 2*time.Hour),
			clockDecision{Known: true, Agreed: true, Target: 2 * time.Hour, Step: 2 * time.Hour}},
		{"most go far forward", runs, 3, set(0, 400*day, 400*day),
			clockDecision{Known: true, Agreed: true, Target: 400 * day, Step: 400 * day, Far: true}},
		{"steps add up", stepped, 3, set(0, 2*day, 2*day), clockDecision{Known: true, Agreed: true, Target: 2 * day, Step: 2 * day, Far: true}},
		{"an operator set it back", override, 3, set(2*time.Hour, 2*time.Hour, 2*time.Hour),
			clockDecision{Known: true, Agreed: true, Target: 2 * time.Hour, Held: "most boards say +2h0m0s"}},
		{"an operator set it forward", override, 1, set(-time.Hour), clockDecision{Known: true, Agreed: true, Target: -time.Hour, Held: "say -1h0m0s"}},
		{"the boards agree with the operator", override, 3, set(0, 30*time.Second, 30*time.Second),
			clockDecision{Known: true, Agreed: true, Target: 30 * time.Second, Step: 30 * time.Second, Follow: true}},
		{"the ledger is far ahead", runs, 3, set(-400*day, -400*day, -400*day),
			clockDecision{Known: true, Agreed: true, Target: -400 * day, Slew: -50 * time.Millisecond, Held: "400d0h ahead of the boards' clocks"}},
		{"two voters of five are wrong", runs, 3, set(time.Hour, time.Hour, 0, 0, 0), clockDecision{Known: true, Agreed: true}},
		{"two against two of four", runs, 3, set(time.Hour, time.Hour, 0, 0), clockDecision{Known: true, Held: "3 must agree, and at most 2 do"}},
		{"a long pause counts a little", clockInput{Known: true, Passed: time.Hour}, 3, set(4*time.Second, 4*time.Second),
			clockDecision{Known: true, Agreed: true, Target: 4 * time.Second, Slew: 500 * time.Millisecond}},
		// A rack of two.
		{"two agree", runs, 2, set(time.Hour, time.Hour+time.Second), clockDecision{Known: true, Agreed: true, Target: time.Hour, Step: time.Hour}},
		{"two differ", runs, 2, set(0, 2*time.Hour), clockDecision{Known: true, Held: "differ"}},
		{"one of two unset", runs, 2, unset(set(0), 1), clockDecision{Known: true, Held: "only 1 of 2"}},
		// A lone board.
		{"alone", runs, 1, set(0), clockDecision{Known: true, Agreed: true}},
		{"alone, small", runs, 1, set(5 * time.Second), clockDecision{Known: true, Agreed: true, Target: 5 * time.Second, Slew: 50 * time.Millisecond}},
		{"alone, leaps while it runs", runs, 1, set(time.Minute), clockDecision{Known: true, Target: time.Minute, Held: "ahead of the ledger's"}},
		{"alone, one server", runs, 1, synced(1, time.Minute), clockDecision{Known: true, Target: time.Minute, Held: "not 2 time servers"}},
		{"alone, several servers", runs, 1, synced(2, time.Minute), clockDecision{Known: true, Agreed: true, Target: time.Minute, Step: time.Minute}},
		{"alone, after days off", starts, 1, set(3 * day), clockDecision{Known: true, Agreed: true, Target: 3 * day, Step: 3 * day}},
		{"alone, a year later", starts, 1, set(400 * day), clockDecision{Known: true, Target: 400 * day, Held: "ahead of the ledger's"}},
		{"alone, a year later by several servers", starts, 1, synced(3, 400*day),
			clockDecision{Known: true, Agreed: true, Target: 400 * day, Step: 400 * day, Far: true}},
		{"alone, in a ledger of 2028", starts, 1, set(-700 * day), clockDecision{Known: true, Agreed: true, Target: -700 * day, Held: "ahead"}},
		{"alone, set after the start", setLate, 1, synced(1, 10*time.Hour), clockDecision{Known: true, Agreed: true, Target: 10 * time.Hour, Step: 10 * time.Hour}},
		{"alone, first set after 1970", unreal, 1, synced(1, 56*365*day), clockDecision{Known: true, Agreed: true, Target: 56 * 365 * day, Step: 56 * 365 * day}},
		// A start of all boards.
		{"first set after 1970", unreal, 3, set(56*365*day, 56*365*day), clockDecision{Known: true, Agreed: true, Target: 56 * 365 * day, Step: 56 * 365 * day}},
		{"after a night", starts, 3, set(10*time.Hour, 10*time.Hour), clockDecision{Known: true, Agreed: true, Target: 10 * time.Hour, Step: 10 * time.Hour}},
		{"after a night, one answers", starts, 3, set(10 * time.Hour), clockDecision{Held: "only 1 of 2"}},
		{"after a night, one answered", waited, 3, set(10 * time.Hour), clockDecision{Known: true, Held: "only 1 of 2"}},
		{"after a night, the clocks differ", waited, 2, set(0, 10*time.Hour), clockDecision{Known: true, Held: "differ"}},
		// A new ledger.
		{"new", fresh, 3, set(time.Hour, -time.Second, 0), clockDecision{Known: true, Agreed: true, Target: -time.Second, Slew: -time.Second}},
		{"new, alone", fresh, 1, set(-9 * day), clockDecision{Known: true, Agreed: true, Target: -9 * day, Slew: -9 * day}},
		{"new, two differ", fresh, 2, set(0, time.Hour), clockDecision{Held: "differ"}},
		{"new, two differ for long", freshWaited, 2, set(time.Hour, time.Minute), clockDecision{Known: true, Slew: time.Minute, Held: "differ"}},
		{"new, one is set", freshWaited, 3, unset(set(time.Hour), 2), clockDecision{Known: true, Slew: time.Hour, Held: "only 1 of 2"}},
		{"new, none is set", freshWaited, 3, unset(nil, 2), clockDecision{Known: true, Slew: -56 * 365 * day, Held: "no board's clock"}},
	} {
		in := tt.in
		in.Voters, in.Readings = tt.voters, tt.readings
		got := decideClock(in)
		if !strings.Contains(got.Held, tt.want.Held) || (tt.want.Held == "") != (got.Held == "") {
			t.Errorf("%s: held %q, want %q", tt.name, got.Held, tt.want.Held)
		}
		got.Held = tt.want.Held
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestFormatClockDifference(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "+0s", -400 * time.Microsecond: "+0s", -1500 * time.Microsecond: "-2ms", 2 * time.Hour: "+2h0m0s", -400*day - 3*time.Hour: "-400d3h", 7300 * time.Millisecond: "+7s",
	} {
		if got := FormatClockDifference(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestSetClockFlags(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	set := func(ahead ...time.Duration) (list []clockReading) {
		for _, a := range ahead {
			list = append(list, clockReading{Ahead: a, Set: true})
		}
		return list
	}
	const far, override = flagClockFar, flagClockOverride
	for _, tt := range []struct {
		name     string
		since    time.Duration // nothing waited: so long ago
		to       time.Duration
		agreed   bool
		target   time.Duration
		readings []clockReading
		want     uint32
	}{
		{"as the boards say", 0, time.Hour, true, time.Hour, set(time.Hour, time.Hour), 0},
		{"back to what they say", 0, -time.Hour, true, -time.Hour, set(-time.Hour), 0},
		{"back, and they do not agree", 0, -time.Hour, true, 0, set(0), override},
		{"a wrong year", 0, 365 * day, false, 0, set(200*time.Second, 0), far | override},
		{"later than every board", 0, time.Hour, true, 0, set(0, 0), far | override},
		{"a little later than every board", 0, 30 * time.Second, true, 0, set(0, 0), 0},
		{"a year, as one board says", 0, 365 * day, false, 0, set(365*day, 0), far | override},
		{"no board has a time", 0, time.Hour, false, 0, []clockReading{{}}, override},
		{"a month in two steps", 29 * day, 2 * day, true, 2 * day, set(2 * day), far},
		{"from 1970", 0, -20000 * day, false, 0, nil, override},
	} {
		got := setClockFlags(now.Add(-tt.since), now, now.Add(tt.to), clockDecision{Agreed: tt.agreed, Target: tt.target}, tt.readings)
		if got != tt.want|flagClockStepped {
			t.Errorf("%s: %b, want %b", tt.name, got, tt.want|flagClockStepped)
		}
	}
}
