// Package gpiotest has fakes of the parts of a panel: a clock that takes no time, a
// driver without lamps that records the levels that it is set to, and the contact of a
// button that closes at set times.
package gpiotest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bramble/gpio"
)

// FakeClock is a gpio.Clock whose Sleep moves it on and returns at once. At End,
// Sleep returns context.Canceled, so that a loop over the clock ends.
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

// FakeDriver is a gpio.Driver without lamps. It records each change with the time
// of its clock, and can be made to fail.
type FakeDriver struct {
	NoHealth bool
	Bar      int
	Clock    gpio.Clock // of Sets; nil: they are not recorded
	Err      error      // of each Set from now on

	Levels    []gpio.Level // now, the health lamp first
	Sets      []SetCall
	Flushes   int
	Closed    bool
	Persisted *gpio.Pattern // what Persist has left playing
}

// SetCall is one call of Set.
type SetCall struct {
	At    time.Time
	Lamp  int
	Level gpio.Level
}

// String describes the fake.
func (f *FakeDriver) String() string {
	return fmt.Sprintf("a fake panel with a bar of %d lamps", f.Bar)
}

// Lamps returns what the fields say.
func (f *FakeDriver) Lamps() (health bool, bar int) { return !f.NoHealth, f.Bar }

// Where numbers the lamps.
func (f *FakeDriver) Where(lamp int) string { return fmt.Sprintf("fake %d", lamp) }

// Set records the call.
func (f *FakeDriver) Set(lamp int, level gpio.Level) error {
	if f.Err != nil {
		return f.Err
	}
	if f.Closed || lamp < 0 || lamp > f.Bar || lamp == gpio.HealthLamp && f.NoHealth {
		return errors.New("fake panel: there is no such lamp, or no more")
	}
	if f.Levels == nil {
		f.Levels = make([]gpio.Level, 1+f.Bar)
	}
	f.Levels[lamp] = level
	if f.Clock != nil {
		f.Sets = append(f.Sets, SetCall{f.Clock.Now(), lamp, level})
	}
	return nil
}

// Flush counts its calls.
func (f *FakeDriver) Flush() error {
	f.Flushes++
	return nil
}

// Close records that it was called.
func (f *FakeDriver) Close() error {
	f.Closed = true
	return nil
}

// Persist records the pattern.
func (f *FakeDriver) Persist(p gpio.Pattern) error {
	f.Closed, f.Persisted = true, &p
	return nil
}

// Lit draws the lamps as they are now, the health lamp first: "#" lit, "." dark.
func (f *FakeDriver) Lit() string {
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

// FakeContact is a gpio.Contact that is closed at times set beforehand.
type FakeContact struct {
	Clock   gpio.Clock
	Presses [][2]time.Duration // from, to, by the clock's Elapsed
	Err     error              // of each Down from now on
	Closed  bool               // by Close
}

// String describes the fake.
func (c *FakeContact) String() string { return "a fake button" }

// Down looks up whether it is pressed.
func (c *FakeContact) Down() (bool, error) {
	now := c.Clock.Elapsed()
	for _, p := range c.Presses {
		if now >= p[0] && now < p[1] {
			return true, c.Err
		}
	}
	return false, c.Err
}

// Close records that it was called.
func (c *FakeContact) Close() error {
	c.Closed = true
	return nil
}
