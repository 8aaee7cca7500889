//go:build linux

package images

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func runHost(t *testing.T, command string, args ...any) {
	t.Helper()
	command = fmt.Sprintf(command, args...)
	if out, err := exec.Command("sh", "-ec", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// lanAddress is the test's address on the boards' network.
const lanAddress = "10.77.0.254"

// loopbackUp sets up the namespace for one board behind the emulator's own network:
// loopback, and a time server.
func loopbackUp(t *testing.T) {
	t.Helper()
	runHost(t, "ip link set lo up")
	timeServer(t)
}

// lanUp sets up the namespace's network: loopback, a bridge with a port per board, and a
// time server on both. It returns the arguments for each board's emulator.
func lanUp(t *testing.T, size int) [][]string {
	t.Helper()
	runHost(t, `ip link set lo up
		ip link add lan type bridge
		ip addr add %s/24 dev lan
		ip link set lan up`, lanAddress)
	var ports [][]string
	for i := range size {
		runHost(t, "ip tuntap add port%[1]d mode tap; ip link set port%[1]d master lan up", i+1)
		ports = append(ports, []string{"-netdev", fmt.Sprintf("tap,id=n0,ifname=port%d,script=no,downscript=no", i+1), "-device", "usb-net,netdev=n0,mac=%s"})
	}
	timeServer(t)
	return ports
}

// timeServer answers SNTP (RFC 4330) with this machine's time until the test ends.
func timeServer(t *testing.T) {
	t.Helper()
	c, err := net.ListenPacket("udp", ":123")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			var ask, reply [48]byte
			n, from, err := c.ReadFrom(ask[:])
			if err != nil {
				return
			}
			if n < len(ask) {
				continue
			}
			now := ntpTime(time.Now())
			reply[0] = ask[0]&0x38 | 4                     // no leap second, its version, server
			reply[1], reply[2], reply[3] = 2, ask[2], 0xec // stratum 2, poll, precision of 1 µs
			copy(reply[12:], "\x7f\x00\x00\x01")
			binary.BigEndian.PutUint64(reply[16:], now)
			copy(reply[24:], ask[40:48])
			binary.BigEndian.PutUint64(reply[32:], now)
			binary.BigEndian.PutUint64(reply[40:], ntpTime(time.Now()))
			_, _ = c.WriteTo(reply[:], from) // a lost reply is asked for again
		}
	}()
}

// ntpTime returns a time in NTP's format: since 1900, in 2^-32 s.
func ntpTime(at time.Time) uint64 {
	const from1900to1970 = 2208988800
	return uint64(at.Unix()+from1900to1970)<<32 | uint64(at.Nanosecond())<<32/1e9
}

// writeSettings writes the settings of a rack of emulated boards onto the card: rack and
// network are the lines of these tables, more are further tables.
func (e *emulatedBoard) writeSettings(rack, network string, more ...string) {
	e.t.Helper()
	of := e.readFile("bramble.toml")
	key, _, _ := strings.Cut(strings.SplitAfter(of, "key = ")[1], "\n")
	_, update, _ := strings.Cut(of, "[update]\nkeys = ")
	update, _, _ = strings.Cut(update, "\n")
	e.writeFile("bramble.toml", fmt.Sprintf("[update]\nkeys = %s\n[rack]\nkey = %s\n%s\n[console]\npassword = %q\n[network]\n%s\n%s\n", update, key, rack, testPassword, network, strings.Join(more, "\n")))
}

// waitPage waits until a page is served and has a text in it.
func (e *emulatedBoard) waitPage(at, text string) {
	e.t.Helper()
	waitUntil(e.t, e.model.boot, at, func() error {
		status, body, err := getPage(e.t.Context(), at)
		switch {
		case err != nil && (e.hasEnded() || strings.Count(e.serialText(), "bramble: board program ended") > 2):
			e.t.Fatalf("the board is at its end; the last of the serial line:\n%s", lastBytes(e.serialText(), 3000))
		case err != nil:
			return fmt.Errorf("%w; the last of the serial line:\n%s", err, lastBytes(e.serialText(), 2000))
		case status != http.StatusOK || !strings.Contains(body, text):
			return errors.New(lastBytes(fmt.Sprintf("status %d: %s", status, body), 2000))
		}
		return nil
	})
}
