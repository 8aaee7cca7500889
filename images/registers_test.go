//go:build linux

package images

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The registers of the first boards at their processor's addresses (BCM2835 ARM
// Peripherals, chapters 6 and 12).
const (
	gpioFunctions = 0x20200000 // GPFSEL0: three bits a pin, ten pins a word
	gpioSet       = 0x2020001c // GPSET0: a bit a pin
	gpioClear     = 0x20200028 // GPCLR0
	gpioLevels    = 0x20200034 // GPLEV0
	systemTimer   = 0x20003004 // CLO: microseconds of the board's own time
)

// buttonPin is the button's on boards with 26 header pins, pressed when it is low.
const buttonPin = 18

// registers reads and writes a board's registers while the board runs, by the emulator's
// own test protocol.
type registers struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

// registersSocket is the socket of the emulator's test protocol.
func (e *emulatedBoard) registersSocket() string { return filepath.Join(e.folder, "registers.sock") }

// openRegisters starts with an open button. The emulator has no pull-up; an input keeps
// the level that was last written to it.
func (e *emulatedBoard) openRegisters() {
	e.t.Helper()
	r := &registers{t: e.t}
	waitUntil(e.t, 20*time.Second, e.name+"'s registers", func() (err error) {
		r.c, err = net.Dial("unix", e.registersSocket())
		return err
	})
	r.r = bufio.NewReader(r.c)
	e.registers = r
	e.setButton(false)
}

// ask sends the emulator one command, and returns the reply after its OK.
func (r *registers) ask(format string, args ...any) string {
	r.t.Helper()
	if err := r.c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(r.c, format+"\n", args...); err != nil {
		r.t.Fatalf("the emulator's registers: %v", err)
	}
	line, err := r.r.ReadString('\n')
	said, good := strings.CutPrefix(strings.TrimSpace(line), "OK")
	if err != nil || !good {
		r.t.Fatalf("the emulator's registers: %v after %q", err, line)
	}
	return strings.TrimSpace(said)
}

// read returns a 32-bit register.
func (r *registers) read(address uint32) uint32 {
	r.t.Helper()
	n, err := strconv.ParseUint(r.ask("readl %#x", address), 0, 32)
	if err != nil {
		r.t.Fatal(err)
	}
	return uint32(n)
}

func (r *registers) write(address, value uint32) {
	r.t.Helper()
	r.ask("writel %#x %#x", address, value)
}

// setButton closes or opens the button's contact.
func (e *emulatedBoard) setButton(down bool) {
	e.t.Helper()
	if down {
		e.registers.write(gpioClear, 1<<buttonPin)
	} else {
		e.registers.write(gpioSet, 1<<buttonPin)
	}
}

// holdButton holds the button down for a time by the board's clock.
func (e *emulatedBoard) holdButton(length time.Duration) {
	e.t.Helper()
	e.setButton(true)
	e.waitBoardTime(length)
	e.setButton(false)
}

// waitBoardTime waits for a time by the board's clock, which a busy machine slows down. It
// fails if that clock stands still.
func (e *emulatedBoard) waitBoardTime(length time.Duration) {
	e.t.Helper()
	from, end := e.registers.read(systemTimer), time.Now().Add(bootLimit)
	for {
		if time.Duration(e.registers.read(systemTimer)-from)*time.Microsecond >= length {
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("%v of the board's time have not passed within %v", length, bootLimit)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// isOutput reports whether a pin is an output.
func (r *registers) isOutput(pin int) bool {
	r.t.Helper()
	return r.read(gpioFunctions+uint32(pin/10)*4)>>(pin%10*3)&7 == 1
}

// sample holds the levels of all pins at a moment of the board's own time.
type sample struct {
	at     time.Duration
	levels uint32
}

// sampleEvery is the interval between samples: six in the shortest light.
const sampleEvery = 20 * time.Millisecond

// samplePins samples the pins for a time by the board's clock.
func (e *emulatedBoard) samplePins(length time.Duration) []sample {
	e.t.Helper()
	var all []sample
	from, end := e.registers.read(systemTimer), time.Now().Add(bootLimit)
	for {
		at := time.Duration(e.registers.read(systemTimer)-from) * time.Microsecond
		all = append(all, sample{at, e.registers.read(gpioLevels)})
		if at >= length {
			return all
		}
		if time.Now().After(end) {
			e.t.Fatalf("%v of the board's time have not passed within %v", length, bootLimit)
		}
		time.Sleep(sampleEvery)
	}
}
