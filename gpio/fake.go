package gpio

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// FakeClock is a Clock that runs as fast as it is asked to: Sleep moves it on
// and returns at once. After End, Sleep says that the context is cancelled, so
// that whatever is played by it comes to its end.
type FakeClock struct {
	T   time.Time
	End time.Time // zero: never

	slept time.Duration
}

// Now is T.
func (c *FakeClock) Now() time.Time { return c.T }

// Elapsed is the time slept.
func (c *FakeClock) Elapsed() time.Duration { return c.slept }

// Sleep moves the clock on.
func (c *FakeClock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.T, c.slept = c.T.Add(d), c.slept+d
	if !c.End.IsZero() && !c.T.Before(c.End) {
		return context.Canceled
	}
	return nil
}

// Fake is a Driver without lamps, for tests. It writes down what changes, with
// the time of its clock, and can be made to fail.
type Fake struct {
	NoHealth bool
	Bar      int
	Clock    Clock
	Err      error // of each Set from now on

	Levels  []Level // now, the health lamp first
	Sets    []FakeSet
	Flushes int
	Closed  bool
	Kept    *Pattern // what was left by Keep
}

// FakeSet is one call of Set.
type FakeSet struct {
	At    time.Time
	Lamp  int
	Level Level
}

// String names it.
func (f *Fake) String() string { return fmt.Sprintf("a fake panel with a bar of %d lamps", f.Bar) }

// Lamps tells what the fields say.
func (f *Fake) Lamps() (health bool, bar int) { return !f.NoHealth, f.Bar }

// Where numbers the lamps.
func (f *Fake) Where(lamp int) string { return fmt.Sprintf("fake %d", lamp) }

// Set writes the call down.
func (f *Fake) Set(lamp int, level Level) error {
	if f.Err != nil {
		return f.Err
	}
	if f.Closed || lamp < 0 || lamp > f.Bar || lamp == HealthLamp && f.NoHealth {
		return errors.New("fake panel: there is no such lamp, or no more")
	}
	if f.Levels == nil {
		f.Levels = make([]Level, 1+f.Bar)
	}
	f.Levels[lamp] = level
	if f.Clock != nil {
		f.Sets = append(f.Sets, FakeSet{f.Clock.Now(), lamp, level})
	}
	return nil
}

// Flush counts.
func (f *Fake) Flush() error {
	f.Flushes++
	return nil
}

// Close remembers that it was called.
func (f *Fake) Close() error {
	f.Closed = true
	return nil
}

// Persist remembers the pattern.
func (f *Fake) Persist(p Pattern) error {
	f.Closed, f.Kept = true, &p
	return nil
}

// Looks draws the lamps as they are now, the health lamp first: "#" lit, "." dark.
func (f *Fake) Looks() string {
	var b strings.Builder
	for _, l := range f.Levels {
		if l.Lit() {
			b.WriteByte('#')
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}

// FakeKey is a Key that is pressed at times set beforehand.
type FakeKey struct {
	Clock   Clock
	Presses [][2]time.Duration // from, to, by the clock's Elapsed
	Err     error              // of each Down from now on
	Closed  bool
}

// String names it.
func (k *FakeKey) String() string { return "a fake button" }

// Down looks up whether it is pressed.
func (k *FakeKey) Down() (bool, error) {
	now := k.Clock.Elapsed()
	for _, p := range k.Presses {
		if now >= p[0] && now < p[1] {
			return true, k.Err
		}
	}
	return false, k.Err
}

// Close remembers that it was called.
func (k *FakeKey) Close() error {
	k.Closed = true
	return nil
}
