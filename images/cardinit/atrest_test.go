package cardinit

import (
	"context"
	"net/netip"
	"testing"
)

// A board that was shut down shows on its lamps that it is safe to unplug: not
// before its card is at rest, and for as long as it has power.
func TestLampsShowSafeToUnplug(t *testing.T) {
	t.Parallel()
	shows, shown := make(chan int, 1), make(chan struct{})
	b := startInit(t, func(c *Config) {
		machine := c.System.(*fakeSystem)
		c.Load = func(string, string) (CardSettings, error) {
			return CardSettings{HostName: "till", Board: "till", Address: netip.MustParsePrefix("10.0.0.2/24"), NTP: []string{"127.0.0.1"},
				ShowAtRest: func(ctx context.Context) {
					defer close(shown)
					shows <- len(machine.commandsWith("unmount data"))
					<-ctx.Done()
				}}, nil
		}
	})
	b.awaitStart("bramble").end <- ExitHalt
	if unmounted := <-shows; unmounted != 1 {
		t.Errorf("the lamps say that it is safe to unplug, and the data partition was let go %d times", unmounted)
	}
	select {
	case <-shown:
		t.Error("the lamps go dark while the board has power")
	default:
	}
	b.cancel()
	<-shown
	if err := <-b.done; err != nil {
		t.Error(err)
	}
	b.done <- nil
}
