package cardinit

import (
	"context"
	"net/netip"
	"testing"
)

// After a shutdown the lamps show "safe to unplug": not before the data partition is
// unmounted, and for as long as the board has power.
func TestLampsShowSafeToUnplug(t *testing.T) {
	t.Parallel()
	shows, shown := make(chan int, 1), make(chan struct{})
	b := startInit(t, func(c *Config) {
		system := c.System.(*fakeSystem)
		c.Load = func(string, string) (CardSettings, error) {
			return CardSettings{HostName: "till", Board: "till", Address: netip.MustParsePrefix("10.0.0.2/24"), NTP: []string{"127.0.0.1"},
				ShowAtRest: func(ctx context.Context) {
					defer close(shown)
					shows <- len(system.commandsWith("unmount data"))
					<-ctx.Done()
				}}, nil
		}
	})
	b.awaitStart("bramble").end <- ExitHalt
	if unmounted := <-shows; unmounted != 1 {
		t.Errorf("the lamps say that it is safe to unplug, and the data partition was unmounted %d times", unmounted)
	}
	select {
	case <-shown:
		t.Error("the lamps went dark while the board had power")
	default:
	}
	b.cancel()
	<-shown
	if err := <-b.done; err != nil {
		t.Error(err)
	}
	b.done <- nil
}
