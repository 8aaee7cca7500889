package ledger

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func TestLedgerClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skew := time.Duration(0)
		c := newClock(func() time.Time { return time.Now().Round(0).Add(skew) })
		begun := time.Now()
		shows := func(what string, want time.Time) {
			t.Helper()
			if now, _ := c.now(); !now.Equal(want) {
				t.Errorf("%s: %v, want %v", what, now, want)
			}
		}
		shows("a guess", begun)
		c.observeStamp(time.Unix(0, 0), false)
		if !c.decisionInput().Fresh {
			t.Error("an entry without a time gives a time")
		}
		evening := begun.Add(-10 * time.Hour)
		c.observeStamp(evening, false)
		time.Sleep(time.Second)
		shows("it goes on from the last entry", evening.Add(time.Second))
		if _, known := c.now(); known {
			t.Error("the last entry makes the clock known")
		}
		skew = 400 * day
		shows("a step of the wall clock", evening.Add(time.Second))
		if r := c.ownReading("b"); r.Ahead != 10*time.Hour+400*day || r.Set {
			t.Errorf("own reading %+v", r)
		}
		// A follower learns it.
		sent := c.monotonic()
		time.Sleep(20 * time.Millisecond)
		there := begun.Add(time.Minute)
		c.adoptLeaderTime(there, sent)
		shows("learnt", there.Add(10*time.Millisecond))
		sent = c.monotonic()
		time.Sleep(time.Second)
		c.adoptLeaderTime(there.Add(time.Hour), sent)
		shows("a slow exchange is not believed", there.Add(1010*time.Millisecond))
		c.adoptLeaderTime(there, c.monotonic())
		shows("it does not go back", there.Add(1010*time.Millisecond))
		c.observeStamp(there.Add(time.Minute), false)
		shows("a later entry", there.Add(time.Minute))
		c.observeStamp(there, false)
		shows("an earlier entry", there.Add(time.Minute))
		c.observeStamp(there.Add(-day), true)
		shows("an operator set it back", there.Add(-day))
		if !c.isConfirmed() {
			t.Error("an operator's word counts for nothing")
		}
		c.followDecision(clockDecision{Known: true, Held: "no board's clock is set"})
		if why, _ := c.heldFor(); why == "" || !c.isConfirmed() {
			t.Error("held clocks stay confirmed")
		}
		time.Sleep(clockHoldLogged)
		if !c.isHoldLogged() {
			t.Error("a long hold is not logged")
		}
		c.followDecision(clockDecision{Known: true, Agreed: true, Target: 100 * time.Millisecond, Slew: 50 * time.Millisecond})
		shows("slewed", there.Add(-day+clockHoldLogged+50*time.Millisecond))
		if c.isConfirmed() || c.isHoldLogged() {
			t.Error("boards that agree end it")
		}
	})
}

func TestClockMarks(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var m clockMarks
	now := at
	step := func(flags uint32, stamp time.Time) { now, m = m.next(now, 7, &entry{Flags: flags, Stamp: stamp}) }
	until := func() time.Duration { return time.Unix(0, m.WaitUntil).Sub(now) }
	if step(0, at.Add(-time.Hour)); !now.Equal(at) || m != (clockMarks{}) {
		t.Errorf("an earlier stamp: %v, %+v", now, m)
	}
	if step(0, at.Add(day)); !now.Equal(at.Add(day)) || m != (clockMarks{}) {
		t.Errorf("a quiet day: %v, %+v", now, m)
	}
	if step(flagClockStepped, now.Add(time.Minute)); until() != time.Minute || m.Far {
		t.Errorf("a step of a minute: %v, %+v", until(), m)
	}
	if step(flagClockStepped, now.Add(10*time.Hour)); until() != irreversibleWait {
		t.Errorf("a step of a night: %v", until())
	}
	if step(flagClockStepped, now.Add(time.Second)); until() != irreversibleWait-time.Second {
		t.Errorf("a second step shortens the wait to %v", until())
	}
	if step(flagClockStepped|flagClockFar, now.Add(400*day)); !m.Far {
		t.Error("a far step needs no operator")
	}
	if step(flagClockStepped, now.Add(time.Minute)); !m.Far {
		t.Error("a small step confirms a far one")
	}
	var b bytes.Buffer
	b.Write(snapshotHeader{index: 9, term: 2, at: now, digest: 4, rules: 1, marks: m}.encode())
	if got, err := readSnapshotHeader(&b); err != nil || got.marks != m || got.rules != 1 || !got.at.Equal(now) {
		t.Errorf("from a snapshot: %+v, %v", got, err)
	}
	if !m.base(now).Before(at.Add(2 * day)) {
		t.Errorf("steps do not add up from %v", m.base(now))
	}
	if step(flagClockSet, at); !now.Equal(at) || m != (clockMarks{SetIndex: 7}) {
		t.Errorf("confirmed: %v, %+v", now, m)
	}
	const set = flagClockSet | flagClockStepped
	if step(set|flagClockFar|flagClockOverride, at.Add(400*day)); !m.Far || !m.Override || until() != irreversibleWait || m.Base != at.Unix() {
		t.Errorf("set a year ahead: %v, %+v", until(), m)
	}
	if got := decodeClockMarks(m.encode()[0], m.encode()[1], m.encode()[2]); got != m {
		t.Errorf("encoded: %+v, want %+v", got, m)
	}
	if step(set, at.Add(2*time.Minute)); m.Far || m.Override || until() != 2*time.Minute {
		t.Errorf("set to two minutes after the typing error: %v, %+v", until(), m)
	}
	if step(set|flagClockOverride, at.Add(-day)); !now.Equal(at.Add(-day)) || m != (clockMarks{SetIndex: 7, Override: true}) {
		t.Errorf("set back: %v, %+v", now, m)
	}
	if step(flagClockStepped, now.Add(1)); m.Override {
		t.Error("a step by the boards' clocks does not end the operator's time")
	}
}
