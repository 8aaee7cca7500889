package cardinit

import (
	"os"
	"path/filepath"
	"strings"
)

// KernelParams are the kernel parameters, on the kernel's command line, that
// configure the card's init.
type KernelParams struct {
	Slot     string // bramble.slot, "a" or "b": the slot that runs
	OnCard   bool   // bramble.slot is there: this machine was started from a slot of the image
	Watchdog bool   // bramble.watchdog=1: the hardware watchdog may be opened
	Serial   string // bramble.serial, in place of the board's own; the emulator has none
	Trial    bool   // bramble.trial=1: the slot is on trial
	NoKexec  bool   // bramble.kexec=0: restart for a trial; the boot loader of this machine starts the other slot
	Hop      bool   // the kernel took one processor, so that it can start the other slot's kernel
}

// parseCmdline reads a kernel command line. It ignores other programs' parameters
// and impossible values: a board that starts is worth more than a strict parser.
func parseCmdline(line string) KernelParams {
	p := KernelParams{Slot: "a"}
	for _, param := range strings.Fields(line) {
		name, value, _ := strings.Cut(param, "=")
		switch name {
		case "bramble.slot":
			if p.OnCard = true; value == "a" || value == "b" {
				p.Slot = value
			}
		case "bramble.watchdog":
			p.Watchdog = value == "1"
		case "bramble.serial":
			p.Serial = normalizeSerial(value)
		case "bramble.trial":
			p.Trial = value == "1"
		case "bramble.kexec":
			p.NoKexec = value == "0"
		case strings.TrimSuffix(cpusKey, "="):
			p.Hop = param == oneCPUParam
		}
	}
	return p
}

// readParams reads the running kernel's command line.
func readParams(p Paths) (KernelParams, error) {
	line, err := os.ReadFile(filepath.Join(p.Proc, "cmdline"))
	return parseCmdline(string(line)), err
}

// OnCard reports whether this machine was started from a slot of the image.
func OnCard(p Paths) bool {
	params, err := readParams(p)
	return err == nil && params.OnCard
}
