package gpio

import (
	"slices"
	"testing"
	"time"
)

// pressesOf feeds a button with a contact that changes at the given times (in
// milliseconds, open at first), sampled every 5 ms or, with sparse, only at
// the edges and at the end.
func pressesOf(edges []int, until int, sparse bool) (all []ButtonPress, b *Button) {
	b = &Button{}
	down := false
	for ms := 0; ms <= until; ms++ {
		edge := slices.Contains(edges, ms)
		if edge {
			down = !down
		}
		if edge || !sparse && ms%5 == 0 || ms == 0 || ms == until {
			if p := b.Sample(down, time.Duration(ms)*time.Millisecond); p != NoPress {
				all = append(all, p)
			}
		}
	}
	return all, b
}

func TestButton(t *testing.T) {
	for _, c := range []struct {
		name  string
		edges []int
		until int
		want  []ButtonPress
		stuck bool
	}{
		{"nothing", nil, 60_000, nil, false},
		{"short", []int{100, 250}, 2000, []ButtonPress{ShortPress}, false},
		{"short, not complete before a second could come", []int{100, 250}, 640, nil, false},
		{"just not long", []int{100, 1099}, 2000, []ButtonPress{ShortPress}, false},
		{"long", []int{100, 1100}, 2000, []ButtonPress{LongPress}, false},
		{"just not drain", []int{100, 3099}, 9000, []ButtonPress{LongPress}, false},
		{"drain", []int{100, 3100}, 9000, []ButtonPress{DrainPress}, false},
		{"just not shut down", []int{100, 8099}, 9000, []ButtonPress{DrainPress}, false},
		{"shut down", []int{100, 8100}, 9000, []ButtonPress{ShutdownPress}, false},
		{"held: nothing happens before it is let go", []int{100}, 19_000, nil, false},
		{"just not stuck", []int{100, 20_099}, 21_000, []ButtonPress{ShutdownPress}, false},
		{"stuck", []int{100}, 21_000, nil, true},
		{"stuck and let go is no press", []int{100, 25_000}, 27_000, nil, false},
		{"works again afterwards", []int{100, 25_000, 26_000, 29_000}, 31_000, []ButtonPress{DrainPress}, false},
		{"double", []int{100, 200, 400, 500}, 2000, []ButtonPress{DoublePress}, false},
		{"double, the second as late as can be", []int{100, 200, 599, 700}, 2000, []ButtonPress{DoublePress}, false},
		{"two short", []int{100, 200, 600, 700}, 2000, []ButtonPress{ShortPress, ShortPress}, false},
		{"three", []int{100, 200, 300, 400, 500, 600}, 2000, []ButtonPress{DoublePress, ShortPress}, false},
		{"four", []int{100, 200, 300, 400, 500, 600, 700, 800}, 2000, []ButtonPress{DoublePress, DoublePress}, false},
		{"short, then long at once", []int{100, 200, 400, 2000}, 4000, []ButtonPress{LongPress}, false},
		{"short, then held", []int{100, 200, 400, 4000}, 6000, []ButtonPress{DrainPress}, false},
		{"a spike is nothing", []int{100, 124}, 2000, nil, false},
		{"as short as counts", []int{100, 125}, 2000, []ButtonPress{ShortPress}, false},
		{"bounces", []int{100, 103, 105, 111, 118, 300, 302, 305}, 2000, []ButtonPress{ShortPress}, false},
		{"bounces while held do not split it", []int{100, 2000, 2010, 5000}, 6000, []ButtonPress{DrainPress}, false},
	} {
		for _, sparse := range []bool{false, true} {
			got, b := pressesOf(c.edges, c.until, sparse)
			if !slices.Equal(got, c.want) || b.IsStuck() != c.stuck {
				t.Errorf("%s (only edges: %v): %v, stuck %v; want %v, %v", c.name, sparse, got, b.IsStuck(), c.want, c.stuck)
			}
		}
	}
}

