package images

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// generation is one of a card's kernels, and the boards that it is for. All of
// them start the same programs: a processor of a later board runs what an ARMv6
// runs.
type generation struct {
	name         string
	meta         string   // the package that depends on the newest kernel
	flavour      string   // what the name of the kernel's package ends in
	architecture string   // Debian's
	file         string   // the kernel's name in a slot
	packed       bool     // it is to be packed by gzip: it does not unpack itself
	trees        []string // patterns of the names of its boards' descriptions (dtb)
	modules      []string // loaded at the start, in this order
	kexec        string   // the name of a kexec of its own; "": it takes the first boards'
	packages     []string // what that consists of
}

// firstBoards are what every card is for: Models A, B, A+, B+ and Zero.
func firstBoards() generation {
	return generation{
		name: "the first boards", meta: "linux-image-rpi", flavour: "-rpi", architecture: "armel",
		file: "vmlinuz", trees: []string{"bcm2835-rpi-*.dtb"}, modules: wantedModules(),
	}
}

// secondBoards go along if later boards are asked for: Pi 2.
func secondBoards() generation {
	return generation{
		name: "Pi 2", meta: "linux-image-armmp", flavour: "-armmp", architecture: "armhf",
		file: "vmlinuz7", trees: []string{"bcm2836-rpi-*.dtb"}, modules: laterModules(),
	}
}

// wideBoards go along with these: those whose kernel has 64 bits, Pi 3, Zero 2 and
// Pi 4. Only that one has drivers for a Pi 4's network and USB, and only that one
// starts on an emulated Pi 3. It starts another kernel for a program of 64 bits
// alone.
func wideBoards() generation {
	return generation{
		name: "boards of 64 bits", meta: "linux-image-arm64", flavour: "-arm64", architecture: "arm64",
		file: "vmlinuz8", packed: true, trees: []string{"broadcom/bcm2837-rpi-*.dtb", "broadcom/bcm2711-rpi-*.dtb"},
		modules: append(laterModules(), wideModules()...),
		kexec:   "kexec64",
		packages: []string{
			"kexec-tools", "libc6", "zlib1g",
			// Debian's kexec can start Xen too, and wants its libraries for whatever it does.
			"libxenmisc4.17", "libxencall1", "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1",
			"libxengnttab1", "libxentoolcore1", "libxentoollog1",
		},
	}
}

// triplet names an architecture as folders of libraries do.
func triplet(architecture string) string {
	return map[string]string{"armel": "arm-linux-gnueabi", "arm64": "aarch64-linux-gnu"}[architecture]
}

// allGenerations are those of a card for later boards.
func allGenerations() []generation { return []generation{firstBoards(), secondBoards(), wideBoards()} }

// generations are those that a card is to have.
func (o Options) generations() []generation {
	if o.Later {
		return allGenerations()
	}
	return []generation{firstBoards()}
}

// is reports whether a package is this generation's kernel.
func (g generation) is(pkg Package) bool {
	return strings.HasPrefix(pkg.Name, kernelPrefix) && strings.HasSuffix(pkg.Name, g.flavour)
}

// modulesOf are what the start-up file system loads: a kernel says no to what
// only another has.
func modulesOf(all []generation) []string {
	var names []string
	for _, g := range all {
		for _, name := range g.modules {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// descriptions are the device trees of a generation's boards, by their names in a
// slot.
func (k kernel) descriptions() (map[string]string, error) {
	found := map[string]string{}
	for _, pattern := range k.trees {
		files, err := filepath.Glob(filepath.Join(k.root, "usr/lib", kernelPrefix+k.version, pattern))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("the package of the kernel for %s has no descriptions %s", k.name, pattern)
		}
		for _, file := range files {
			found[path.Base(filepath.ToSlash(file))] = file
		}
	}
	return found, nil
}
