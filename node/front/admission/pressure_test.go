package admission

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestWhatIsShedFirst(t *testing.T) {
	for _, test := range []struct {
		pressure, asked, sent float64
		hold                  time.Duration
	}{
		{0, 0, 0, 0}, {0.25, 0, 0, 0}, {0.5, 0.5, 0, maxAcceptHold / 2}, {0.75, 1, 0.5, maxAcceptHold}, {1, 1, 1, maxAcceptHold},
	} {
		if got := KindBrowse.shedShare(test.pressure); got != test.asked {
			t.Errorf("at %v %v of KindBrowse is shed, want %v", test.pressure, got, test.asked)
		}
		if got := KindSubmit.shedShare(test.pressure); got != test.sent {
			t.Errorf("at %v %v of KindSubmit is shed, want %v", test.pressure, got, test.sent)
		}
		if got := AcceptHold(test.pressure); got != test.hold {
			t.Errorf("at %v arrivals are held for %v, want %v", test.pressure, got, test.hold)
		}
	}
	if KindOfMethod("GET") != KindBrowse || KindOfMethod("HEAD") != KindBrowse || KindOfMethod("POST") != KindSubmit || KindOfMethod("BREW") != KindSubmit {
		t.Error("methods have the wrong kind")
	}
}

func TestAShareIsSpreadEvenly(t *testing.T) {
	for _, share := range []float64{0, 0.1, 0.5, 0.9, 1} {
		for _, from := range []uint32{0, 12345, math.MaxUint32 - 50} {
			n := 0
			for i := range uint32(100) {
				if isInShare(from+i, share) {
					n++
				}
			}
			if math.Abs(float64(n)-share*100) > 3 {
				t.Errorf("of a hundred from %d, %d are among %v", from, n, share)
			}
		}
	}
}

func TestPressureRisesAtOnceAndFallsByHalf(t *testing.T) {
	var got []float64
	now := 0.0
	for _, measured := range []float64{0, 0.4, 2, 0, 0.1, math.NaN(), 0, -1, 0, 0, 0} {
		now = smoothPressure(now, measured)
		got = append(got, now)
	}
	want := []float64{0, 0.4, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0, 0}
	if !slices.Equal(got, want) {
		t.Errorf("pressure goes %v, want %v", got, want)
	}
	// Within a second of the crowd's leaving nothing is shed.
	for range time.Second / PressureInterval {
		now = smoothPressure(now, 0)
	}
	if KindBrowse.shedShare(now) != 0 {
		t.Errorf("a second later %v is shed", KindBrowse.shedShare(now))
	}
}

func TestDelayInScheduling(t *testing.T) {
	buckets := []float64{math.Inf(-1), 0, 0.001, 0.1, 1, math.Inf(1)}
	for _, test := range []struct {
		before, after []uint64
		want          time.Duration
		strain        float64
	}{
		{[]uint64{0, 0, 0, 0, 0}, []uint64{0, 0, 0, 0, 99}, 0, 0}, // too few
		{[]uint64{0, 0, 0, 0, 0}, []uint64{0, 100, 0, 0, 0}, 0, 0},
		{[]uint64{5, 1000, 0, 0, 7}, []uint64{5, 1000, 49, 51, 7}, 100 * time.Millisecond, 0},
		{[]uint64{5, 1000, 0, 0, 7}, []uint64{5, 1000, 50, 50, 7}, time.Millisecond, 0},
		{[]uint64{0, 0, 0, 0, 0}, []uint64{0, 0, 0, 0, 100}, time.Second, 1},
	} {
		got := delayQuantile(buckets, test.before, test.after, delayShare)
		if got != test.want || pressureFromDelay(got) != test.strain {
			t.Errorf("from %v to %v: %v and pressure %v, want %v and %v", test.before, test.after, got, pressureFromDelay(got), test.want, test.strain)
		}
	}
	if got := pressureFromDelay(550 * time.Millisecond); got != 0.5 {
		t.Errorf("half way the pressure is %v", got)
	}
	var d DelayMeter
	d.measure()
	if got := d.measure(); got < 0 || got > time.Minute {
		t.Errorf("this test waited %v", got)
	}
}
