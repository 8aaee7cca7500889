package fulfilment

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	least := func(int64) int64 { return 0 }
	middle := func(n int64) int64 { return n / 2 }
	most := func(n int64) int64 { return n - 1 }
	for _, c := range []struct {
		failures int
		jitter   func(int64) int64
		want     time.Duration
	}{
		{1, most, time.Second},
		{2, most, 2 * time.Second},
		{3, most, 4 * time.Second},
		{12, most, 2048 * time.Second},
		{13, most, time.Hour},
		{14, most, time.Hour},
		{1 << 30, most, time.Hour},
		{0, most, time.Second}, // never used, and harmless
		{1, middle, 500 * time.Millisecond},
		{13, middle, 30 * time.Minute},
		{1, least, time.Millisecond},
		{13, least, time.Millisecond},
	} {
		if got := jobBackoff().drawDelay(c.failures, c.jitter); got != c.want {
			t.Errorf("after %d failures: %v, want %v", c.failures, got, c.want)
		}
	}
	if got := channelBackoff().delayCeiling(100); got != 5*time.Minute {
		t.Errorf("ceiling of a channel %v, want 5m", got)
	}
}
