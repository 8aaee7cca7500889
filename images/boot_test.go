//go:build linux

package images

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// One board boots from the image as it is flashed, with the 240 MB that a first board's
// graphics leave, and serves everything that its owner uses.
func TestACardBoots(t *testing.T) {
	image, inside := inNamespace(t, 15*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	b := newBoard(t, image, "00000000cafe1a2b",
		"-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:8001-:80,hostfwd=tcp:127.0.0.1:8002-:8080", "-device", "usb-net,netdev=n0,mac=%s")
	b.writeSettings("expected_boards = 1", "ntp = [\"10.0.2.2\"]")
	b.start()
	started := time.Now()
	if got := b.waitSerial(bootLimit, `bramble: serial ([0-9a-f]+)\n`); !strings.HasSuffix(got, "cafe1a2b") {
		t.Errorf("serial number %s", got)
	}
	b.waitSerial(bootLimit, `bramble: network eth0 10\.0\.2\.15/24`)
	b.waitSerial(bootLimit, `bramble: data partition clean; grown to (\d+) MB`)
	b.waitSerial(bootLimit, `bramble: clock set by 10\.0\.2\.2`)
	b.waitSerial(bootLimit, `bramble: board bramble-1a2b starts, slot a, `)
	const shop, ops = "http://127.0.0.1:8001", "https://127.0.0.1:8002"
	b.waitPage(shop+"/p/berry", "A berry.")
	t.Logf("first page after %.1f s of the host's time, %s s of the board's", time.Since(started).Seconds(), strings.Fields(b.runShell("cat /proc/uptime"))[0])
	b.waitPage(ops+"/healthz", "")

	t.Run("itself", func(t *testing.T) {
		// The watchdog's health check goes there.
		if said := b.runShell("bramble status --config /run/bramble.toml"); !strings.Contains(said, "bramble-1a2b") {
			t.Errorf("the board does not reach itself: %s", said)
		}
		if strings.Contains(b.serialText(), "do not fit into") {
			t.Error("the board may not open as many files as it has connections")
		}
	})
	t.Run("memory", func(t *testing.T) { b.checkMemory(t) })
	t.Run("lamps", func(t *testing.T) { b.checkLampsInService(t, ops) })
	t.Run("order", func(t *testing.T) {
		var receipt string
		waitUntil(t, bootLimit, "an order", func() (err error) {
			receipt, err = placeOrder(t.Context(), shop, "ann")
			return err
		})
		b.waitPage(shop+receipt, "ann")
	})
	t.Run("clock", func(t *testing.T) {
		// A leap of the clock, by hand, moves nothing: no time server has confirmed it.
		shows := func(words string) {
			waitUntil(t, bootLimit, words, func() error {
				if said := b.runShell("bramble ledger clock --config /run/bramble.toml"); !strings.Contains(strings.Join(strings.Fields(said), " "), words) {
					return errors.New(said)
				}
				return nil
			})
		}
		shows("It follows the boards' clocks.")
		b.runShell("date -s @$(($(date +%s) + 7200))")
		shows("ahead of the ledger's, and no second board and not 2 time servers confirm that")
		b.runShell("date -s @$(($(date +%s) - 7200))")
		shows("It follows the boards' clocks.")
	})
	t.Run("writes", func(t *testing.T) {
		bytes, at := b.bytesWritten()
		t.Logf("%d bytes written to the card in %.0f s", bytes, at)
	})
	t.Run("drained", func(t *testing.T) { b.checkDrained(t, ops) })
}
