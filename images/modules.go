package images

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// baseModules returns the modules that the first boards load at the start, in this
// order. Their kernel has SD host, USB, SPI and watchdog built in.
func baseModules() []string {
	return []string{
		"crc32c_generic",      // the checksums of ext4
		"ext4",                // the data partition
		"nls_cp437",           // the boot partition's short names
		"nls_ascii",           // and its long ones
		"vfat",                // the boot partition
		"smsc",                // the network chip's line side
		"smsc95xx",            // the network of models A and B
		"microchip",           // the same two for the 3B+
		"lan78xx",             //
		"cdc_ether",           // network adapters of the usual kind, and the emulator's
		"rndis_host",          // the emulator's, as it first presents itself
		"cdc_subset",          // adapters of a simpler kind
		"leds-gpio",           // the green LED
		"ledtrig-timer",       // blinking by the kernel, when no program runs
		"ledtrig-default-on",  //
		"bcm2835-rng",         // random numbers for keys, early
		"raspberrypi-hwmon",   // reports a supply that is too weak
		"raspberrypi-cpufreq", // the Zero's full speed
		"sd_mod",              // USB sticks
		"usb-storage",         //
		"uas",                 // those that would not speak usb-storage to a kernel that has this
		"exfat",               // and their file system from 64 GB on
	}
}

// laterModules returns the modules of later boards, whose kernels have less built in.
func laterModules() []string {
	base := slices.DeleteFunc(baseModules(), func(name string) bool { return name == "raspberrypi-hwmon" }) // they have no such sensor
	return append([]string{
		"bcm2835",        // the SD host of these boards
		"sdhci-iproc",    // and the other one, if the device tree selects it
		"phy-generic",    // USB's transceiver, without which its host waits
		"dwc2",           // USB, to which the network is attached
		"bcm2835_wdt",    // the watchdog
		"gpio-regulator", // the card's voltage
		"spi-bcm2835",    // a strip of lamps
	}, base...)
}

// arm64Modules returns the further modules of the 64-bit kernel, for a Pi 4.
func arm64Modules() []string {
	return []string{
		"fixed",             // the card's voltage too
		"broadcom",          // the network chip's line side
		"genet",             // the network
		"iproc-rng200",      // random numbers for keys, early
		"reset-raspberrypi", // USB's host waits for it
		"xhci-pci",          // USB, for another network adapter
	}
}

// kernelPackage is the unpacked kernel package of a platform.
type kernelPackage struct {
	platform
	root    string // of the unpacked package
	version string // such as "6.1.0-50-rpi"
}

const kernelPrefix = "linux-image-"

func (b *builder) findKernel(p platform) (kernelPackage, error) {
	for _, pkg := range b.lock.Packages {
		if p.isKernel(pkg) {
			return kernelPackage{p, b.packageRoot(p.architecture), strings.TrimPrefix(pkg.Name, kernelPrefix)}, nil
		}
	}
	return kernelPackage{}, fmt.Errorf("%w: it has no package %s…%s, the kernel for %s", ErrBadLock, kernelPrefix, p.flavour, p.name)
}

// stageModules copies the platform's modules, and those that they need, below a folder,
// and indexes them there (depmod). Debian's packages have no index: Debian creates it
// when a kernel is installed.
func (k kernelPackage) stageModules(ctx context.Context, t toolbox, into string) error {
	base := k.root
	if _, err := os.Stat(filepath.Join(base, "lib/modules")); err != nil {
		base = filepath.Join(base, "usr") // where Debian has them since trixie
	}
	if _, err := t.run(ctx, "depmod", "--basedir", base, k.version); err != nil {
		return fmt.Errorf("indexing the kernel's modules: %w", err)
	}
	from := filepath.Join(base, "lib/modules", k.version)
	index, err := os.ReadFile(filepath.Join(from, "modules.dep"))
	if err != nil {
		return fmt.Errorf("reading the index of modules: %w", err)
	}
	builtin, err := os.ReadFile(filepath.Join(from, "modules.builtin"))
	if err != nil {
		return fmt.Errorf("reading the list of built-in modules: %w", err)
	}
	files, err := moduleClosure(parseModules(string(index)), parseModules(string(builtin)), k.modules)
	if err != nil {
		return err
	}
	to := filepath.Join(into, "lib/modules", k.version)
	for _, name := range append(files, "modules.order", "modules.builtin", "modules.builtin.modinfo") {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return fmt.Errorf("reading the kernel's modules: %w", err)
		}
		if plain, compressed := strings.CutSuffix(name, ".xz"); compressed { // the card's busybox loads only plain ones
			if content, err = t.run(ctx, "xz", "--decompress", "--stdout", filepath.Join(from, name)); err != nil {
				return fmt.Errorf("unpacking a module: %w", err)
			}
			name = plain
		}
		if err := writeFile(filepath.Join(to, name), content); err != nil {
			return err
		}
	}
	if _, err := t.run(ctx, "depmod", "--basedir", into, k.version); err != nil {
		return fmt.Errorf("indexing the card's modules: %w", err)
	}
	return nil
}

// moduleFile is a module and the files that must be loaded before it.
type moduleFile struct {
	path  string
	needs []string
}

// parseModules reads modules.dep and modules.builtin: a line per module, "PATH: PATH…"
// or "PATH". The key is the module's name, with '_' for '-'.
func parseModules(text string) map[string]moduleFile {
	all := map[string]moduleFile{}
	for line := range strings.Lines(text) {
		path, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		if path != "" {
			all[moduleName(path)] = moduleFile{path, strings.Fields(needs)}
		}
	}
	return all
}

func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// moduleClosure returns the files of the named modules and of all that they need, sorted.
func moduleClosure(modules, builtin map[string]moduleFile, names []string) ([]string, error) {
	files := map[string]bool{}
	for _, name := range names {
		name = moduleName(name)
		if _, inside := builtin[name]; inside {
			continue
		}
		m, found := modules[name]
		if !found {
			return nil, fmt.Errorf("the kernel has no module %s", name)
		}
		files[m.path] = true
		for _, need := range m.needs {
			files[need] = true
		}
	}
	return slices.Sorted(maps.Keys(files)), nil
}
