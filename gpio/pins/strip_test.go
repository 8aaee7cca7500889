package pins

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	panel "bramble/gpio"
	"bramble/gpio/pins/pinstest"
)

// apa102 is one LED of a chain, by the data sheet: after 32 zeros it reads the
// next 32 bits that begin with a one, and passes on what follows.
type apa102 struct {
	zeros int
	bits  int // read of its own frame
	frame uint32
	done  bool
	lit   uint32
	next  *apa102
}

func (a *apa102) clock(bit bool) {
	if a == nil {
		return
	}
	pass := false
	if bit {
		a.zeros = min(a.zeros, 32)
	} else {
		a.zeros++
	}
	switch {
	case a.done:
		if pass = bit; bit {
			a.zeros = 0
		} else if a.zeros >= 32 {
			a.done, a.bits, a.frame = false, 0, 0
		}
	case a.bits > 0 || bit && a.zeros >= 32:
		a.frame = a.frame<<1 | map[bool]uint32{true: 1}[bit]
		if a.bits++; a.bits == 32 {
			a.done, a.lit, a.zeros = true, a.frame, 0
		}
	}
	a.next.clock(pass)
}

// connectChain joins a strip.s pins to a chain of LEDs and draws what is lit.
func connectChain(all map[int]*pinstest.FakePin, lamps int) func() string {
	var first *apa102
	for range lamps {
		first = &apa102{next: first}
	}
	all[24].Changed = func(high bool) {
		if high {
			first.clock(bool(all[23].Level))
		}
	}
	return func() string {
		var b strings.Builder
		for l := first; l != nil; l = l.next {
			if l.lit>>24 != 0xe0|stripBrightness || l.lit>>16&0xff != l.lit&0xff || l.lit>>8&0xff != l.lit&0xff {
				return fmt.Sprintf("%s, then %08x, which is not white", b.String(), l.lit)
			}
			fmt.Fprintf(&b, "%02x ", l.lit&0xff)
		}
		return strings.TrimSpace(b.String())
	}
}

func TestStrip(t *testing.T) {
	h, all := fakeHost(modelZero, "")
	show := connectChain(all, stripLamps)
	s, err := OpenStrip(h)
	if err != nil {
		t.Fatal(err)
	}
	if got := show(); got != "00 00 00 00 00 00 00 00" {
		t.Errorf("opened as %s", got)
	}
	set := func(lamp int, level panel.Level, want string) {
		t.Helper()
		before := all[24].Writes
		if err := errors.Join(s.Set(lamp, level), s.Flush()); err != nil {
			t.Fatal(err)
		}
		if got := show(); got != want {
			t.Errorf("lamp %d at %v: %s, want %s", lamp, level, got, want)
		}
		t.Logf("lamp %d: %d clock writes", lamp, all[24].Writes-before)
	}
	set(7, panel.Full, "00 00 00 00 00 00 00 ff")
	set(0, panel.Full, "ff 00 00 00 00 00 00 ff") // the others stay as they are
	set(3, 128, "ff 00 00 40 00 00 00 ff")
	set(0, 1, "01 00 00 40 00 00 00 ff") // the faintest is still light
	set(0, panel.Off, "00 00 00 40 00 00 00 ff")
	before := all[24].Writes
	if err := errors.Join(s.Set(0, panel.Off), s.Flush()); err != nil || all[24].Writes != before {
		t.Errorf("what does not change is sent: %v", err)
	}
	if n := testing.AllocsPerRun(10, func() { s.last = 7; _ = s.Flush() }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	if err := s.Close(); err != nil || show() != "00 00 00 00 00 00 00 00" || drawPins(all, 23, 24) != "ii" {
		t.Errorf("closed as %s, %s: %v", show(), drawPins(all, 23, 24), err)
	}
}

// BenchmarkStrip is a frame with all lamps changed, and one with the first.
func BenchmarkStrip(b *testing.B) {
	for name, lamp := range map[string]int{"all": stripLamps - 1, "health": 0} {
		b.Run(name, func(b *testing.B) {
			h, _ := fakeHost(modelZero, "")
			s, err := OpenStrip(h)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.last = lamp
				_ = s.Flush()
			}
		})
	}
}
