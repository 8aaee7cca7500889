package cardinit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kernelKind is one of the kernels that a card may have, and how kexec starts it.
type kernelKind struct {
	flavour string   // suffix of its release name
	file    string   // of a slot
	program string   // the kexec that one kernel of this kind starts another with
	options []string // further options for that program
}

// kernelKinds are Debian's kernels for ARMv7 processors, for those of 64 bits, and
// for the first boards. The last one matches any name.
func kernelKinds() []kernelKind {
	return []kernelKind{
		// This kernel unpacks itself to a higher address than kexec computes, right over
		// the start-up file system. The option keeps that out of the way.
		{"-armmp", ARMv7KernelFile, "kexec", []string{"--image-size=67108864"}},
		{"-arm64", ARM64KernelFile, "kexec64", nil}, // a 64-bit program
		{"", KernelFile, "kexec", nil},
	}
}

// kernelKind returns the kind of the running kernel: this board starts no other.
func (s *Slots) kernelKind() kernelKind {
	// If the name cannot be read, it is a first board.
	release, _ := os.ReadFile(filepath.Join(s.paths.Proc, "sys", "kernel", "osrelease"))
	all := kernelKinds()
	return all[slices.IndexFunc(all, func(k kernelKind) bool { return strings.HasSuffix(strings.TrimSpace(string(release)), k.flavour) })]
}

// trialCmdline returns the kernel command line for a slot on trial: the parameters
// of its own cmdline.txt; those of the running kernel that its slot's file does not
// have (the firmware's, or an emulator's), without the mark of a hop; and the one
// that marks the trial.
func trialCmdline(own, running, runningSlot string) string {
	const trial = "bramble.trial=1"
	params := strings.Fields(own)
	skip := map[string]bool{trial: true}
	for _, p := range append(strings.Fields(runningSlot), params...) {
		skip[p] = true
	}
	// If this kernel must not open the watchdog, neither must the next.
	const watchdog = "bramble.watchdog=1"
	if !slices.Contains(strings.Fields(running), watchdog) {
		params = slices.DeleteFunc(params, func(p string) bool { return p == watchdog })
	}
	for _, p := range strings.Fields(running) {
		if !skip[p] && !strings.HasPrefix(p, "bramble.slot=") && p != oneCPUParam {
			params = append(params, p)
		}
	}
	return strings.Join(append(params, trial), " ")
}
