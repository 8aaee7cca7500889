package images

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// platform is one of a card's kernels, and the boards that it is for. All of them run
// the same programs: the processors of later boards execute ARMv6 code.
type platform struct {
	name         string
	metaPackage  string   // the package that depends on the newest kernel
	flavour      string   // suffix of the kernel package's name
	architecture string   // Debian's
	file         string   // the kernel's name in a slot
	gzipped      bool     // compress it by gzip, because it does not unpack itself
	deviceTrees  []string // patterns of the names of its boards' device trees (dtb)
	modules      []string // loaded at the start, in this order
	kexec        string   // the name of its own kexec program; "": it uses the first boards'
	packages     []string // that kexec and its libraries
}

// armv6Platform is on every card: Models A, B, A+, B+ and Zero.
func armv6Platform() platform {
	return platform{
		name: "the first boards", metaPackage: "linux-image-rpi", flavour: "-rpi", architecture: "armel",
		file: "vmlinuz", deviceTrees: []string{"bcm2835-rpi-*.dtb"}, modules: baseModules(),
	}
}

// armv7Platform is on cards for later boards: Pi 2.
func armv7Platform() platform {
	return platform{
		name: "Pi 2", metaPackage: "linux-image-armmp", flavour: "-armmp", architecture: "armhf",
		file: "vmlinuz7", deviceTrees: []string{"bcm2836-rpi-*.dtb"}, modules: laterModules(),
	}
}

// arm64Platform is on cards for later boards: Pi 3, Zero 2 and Pi 4, with a 64-bit
// kernel. Only that kernel has drivers for a Pi 4's network and USB, and only that one
// starts on an emulated Pi 3. It lets only a 64-bit kexec start another kernel.
func arm64Platform() platform {
	return platform{
		name: "boards of 64 bits", metaPackage: "linux-image-arm64", flavour: "-arm64", architecture: "arm64",
		file: "vmlinuz8", gzipped: true, deviceTrees: []string{"broadcom/bcm2837-rpi-*.dtb", "broadcom/bcm2711-rpi-*.dtb"},
		modules: append(laterModules(), arm64Modules()...),
		kexec:   "kexec64",
		packages: []string{
			"kexec-tools", "libc6", "zlib1g",
			// Debian's kexec can start Xen too, and always needs Xen's libraries.
			"libxenmisc4.17", "libxencall1", "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1",
			"libxengnttab1", "libxentoolcore1", "libxentoollog1",
		},
	}
}

// libraryTriplet returns an architecture's name in the paths of libraries.
func libraryTriplet(architecture string) string {
	return map[string]string{"armel": "arm-linux-gnueabi", "arm64": "aarch64-linux-gnu"}[architecture]
}

// allPlatforms returns the platforms of a card for later boards too.
func allPlatforms() []platform { return []platform{armv6Platform(), armv7Platform(), arm64Platform()} }

func (o Options) platforms() []platform {
	if o.Later {
		return allPlatforms()
	}
	return []platform{armv6Platform()}
}

func (p platform) isKernel(pkg Package) bool {
	return strings.HasPrefix(pkg.Name, kernelPrefix) && strings.HasSuffix(pkg.Name, p.flavour)
}

// allModules returns the modules that the first program loads: a kernel refuses those
// that only another kernel has.
func allModules(all []platform) []string {
	var names []string
	for _, p := range all {
		for _, name := range p.modules {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// findDeviceTrees returns the device trees of a platform's boards, by their names in a
// slot.
func (k kernelPackage) findDeviceTrees() (map[string]string, error) {
	found := map[string]string{}
	for _, pattern := range k.deviceTrees {
		files, err := filepath.Glob(filepath.Join(k.root, "usr/lib", kernelPrefix+k.version, pattern))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("the kernel package for %s has no device trees %s", k.name, pattern)
		}
		for _, file := range files {
			found[path.Base(filepath.ToSlash(file))] = file
		}
	}
	return found, nil
}
