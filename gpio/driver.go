package gpio

import (
	"context"
	"time"
)

// HealthLamp is the number of the health lamp; the bar's lamps follow from 1.
const HealthLamp = 0

// Driver lights the lamps of one panel. It is used by one goroutine at a time.
type Driver interface {
	// String describes the driver in a few words: "6 lamps on GPIO27, GPIO17, …".
	String() string
	// Lamps returns whether the driver has a health lamp, and the number of lamps of
	// its bar. It always returns the same.
	Lamps() (health bool, bar int)
	// Where returns the location of an existing lamp, for wiring: "GPIO17
	// (header pin 11)".
	Where(lamp int) string
	// Set sets a lamp to a level. It is called when the level changes, and once for
	// each lamp at first. The lamp need not change before Flush.
	Set(lamp int, level Level) error
	// Flush is called after a round of Set.
	Flush() error
	// Close turns the lamps off, or back to what they were before, and releases
	// them.
	Close() error
}

// Persister is a Driver whose health lamp can continue to blink after the program has
// ended, so that the lamp still shows "safe to unplug".
type Persister interface {
	Driver
	// Persist makes the health lamp continue with the pattern. It is called instead of
	// Close. After an error the lamp is as after Close.
	Persist(p Pattern) error
}

// Contact is the contact of a panel's button.
type Contact interface {
	String() string
	// Down reports whether it is pressed now.
	Down() (bool, error)
	Close() error
}

// Clock is the time by which a panel plays. Only one goroutine may use it.
type Clock interface {
	// Now returns the time that the boards of a rack share, so that their lamps blink
	// in step. It may jump.
	Now() time.Time
	// Elapsed returns the time since a fixed moment. It never jumps, and so measures the
	// button.
	Elapsed() time.Duration
	// Sleep waits for d, or until ctx ends, and then returns ctx's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// WallClock is the Clock of this machine. It allocates nothing after the first
// Sleep.
type WallClock struct {
	offset func() time.Duration
	born   time.Time
	timer  *time.Timer
}

// NewWallClock returns the machine's clock. offset, which may be nil, is added to Now: the
// ledger's clock minus this machine's, so that all boards count down together.
func NewWallClock(offset func() time.Duration) *WallClock {
	return &WallClock{offset: offset, born: time.Now()}
}

// Now is the machine's time plus the offset.
func (c *WallClock) Now() time.Time {
	now := time.Now()
	if c.offset != nil {
		now = now.Add(c.offset())
	}
	return now
}

// Elapsed is the time since NewWallClock.
func (c *WallClock) Elapsed() time.Duration { return time.Since(c.born) }

// Sleep waits.
func (c *WallClock) Sleep(ctx context.Context, d time.Duration) error {
	if c.timer == nil {
		c.timer = time.NewTimer(d)
	} else {
		c.timer.Reset(d)
	}
	select {
	case <-ctx.Done():
		c.timer.Stop()
		return ctx.Err()
	case <-c.timer.C:
		return nil
	}
}
