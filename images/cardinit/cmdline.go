package cardinit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// KernelParams are what the kernel's command line says to aboard.
type KernelParams struct {
	Slot     string // "a" or "b": which slot's kernel and program run
	Watchdog bool   // there is one that may be opened
	Serial   string // in place of the board's own; the emulator has none
	Trial    bool   // the slot is on trial
	NoKexec  bool   // restart for a trial: whoever boots this machine starts the other slot
	Hop      bool   // the kernel took one processor, so that the other slot can be tried
}

// parseCmdline reads a kernel command line. Words of others are ignored, and so
// is what makes no sense: a board that starts is worth more than one that is right.
func parseCmdline(line string) KernelParams {
	w := KernelParams{Slot: "a"}
	for _, word := range strings.Fields(line) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "bramble.slot":
			if value == "a" || value == "b" {
				w.Slot = value
			}
		case "bramble.watchdog":
			w.Watchdog = value == "1"
		case "bramble.serial":
			w.Serial = normalizeSerial(value)
		case "bramble.tryboot":
			w.Trial = value == "1"
		case "bramble.kexec":
			w.NoKexec = value == "0"
		case strings.TrimSuffix(cpusKey, "="):
			w.Hop = word == oneCPUParam
		}
	}
	return w
}

// OnCard reports whether this machine was started from a slot of the image: its
// kernel's command line names the slot.
func OnCard(p Paths) bool {
	line, err := os.ReadFile(filepath.Join(p.Proc, "cmdline"))
	return err == nil && slices.ContainsFunc(strings.Fields(string(line)), func(word string) bool {
		return strings.HasPrefix(word, "bramble.slot=")
	})
}

// maxSerial is how many digits a serial number has.
const maxSerial = 16

// normalizeSerial gives a serial number in lower-case hex digits, "" for what is none.
func normalizeSerial(s string) string {
	s = strings.ToLower(strings.Trim(s, "\x00 \t\r\n"))
	if s == "" || len(s) > maxSerial || strings.Trim(s, "0123456789abcdef") != "" || strings.Trim(s, "0") == "" {
		return ""
	}
	return s
}

// findSerial gives the board's serial number: from the kernel's words, from the
// device tree, from /proc/cpuinfo, or else the network card's address, which on
// the first boards is made of the serial number anyway.
func findSerial(w KernelParams, p Paths) (string, error) {
	if w.Serial != "" {
		return w.Serial, nil
	}
	if text, err := os.ReadFile(filepath.Join(p.Proc, "device-tree", "serial-number")); err == nil {
		if s := normalizeSerial(string(text)); s != "" {
			return s, nil
		}
	}
	if text, err := os.ReadFile(filepath.Join(p.Proc, "cpuinfo")); err == nil {
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			if strings.TrimSpace(name) == "Serial" {
				if s := normalizeSerial(value); s != "" {
					return s, nil
				}
			}
		}
	}
	if card := findInterface(p.Sys); card != "" {
		text, err := os.ReadFile(filepath.Join(p.Sys, "class", "net", card, "address"))
		if s := normalizeSerial(strings.ReplaceAll(string(text), ":", "")); err == nil && s != "" {
			return s, nil
		}
	}
	return "", errors.New("this machine has no serial number")
}

// shortSerial is what a board is told from others by: four digits.
func shortSerial(serial string) string {
	padded := "0000" + serial
	return padded[len(padded)-4:]
}

// DefaultHostName is the name of a card whose settings give it none.
func DefaultHostName(serial string) string { return "bramble-" + shortSerial(serial) }
