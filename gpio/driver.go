package gpio

import (
	"context"
	"time"
)

// HealthLamp is the number of the health lamp; the bar's lamps follow from 1.
const HealthLamp = 0

// Driver lights the lamps of one panel. It is used by one goroutine at a time.
type Driver interface {
	// String names it in a few words: "6 lamps on GPIO27, GPIO17, …".
	String() string
	// Lamps returns whether it has a health lamp, and the number of lamps of its
	// bar. The answer is always the same.
	Lamps() (health bool, bar int)
	// Where says where an existing lamp is, for people who wire it: "GPIO17
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

// Persister is a Driver whose health lamp can go on blinking without the program: the
// last message of a board, "safe to unplug", stays.
type Persister interface {
	Driver
	// Persist leaves the health lamp playing the pattern, and replaces Close. After
	// an error the lamp is as Close leaves it.
	Persist(p Pattern) error
}

// Contact is the contact of a panel's button.
type Contact interface {
	String() string
	// Down reports whether it is pressed now.
	Down() (bool, error)
	Close() error
}

// Clock is the time by which a panel plays. A clock is for one goroutine.
type Clock interface {
	// Now is the time that the boards of a rack share, so that their lamps blink
	// in step. It may jump.
	Now() time.Time
	// Elapsed is the time since some moment. It never jumps: it measures the button.
	Elapsed() time.Duration
	// Sleep waits for d, or until ctx ends, of which it returns the error.
	Sleep(ctx context.Context, d time.Duration) error
}

// WallClock is the Clock of this machine. It allocates nothing after the first
// Sleep.
type WallClock struct {
	offset func() time.Duration
	born   time.Time
	timer  *time.Timer
}

// NewWallClock returns the machine's clock. offset is added to Now: the lead of the
// ledger's clock over this machine's, so that a countdown runs in step over the rack.
// It may be nil.
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

// sinceEpoch is a time as Pattern.At counts it.
func sinceEpoch(t time.Time) time.Duration { return time.Duration(t.UnixNano()) }
