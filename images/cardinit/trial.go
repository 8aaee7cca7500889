package cardinit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// loadWait bounds loading another kernel.
	loadWait = time.Minute
	// trialTime is how long a slot may be on trial before the board goes back to
	// the other by itself: "bramble update" commits within a minute of the
	// board's being back.
	trialTime = 10 * time.Minute
	// trialLook is how often it is looked whether it was committed.
	trialLook = 5 * time.Second
	// quietWait is how long a USB device may take to finish what it is at.
	quietWait = 500 * time.Millisecond
)

// kind is one of the kernels that a card may have, and how it is started by kexec.
type kind struct {
	flavour string   // what the name that it says of itself ends in
	file    string   // of a slot
	program string   // that starts it out of one of its kind
	options []string // more for that
}

// kinds are Debian's kernels for the first boards, which comes last and fits any
// name, for ARMv7 processors of all makes, and for those of 64 bits.
func kinds() []kind {
	return []kind{
		// Where such a kernel unpacks itself to lies higher than kexec reckons, and
		// the start-up file system in the way; this keeps it out of there.
		{"-armmp", LaterKernelFile, "kexec", []string{"--image-size=67108864"}},
		{"-arm64", WideKernelFile, "kexec64", nil}, // has 64 bits itself
		{"", KernelFile, "kexec", nil},
	}
}

// kind is that of the running kernel: this board starts no other.
func (s *Slots) kind() kind {
	// Where there is no name there is a first board.
	release, _ := os.ReadFile(filepath.Join(s.paths.Proc, "sys", "kernel", "osrelease"))
	all := kinds()
	return all[slices.IndexFunc(all, func(k kind) bool { return strings.HasSuffix(strings.TrimSpace(string(release)), k.flavour) })]
}

// kernel is the file of a slot that this board starts.
func (s *Slots) kernel() string { return s.kind().file }

// whole reports whether a slot can be tried.
func (s *Slots) whole(slot string) error {
	for _, name := range []string{s.kernel(), InitrdFile, CmdlineFile, VersionFile} {
		if _, err := os.Stat(s.file(slot, name)); err != nil {
			return fmt.Errorf("slot %s is not whole: %w", slot, err)
		}
	}
	return nil
}

// tryWords are the kernel's words for a slot on trial: those of its own
// cmdline.txt, those of the running kernel that its slot's file has not (the
// firmware's, or an emulator's; how many processors it took was for a hop), and
// the one that says that this is a trial.
func tryWords(own, running, runningSlot string) string {
	const trial = "bramble.tryboot=1"
	words := strings.Fields(own)
	has := map[string]bool{trial: true}
	for _, w := range append(strings.Fields(runningSlot), words...) {
		has[w] = true
	}
	// Where this kernel was not to open the watchdog, the next is not either.
	const watchdog = "bramble.watchdog=1"
	if !slices.Contains(strings.Fields(running), watchdog) {
		words = slices.DeleteFunc(words, func(w string) bool { return w == watchdog })
	}
	for _, w := range strings.Fields(running) {
		if !has[w] && !strings.HasPrefix(w, "bramble.slot=") && w != oneProcessor {
			words = append(words, w)
		}
	}
	return strings.Join(append(words, trial), " ")
}

// try has the other slot be tried. If it returns, a restart follows: after an
// error into the slot that runs.
func (a *aboard) try() error {
	switch {
	case several(a.Paths):
		return a.hop()
	case a.words.NoKexec:
		return nil
	}
	return a.tryOther()
}

// tryOther starts the other slot's kernel out of this one (kexec), because
// Debian's kernel cannot ask the firmware for a trial. Whatever becomes of it —
// a panic, the watchdog, the plug — ends in the firmware, which starts the slot
// of config.txt. It returns only if that fails.
func (a *aboard) tryOther() error {
	ctx, cancel := context.WithTimeout(context.Background(), loadWait)
	defer cancel()
	slots, err := OpenSlots(a.Machine, a.Paths)
	if err != nil {
		return err
	}
	other := OtherSlot(a.words.Slot)
	if err := slots.whole(other); err != nil {
		return err
	}
	own, err := os.ReadFile(slots.file(other, CmdlineFile))
	if err != nil {
		return err
	}
	running, err := os.ReadFile(filepath.Join(a.Paths.Proc, "cmdline"))
	if err != nil {
		return err
	}
	runningSlot, err := os.ReadFile(slots.file(a.words.Slot, CmdlineFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	kind := slots.kind()
	load := append([]string{"-l", slots.file(other, kind.file), "--initrd=" + slots.file(other, InitrdFile),
		"--command-line=" + tryWords(string(own), string(running), string(runningSlot))}, kind.options...)
	code, output, err := a.Machine.Run(ctx, kind.program, load...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("kexec ended with %d: %s", code, lastLine(output))
	}
	if err := a.Machine.Unmount(a.Paths.Boot); err != nil {
		a.say("%v", err)
	}
	a.quietUSB(ctx)
	a.guardian.end(true) // its 15 s begin anew, for the next kernel to come up in
	if a.words.Hop && a.words.Watchdog {
		// There was no board yet for a guardian to look after. It is not closed.
		if _, err := a.Machine.OpenWatchdog(watchdogTimeout); err != nil {
			a.say("no watchdog: %v", err)
		}
	}
	_, output, err = a.Machine.Run(ctx, kind.program, "-e")
	return errors.Join(fmt.Errorf("kexec did not start it: %s", lastLine(output)), err)
}

// quietUSB takes what is plugged in from its drivers, and then the host, whose
// port loses its power: a packet that arrives late would be written into the
// memory of the kernel that comes next.
func (a *aboard) quietUSB(ctx context.Context) {
	for _, driver := range []struct{ dir, bound string }{
		{"bus/usb/drivers/usb", "[0-9]*-*"}, {"bus/usb/drivers/usb", "usb[0-9]*"}, {"bus/platform/drivers/dwc2", "*.usb"},
	} {
		dir := filepath.Join(a.Paths.Sys, filepath.FromSlash(driver.dir))
		found, err := filepath.Glob(filepath.Join(dir, driver.bound)) // sorted
		if err != nil {
			continue
		}
		for _, device := range slices.Backward(found) { // a hub comes before what is plugged into it
			// What cannot be taken away stays as it is.
			_ = os.WriteFile(filepath.Join(dir, "unbind"), []byte(filepath.Base(device)), 0)
			rest(ctx, quietWait)
		}
	}
}

// watchTrial restarts the machine, into the slot of config.txt, if the slot
// that is on trial is not committed in time. It returns when it is, or ctx ends.
func (a *aboard) watchTrial(ctx context.Context, limit, look time.Duration) {
	slots, err := OpenSlots(a.Machine, a.Paths)
	if err != nil {
		a.say("%v", err)
		return
	}
	end := time.Now().Add(limit)
	for ctx.Err() == nil {
		if done, err := slots.Committed(); err == nil && done {
			a.say("slot %s has passed its trial", a.words.Slot)
			return
		}
		if time.Now().After(end) {
			a.say("slot %s was not committed within %v: going back to slot %s", a.words.Slot, limit, OtherSlot(a.words.Slot))
			a.Machine.Sync()
			a.log.settle(ctx)
			if err := a.Machine.Restart(); err != nil {
				a.say("%v", err)
			}
			return
		}
		rest(ctx, look)
	}
}
