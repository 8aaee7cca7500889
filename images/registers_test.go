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

// The registers of the first boards where their processor sees them (BCM2835 ARM
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

// registers reads and writes a board's registers from outside while the board
// runs: the emulator's own test protocol, which also works beside a processor.
type registers struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

// registersSocket is where an emulator listens for one who has its registers.
func (b *emulated) registersSocket() string { return filepath.Join(b.folder, "registers.sock") }

// openRegisters begins with a button that nobody presses. The emulator has no
// pull-up, and lets an input have the level that was last written to it.
func (b *emulated) openRegisters() {
	b.t.Helper()
	r := &registers{t: b.t}
	until(b.t, 20*time.Second, b.name+"'s registers", func() (err error) {
		r.c, err = net.Dial("unix", b.registersSocket())
		return err
	})
	r.r = bufio.NewReader(r.c)
	b.registers = r
	b.press(false)
}

// ask has the emulator carry out one command, and returns what follows its OK.
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

// read is a register of 32 bits.
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

// press closes the button's contact, or lets go of it.
func (b *emulated) press(down bool) {
	b.t.Helper()
	if down {
		b.registers.write(gpioClear, 1<<buttonPin)
	} else {
		b.registers.write(gpioSet, 1<<buttonPin)
	}
}

// hold presses the button for so long by the board's clock.
func (b *emulated) hold(length time.Duration) {
	b.t.Helper()
	b.press(true)
	b.pass(length)
	b.press(false)
}

// pass waits until so much of the board's time has passed. A busy machine slows
// that down; it must not stand still.
func (b *emulated) pass(length time.Duration) {
	b.t.Helper()
	from, end := b.registers.read(systemTimer), time.Now().Add(bootLimit)
	for {
		if time.Duration(b.registers.read(systemTimer)-from)*time.Microsecond >= length {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%v of the board's time have not passed within %v", length, bootLimit)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// isOutput reports whether a pin is switched to be one.
func (r *registers) isOutput(pin int) bool {
	r.t.Helper()
	return r.read(gpioFunctions+uint32(pin/10)*4)>>(pin%10*3)&7 == 1
}

// sample are the levels of all pins at a moment of the board's own time.
type sample struct {
	at     time.Duration
	levels uint32
}

// sampleEvery is how often pins are looked at: six times in the shortest light.
const sampleEvery = 20 * time.Millisecond

// watch looks at the pins for so long by the board's clock.
func (b *emulated) watch(length time.Duration) []sample {
	b.t.Helper()
	var all []sample
	from, end := b.registers.read(systemTimer), time.Now().Add(bootLimit)
	for {
		at := time.Duration(b.registers.read(systemTimer)-from) * time.Microsecond
		all = append(all, sample{at, b.registers.read(gpioLevels)})
		if at >= length {
			return all
		}
		if time.Now().After(end) {
			b.t.Fatalf("%v of the board's time have not passed within %v", length, bootLimit)
		}
		time.Sleep(sampleEvery)
	}
}
