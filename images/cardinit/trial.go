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
	// kexecLoadTimeout bounds loading another kernel.
	kexecLoadTimeout = time.Minute
	// trialTimeout is how long a slot may be on trial before the board goes back to
	// the other by itself: "bramble update" commits within a minute of the
	// board's being back.
	trialTimeout = 10 * time.Minute
	// trialPollInterval is how often it is looked whether it was committed.
	trialPollInterval = 5 * time.Second
	// unbindDelay is how long a USB device may take to finish what it is at.
	unbindDelay = 500 * time.Millisecond
)

// kernelKind is one of the kernels that a card may have, and how it is started by kexec.
type kernelKind struct {
	flavour string   // what the name that it says of itself ends in
	file    string   // of a slot
	program string   // that starts it out of one of its kind
	options []string // more for that
}

// kernelKinds are Debian's kernels for the first boards, which comes last and fits any
// name, for ARMv7 processors of all makes, and for those of 64 bits.
func kernelKinds() []kernelKind {
	return []kernelKind{
		// Where such a kernel unpacks itself to lies higher than kexec reckons, and
		// the start-up file system in the way; this keeps it out of there.
		{"-armmp", ARMv7KernelFile, "kexec", []string{"--image-size=67108864"}},
		{"-arm64", ARM64KernelFile, "kexec64", nil}, // has 64 bits itself
		{"", KernelFile, "kexec", nil},
	}
}

// kernelKind is that of the running kernel: this board starts no other.
func (s *Slots) kernelKind() kernelKind {
	// Where there is no name there is a first board.
	release, _ := os.ReadFile(filepath.Join(s.paths.Proc, "sys", "kernel", "osrelease"))
	all := kernelKinds()
	return all[slices.IndexFunc(all, func(k kernelKind) bool { return strings.HasSuffix(strings.TrimSpace(string(release)), k.flavour) })]
}

// kernelFile is the file of a slot that this board starts.
func (s *Slots) kernelFile() string { return s.kernelKind().file }

// checkComplete reports whether a slot can be tried.
func (s *Slots) checkComplete(slot string) error {
	for _, name := range []string{s.kernelFile(), InitrdFile, CmdlineFile, VersionFile} {
		if _, err := os.Stat(s.filePath(slot, name)); err != nil {
			return fmt.Errorf("slot %s is not whole: %w", slot, err)
		}
	}
	return nil
}

// trialCmdline are the kernel's words for a slot on trial: those of its own
// cmdline.txt, those of the running kernel that its slot's file has not (the
// firmware's, or an emulator's; how many processors it took was for a hop), and
// the one that says that this is a trial.
func trialCmdline(own, running, runningSlot string) string {
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
		if !has[w] && !strings.HasPrefix(w, "bramble.slot=") && w != oneCPUParam {
			words = append(words, w)
		}
	}
	return strings.Join(append(words, trial), " ")
}

// startTrial has the other slot be tried. If it returns, a restart follows: after an
// error into the slot that runs.
func (a *cardInit) startTrial() error {
	switch {
	case isMultiprocessor(a.Paths):
		return a.requestHop()
	case a.params.NoKexec:
		return nil
	}
	return a.kexecOtherSlot()
}

// kexecOtherSlot starts the other slot's kernel out of this one (kexec), because
// Debian's kernel cannot ask the firmware for a trial. Whatever becomes of it —
// a panic, the watchdog, the plug — ends in the firmware, which starts the slot
// of config.txt. It returns only if that fails.
func (a *cardInit) kexecOtherSlot() error {
	ctx, cancel := context.WithTimeout(context.Background(), kexecLoadTimeout)
	defer cancel()
	slots, err := OpenSlots(a.System, a.Paths)
	if err != nil {
		return err
	}
	other := OtherSlot(a.params.Slot)
	if err := slots.checkComplete(other); err != nil {
		return err
	}
	own, err := os.ReadFile(slots.filePath(other, CmdlineFile))
	if err != nil {
		return err
	}
	running, err := os.ReadFile(filepath.Join(a.Paths.Proc, "cmdline"))
	if err != nil {
		return err
	}
	runningSlot, err := os.ReadFile(slots.filePath(a.params.Slot, CmdlineFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	kind := slots.kernelKind()
	load := append([]string{"-l", slots.filePath(other, kind.file), "--initrd=" + slots.filePath(other, InitrdFile),
		"--command-line=" + trialCmdline(string(own), string(running), string(runningSlot))}, kind.options...)
	code, output, err := a.System.Run(ctx, kind.program, load...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("kexec ended with %d: %s", code, lastOutputLine(output))
	}
	if err := a.System.Unmount(a.Paths.Boot); err != nil {
		a.logf("%v", err)
	}
	a.detachUSB(ctx)
	a.watchdog.stop(true) // its 15 s begin anew, for the next kernel to come up in
	if a.params.Hop && a.params.Watchdog {
		// There was no board yet for a guardian to look after. It is not closed.
		if _, err := a.System.OpenWatchdog(watchdogTimeout); err != nil {
			a.logf("no watchdog: %v", err)
		}
	}
	_, output, err = a.System.Run(ctx, kind.program, "-e")
	return errors.Join(fmt.Errorf("kexec did not start it: %s", lastOutputLine(output)), err)
}

// detachUSB takes what is plugged in from its drivers, and then the host, whose
// port loses its power: a packet that arrives late would be written into the
// memory of the kernel that comes next.
func (a *cardInit) detachUSB(ctx context.Context) {
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
			sleep(ctx, unbindDelay)
		}
	}
}

// watchTrial restarts the machine, into the slot of config.txt, if the slot
// that is on trial is not committed in time. It returns when it is, or ctx ends.
func (a *cardInit) watchTrial(ctx context.Context, limit, look time.Duration) {
	slots, err := OpenSlots(a.System, a.Paths)
	if err != nil {
		a.logf("%v", err)
		return
	}
	end := time.Now().Add(limit)
	for ctx.Err() == nil {
		if done, err := slots.Committed(); err == nil && done {
			a.logf("slot %s has passed its trial", a.params.Slot)
			return
		}
		if time.Now().After(end) {
			a.logf("slot %s was not committed within %v: going back to slot %s", a.params.Slot, limit, OtherSlot(a.params.Slot))
			a.System.Sync()
			a.log.drainConsole(ctx)
			if err := a.System.Restart(); err != nil {
				a.logf("%v", err)
			}
			return
		}
		sleep(ctx, look)
	}
}
