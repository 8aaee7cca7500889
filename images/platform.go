package images

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// platform is one of a card's kernels, and the boards that it is for. All of
// them start the same programs: a processor of a later board runs what an ARMv6
// runs.
type platform struct {
	name         string
	metaPackage  string   // the package that depends on the newest kernel
	flavour      string   // what the name of the kernel's package ends in
	architecture string   // Debian's
	file         string   // the kernel's name in a slot
	gzipped      bool     // it is to be packed by gzip: it does not unpack itself
	deviceTrees  []string // patterns of the names of its boards' descriptions (dtb)
	modules      []string // loaded at the start, in this order
	kexec        string   // the name of a kexec of its own; "": it takes the first boards'
	packages     []string // what that consists of
}

// armv6Platform are what every card is for: Models A, B, A+, B+ and Zero.
func armv6Platform() platform {
	return platform{
		name: "the first boards", metaPackage: "linux-image-rpi", flavour: "-rpi", architecture: "armel",
		file: "vmlinuz", deviceTrees: []string{"bcm2835-rpi-*.dtb"}, modules: baseModules(),
	}
}

// armv7Platform go along if later boards are asked for: Pi 2.
func armv7Platform() platform {
	return platform{
		name: "Pi 2", metaPackage: "linux-image-armmp", flavour: "-armmp", architecture: "armhf",
		file: "vmlinuz7", deviceTrees: []string{"bcm2836-rpi-*.dtb"}, modules: laterModules(),
	}
}

// arm64Platform go along with these: those whose kernel has 64 bits, Pi 3, Zero 2 and
// Pi 4. Only that one has drivers for a Pi 4's network and USB, and only that one
// starts on an emulated Pi 3. It starts another kernel for a program of 64 bits
// alone.
func arm64Platform() platform {
	return platform{
		name: "boards of 64 bits", metaPackage: "linux-image-arm64", flavour: "-arm64", architecture: "arm64",
		file: "vmlinuz8", gzipped: true, deviceTrees: []string{"broadcom/bcm2837-rpi-*.dtb", "broadcom/bcm2711-rpi-*.dtb"},
		modules: append(laterModules(), arm64Modules()...),
		kexec:   "kexec64",
		packages: []string{
			"kexec-tools", "libc6", "zlib1g",
			// Debian's kexec can start Xen too, and wants its libraries for whatever it does.
			"libxenmisc4.17", "libxencall1", "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1",
			"libxengnttab1", "libxentoolcore1", "libxentoollog1",
		},
	}
}

// libraryTriplet names an architecture as folders of libraries do.
func libraryTriplet(architecture string) string {
	return map[string]string{"armel": "arm-linux-gnueabi", "arm64": "aarch64-linux-gnu"}[architecture]
}

// allPlatforms are those of a card for later boards.
func allPlatforms() []platform { return []platform{armv6Platform(), armv7Platform(), arm64Platform()} }

// platforms are those that a card is to have.
func (o Options) platforms() []platform {
	if o.Later {
		return allPlatforms()
	}
	return []platform{armv6Platform()}
}

// isKernel reports whether a package is this generation's kernel.
func (g platform) isKernel(pkg Package) bool {
	return strings.HasPrefix(pkg.Name, kernelPrefix) && strings.HasSuffix(pkg.Name, g.flavour)
}

// allModules are what the start-up file system loads: a kernel says no to what
// only another has.
func allModules(all []platform) []string {
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

// findDeviceTrees are the device trees of a generation's boards, by their names in a
// slot.
func (k kernelPackage) findDeviceTrees() (map[string]string, error) {
	found := map[string]string{}
	for _, pattern := range k.deviceTrees {
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
