package aboard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// loadWait bounds loading another kernel.
const loadWait = time.Minute

// Files of a slot.
const (
	kernelFile  = "vmlinuz"
	initrdFile  = "initrd.img"
	cmdlineFile = "cmdline.txt"
	versionFile = "slot.txt"
)

func otherSlot(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
}

// tryWords are the kernel's words for a slot on trial: those of its own
// cmdline.txt, those of the running kernel that no slot has (the firmware's,
// or an emulator's), and the one that says that this is a trial.
func tryWords(own, running, runningSlot string) string {
	const trial = "bramble.tryboot=1"
	words := strings.Fields(own)
	has := map[string]bool{trial: true}
	for _, w := range append(strings.Fields(runningSlot), words...) {
		has[w] = true
	}
	for _, w := range strings.Fields(running) {
		if !has[w] && !strings.HasPrefix(w, "bramble.slot=") {
			words = append(words, w)
		}
	}
	return strings.Join(append(words, trial), " ")
}

// tryOther starts the other slot's kernel out of this one (kexec). Whatever
// becomes of it — a panic, the watchdog, the plug — ends in the firmware, which
// boots the slot of config.txt. It returns only if that fails.
func (a *aboard) tryOther() error {
	slot := filepath.Join(a.Paths.Boot, otherSlot(a.words.Slot))
	own, err := os.ReadFile(filepath.Join(slot, cmdlineFile))
	if err != nil {
		return err
	}
	running, err := os.ReadFile(filepath.Join(a.Paths.Proc, "cmdline"))
	if err != nil {
		return err
	}
	runningSlot, err := os.ReadFile(filepath.Join(a.Paths.Boot, a.words.Slot, cmdlineFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), loadWait)
	defer cancel()
	code, output, err := a.Machine.Run(ctx, "kexec", "-l", filepath.Join(slot, kernelFile),
		"--initrd="+filepath.Join(slot, initrdFile), "--command-line="+tryWords(string(own), string(running), string(runningSlot)))
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("kexec ended with %d: %s", code, lastLine(output))
	}
	if err := a.Machine.Unmount(a.Paths.Boot); err != nil {
		a.say("%v", err)
	}
	_, output, err = a.Machine.Run(ctx, "kexec", "-e")
	return errors.Join(fmt.Errorf("kexec did not start it: %s", lastLine(output)), err)
}
