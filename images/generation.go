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
	trees        []string // patterns of the names of its boards' descriptions (dtb)
	modules      []string // loaded at the start, in this order
}

// firstBoards are what every card is for: Models A, B, A+, B+ and Zero.
func firstBoards() generation {
	return generation{
		name: "the first boards", meta: "linux-image-rpi", flavour: "-rpi", architecture: "armel",
		file: "vmlinuz", trees: []string{"bcm2835-rpi-*.dtb"}, modules: wantedModules(),
	}
}

// laterBoards go along if they are asked for: Pi 2, 3 and Zero 2. A Pi 4 would be
// one of them, but Debian's kernel of this kind has no driver for its network.
func laterBoards() generation {
	modules := slices.DeleteFunc(wantedModules(), func(name string) bool { return name == "raspberrypi-hwmon" }) // it has none
	return generation{
		name: "later boards", meta: "linux-image-armmp", flavour: "-armmp", architecture: "armhf",
		file: "vmlinuz7", trees: []string{"bcm2836-rpi-*.dtb", "bcm2837-rpi-*.dtb"},
		modules: append([]string{
			"bcm2835",        // the SD host of these boards
			"sdhci-iproc",    // and the other one, if their description says so
			"phy-generic",    // USB's line, without which its host waits
			"dwc2",           // USB, on which the network hangs
			"bcm2835_wdt",    // the watchdog
			"gpio-regulator", // the card's voltage
			"spi-bcm2835",    // a strip of lamps
		}, modules...),
	}
}

// generations are those that a card is to have.
func (o Options) generations() []generation {
	if o.Later {
		return []generation{firstBoards(), laterBoards()}
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