// TestButtonClosedFromTheStart: a short circuit at power-up is a fault after a
// while; a button that is held at power-up is not a press.
func TestButtonClosedFromTheStart(t *testing.T) {
	var b Button
	for ms := 0; ms < 30_000; ms += 20 {
		at := time.Duration(ms) * time.Millisecond
		if p := b.Sample(ms < 25_000, at); p != NoPress {
			t.Errorf("%v at %v", p, at)
		}
		if want := at >= stuckAfter && at < 25*time.Second; b.IsStuck() != want && ms%25_000 > 40 {
			t.Errorf("stuck is %v at %v", b.IsStuck(), at)
		}
	}
	b = Button{}
	for ms := 0; ms < 12_000; ms += 20 {
		if p := b.Sample(ms < 9_000, time.Duration(ms)*time.Millisecond); p != NoPress {
			t.Errorf("held from the start and let go is %v", p)
		}
	}
}

// TestButtonBouncesForever: a contact that bounces without end is stuck, not pressed.
func TestButtonBouncesForever(t *testing.T) {
	var b Button
	for ms := 0; ms < 22_000; ms += 10 {
		if p := b.Sample(ms/10%2 == 1, time.Duration(ms)*time.Millisecond); p != NoPress {
			t.Errorf("%v at %d ms", p, ms)
		}
	}
	if !b.IsStuck() {
		t.Error("a contact that bounces for 22 s is not stuck")
	}
}

func TestPending(t *testing.T) {
	var b Button
	b.Sample(false, 0)
	b.Sample(false, time.Second)
	for ms := 1001; ms < 25_000; ms += 10 {
		b.Sample(true, time.Duration(ms)*time.Millisecond)
	}
	for after, want := range map[time.Duration]ButtonPress{0: ShortPress, time.Second: LongPress, 3 * time.Second: DrainPress,
		8 * time.Second: ShutdownPress, 20 * time.Second: NoPress} {
		if got := b.Pending(1001*time.Millisecond + after); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
}

// FuzzButton: whatever a contact does, a press needs an opening of it; no long press
// comes unless the contact was closed that long; and a
// time that goes back does no harm.
func FuzzButton(f *testing.F) {
	f.Add([]byte{10, 30, 200, 5, 1, 250, 250})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 0, 3})
	f.Fuzz(func(t *testing.T, gaps []byte) {
		var b Button
		b.Sample(false, 0)
		at, down, closed, openings := time.Duration(0), false, time.Duration(0), 0
		for _, g := range gaps {
			step := time.Duration(g) * 50 * time.Millisecond
			if g == 1 {
				step = -time.Second
			}
			at += step
			down = !down
			if down {
				closed = 0
			} else {
				closed += max(step, 0)
				openings++
			}
			// Two samples: at the edge and when it is stable.
			for _, p := range []ButtonPress{b.Sample(down, at), b.Sample(down, at+debounce)} {
				if p == NoPress {
					continue
				}
				if openings--; openings < 0 {
					t.Fatalf("%v at %v: more presses than openings", p, at)
				}
			}
		}
		if b.Sample(down, at+time.Hour); b.IsStuck() != down {
			t.Errorf("an hour later it is stuck: %v, closed: %v", b.IsStuck(), down)
		}
	})
}

// FuzzButtonNeverShutsDown: presses that are all shorter than eight seconds in
// total shut nothing down.
func FuzzButtonNeverShutsDown(f *testing.F) {
	f.Add([]byte{10, 30, 200, 5, 1, 250, 250})
	f.Fuzz(func(t *testing.T, gaps []byte) {
		var b Button
		at, down := time.Duration(0), false
		b.Sample(false, at)
		for _, g := range gaps {
			if at += time.Duration(g) * time.Millisecond; at >= shutdownPress {
				return
			}
			down = !down
			if p := b.Sample(down, at); p == ShutdownPress {
				t.Fatalf("shut down after %v", at)
			}
		}
	})
}
