package cardinit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// kexecLoadTimeout limits loading another kernel.
	kexecLoadTimeout = time.Minute
	// trialTimeout limits the trial of a slot. After it the board automatically falls
	// back to the other one. "bramble update" commits within a minute of the board's
	// return.
	trialTimeout = 10 * time.Minute
	// trialPollInterval is the interval at which the commit is checked for.
	trialPollInterval = 5 * time.Second
	// unbindDelay is the time that a USB device gets to finish its transfers.
	unbindDelay = 500 * time.Millisecond
)

// startTrial starts the other slot on trial. If it returns, the caller must restart
// the machine: after an error that starts the running slot again.
func (c *cardInit) startTrial() error {
	slots, err := c.openForTrial()
	switch {
	case err != nil:
		return err
	case isMultiprocessor(c.Paths):
		return slots.setHopMark() // the part of a hop before the restart (hop.go)
	case c.params.NoKexec:
		return nil
	}
	return c.kexecOtherSlot(slots)
}

// openForTrial opens the slots, and compares the other one with its signature: this is not the
// program that has sealed it, and a board with several processors has even restarted since then.
func (c *cardInit) openForTrial() (*Slots, error) {
	settings, err := c.Load(c.Paths.SettingsFile(), c.serial)
	if err != nil {
		return nil, err // without the update keys
	}
	slots, err := OpenSlots(c.System, c.Paths, settings.UpdateKeys)
	if err != nil {
		return nil, err
	}
	other := OtherSlot(c.params.Slot)
	if version := slots.readVersion(other); version != "" {
		return slots, slots.checkOther(version)
	}
	return nil, fmt.Errorf("slot %s is incomplete", other)
}

// completeHop is the part of a hop after the restart. Every start calls it. It
// reports whether the machine must be restarted: because it has tried the other
// slot, or because the boot loader of this machine starts that slot.
func (c *cardInit) completeHop(ctx context.Context) (restart bool) {
	slots, err := OpenSlots(c.System, c.Paths, nil)
	if err != nil {
		c.log.logf("%v", err)
		return false
	}
	requested, err := slots.clearHopMark()
	other := OtherSlot(c.params.Slot)
	switch {
	case err != nil:
		c.log.logf("%s/%s cannot be restored, so slot %s is not tried: %v", c.params.Slot, CmdlineFile, other, err)
		return false
	case !requested:
		return false
	case !c.params.Hop: // the restart failed, and this program was restarted
		c.log.logf("slot %s is not tried: the machine was not restarted", other)
		return false
	}
	c.log.logf("restarting into slot %s (try)", other)
	c.log.drainConsole(ctx)
	if c.params.NoKexec {
		return true
	}
	if slots, err = c.openForTrial(); err == nil {
		err = c.kexecOtherSlot(slots)
	}
	if err != nil {
		c.log.logf("the other slot cannot be started: %v", err)
		c.log.drainConsole(ctx)
	}
	return true
}

// kexecOtherSlot starts the other slot's kernel out of this one (kexec), because
// Debian's kernel cannot request a trial from the firmware. Any failure after that, a
// panic, the watchdog, a pulled plug, ends in the firmware, which starts the
// slot of config.txt. kexecOtherSlot returns only if it fails.
func (c *cardInit) kexecOtherSlot(slots *Slots) error {
	ctx, cancel := context.WithTimeout(context.Background(), kexecLoadTimeout)
	defer cancel()
	other := OtherSlot(c.params.Slot)
	own, err := os.ReadFile(slots.filePath(other, CmdlineFile))
	if err != nil {
		return err
	}
	running, err := os.ReadFile(filepath.Join(c.Paths.Proc, "cmdline"))
	if err != nil {
		return err
	}
	runningSlot, err := os.ReadFile(slots.filePath(c.params.Slot, CmdlineFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	kind := slots.kernelKind()
	load := append([]string{"-l", slots.filePath(other, kind.file), "--initrd=" + slots.filePath(other, InitrdFile),
		"--command-line=" + trialCmdline(string(own), string(running), string(runningSlot))}, kind.options...)
	if _, err := runToEnd(ctx, c.System, kexecLoadTimeout, kind.program, load...); err != nil {
		return err
	}
	if err := c.System.Unmount(c.Paths.Boot); err != nil {
		c.log.logf("%v", err)
	}
	c.detachUSB(ctx)
	c.watchdog.stop(true) // its 15 s start again, for the next kernel
	if c.params.Hop && c.params.Watchdog {
		// No feeder has opened the watchdog yet, because no board was running. It is not
		// closed.
		if _, err := c.System.OpenWatchdog(watchdogTimeout); err != nil {
			c.log.logf("no watchdog: %v", err)
		}
	}
	_, output, err := c.System.Run(ctx, kind.program, "-e")
	return errors.Join(fmt.Errorf("kexec did not start it: %s", lastOutputLine(output)), err)
}

// detachUSB unbinds the USB devices from their drivers, and then the host, whose
// port loses its power: a packet that arrived late would be written into the memory
// of the next kernel.
func (c *cardInit) detachUSB(ctx context.Context) {
	for _, driver := range []struct{ dir, bound string }{
		{"bus/usb/drivers/usb", "[0-9]*-*"}, {"bus/usb/drivers/usb", "usb[0-9]*"}, {"bus/platform/drivers/dwc2", "*.usb"},
	} {
		dir := filepath.Join(c.Paths.Sys, filepath.FromSlash(driver.dir))
		devices, err := filepath.Glob(filepath.Join(dir, driver.bound)) // sorted
		if err != nil {
			continue
		}
		for _, device := range slices.Backward(devices) { // a hub comes before its devices
			// A device that cannot be unbound stays as it is.
			_ = os.WriteFile(filepath.Join(dir, "unbind"), []byte(filepath.Base(device)), 0)
			sleep(ctx, unbindDelay)
		}
	}
}

// watchTrial restarts the machine, into the slot of config.txt, if the slot on trial
// is not committed within limit. It returns when the slot is committed or ctx ends.
func (c *cardInit) watchTrial(ctx context.Context, limit, interval time.Duration) {
	slots, err := OpenSlots(c.System, c.Paths, nil)
	if err != nil {
		c.log.logf("%v", err)
		return
	}
	end := time.Now().Add(limit)
	for ctx.Err() == nil {
		if state, err := slots.State(); err == nil && !state.Trial {
			c.log.logf("slot %s has passed its trial", c.params.Slot)
			return
		}
		if time.Now().After(end) {
			c.log.logf("slot %s was not committed within %v: going back to slot %s", c.params.Slot, limit, OtherSlot(c.params.Slot))
			c.System.Sync()
			c.log.drainConsole(ctx)
			if err := c.System.Restart(); err != nil {
				c.log.logf("%v", err)
			}
			return
		}
		sleep(ctx, interval)
	}
}
