package gpio

import (
	"math"
	"testing"
	"time"
)

// FuzzRender: whatever the Input, each lamp has a pattern that takes
// time, the health lamp is only on or off, and the summary is not empty.
func FuzzRender(f *testing.F) {
	f.Add(uint8(3), uint16(0), uint16(0), 0.5, 0.7, uint8(0), uint8(0), uint8(7), int64(0), int64(0), int64(0), 5)
	f.Add(uint8(3), uint16(0x3fc), uint16(4), math.NaN(), math.Inf(1), uint8(15), uint8(3), uint8(255), int64(100e9), int64(100e9), int64(95e9), 8)
	f.Add(uint8(200), uint16(0xffff), uint16(0xffff), -1.0, -1.0, uint8(255), uint8(255), uint8(0), int64(math.MinInt64), int64(math.MaxInt64), int64(-1), -5)
	f.Fuzz(func(t *testing.T, health uint8, faults, acked uint16, load, peak float64, flags, side, octet uint8, opens, purged, now int64, lamps int) {
		in := Input{
			Health: Health(health), Faults: FaultSet(faults), Acknowledged: FaultSet(acked), Load: load, Peak: peak,
			Locate: flags&1 != 0, Address: flags&2 != 0, Octet: octet, AddressSince: time.Duration(now),
			Leader: flags&4 != 0, SoldOut: flags&8 != 0, DeadSide: Side(side),
			OpensAt: time.Duration(opens), PurgedAt: time.Duration(purged), Now: time.Duration(now),
		}
		show := Render(in, lamps)
		if len(show.Bar) != min(max(lamps, 0), MaxLamps) || show.Summary == "" {
			t.Fatalf("%d lamps for %d, and %q", len(show.Bar), lamps, show.Summary)
		}
		for _, s := range show.Health.Steps {
			if s.Level != Off && s.Level != Full {
				t.Fatalf("the health lamp is at %v", s.Level)
			}
		}
		for _, p := range append(show.Bar, show.Health) {
			if p.Name == "" || p.Period() <= 0 {
				t.Fatalf("pattern %+v", p)
			}
			p.At(in.Now)
		}
		if in.normalized() != in.normalized() {
			t.Fatal("what settles does not equal itself")
		}
	})
}
