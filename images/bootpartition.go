package images

import (
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// configTxt tells the firmware what to start.
//
//go:embed files/config.txt
var configTxt []byte

// laterTxt follows it on a card that is for later boards too.
//
//go:embed files/later.txt
var laterTxt []byte

// readmeTxt is for who looks at the card on a laptop.
//
//go:embed files/README.txt
var readmeTxt []byte

// bootPartition is what the boot partition will hold.
type bootPartition struct {
	stage   string // a folder
	version string
	epoch   time.Time
	layout  cardLayout
	names   []string // of the files in stage, in the order in which they were added
	slot    int64    // bytes of one slot
	bytes   int64    // of all files, in whole clusters
}

// The two halves of a card: one is running while the other is written.
const (
	firstSlot  = "a"
	secondSlot = "b"
)

// addFile puts a file into the boot partition.
func (c *bootPartition) addFile(name string, content []byte) error {
	file := filepath.Join(c.stage, filepath.FromSlash(name))
	if err := writeFile(file, content); err != nil {
		return err
	}
	// Permissions decide over FAT's read-only mark; the umask must not.
	if err := os.Chmod(file, 0o644); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	c.names = append(c.names, name)
	c.bytes += roundToClusters(int64(len(content)))
	return nil
}

// addSlot fills the first slot. The second is a folder only, for an update.
func (p *builder) addSlot(c *bootPartition, kernels []kernelPackage, initrd []byte) error {
	files := map[string][]byte{
		"initrd.img":  initrd,
		"cmdline.txt": []byte(kernelCmdline(firstSlot, p.options.Later)),
		"slot.txt":    []byte(c.version + "\n"),
	}
	for _, k := range kernels {
		from, err := k.findDeviceTrees()
		if err != nil {
			return err
		}
		from[k.file] = filepath.Join(k.root, "boot/vmlinuz-"+k.version)
		for name, file := range from {
			if files[name], err = os.ReadFile(file); err != nil {
				return fmt.Errorf("the kernel: %w", err)
			}
		}
		if k.gzipped {
			if files[k.file], err = gzipBytes(files[k.file]); err != nil {
				return fmt.Errorf("packing the kernel: %w", err)
			}
		}
	}
	before := c.bytes
	for name, content := range files {
		if err := c.addFile(path.Join(firstSlot, name), content); err != nil {
			return err
		}
	}
	c.slot = c.bytes - before
	return nil
}

// kernelCmdline is what the kernel is told by the firmware. The last console is
// the one that programs write to.
func kernelCmdline(slot string, later bool) string {
	words := []string{"console=tty1", "console=ttyAMA0,115200", "panic=10", "rng_core.default_quality=1000"}
	if later {
		words = append(words, allCPUsParam)
	}
	return strings.Join(append(words, "bramble.slot="+slot, "bramble.watchdog=1"), " ") + "\n"
}

// allCPUsParam is a word that says nothing to the kernels of later boards, which have
// four, nor to a first board's, which asks for none: aboard has its last digit be 1
// for the trial of an update.
const allCPUsParam = "nr_cpus=04"

// firmwarePackage has what the graphics processor runs before there is a kernel.
const firmwarePackage = "raspi-firmware"

// addFirmware adds the firmware's files. With little memory for graphics, as
// config.txt asks for, it starts its small form (cd); the usual one is there
// for who changes that.
func (p *builder) addFirmware(c *bootPartition) error {
	names := []string{"bootcode.bin", "start.elf", "fixup.dat", "start_cd.elf", "fixup_cd.dat"}
	if p.options.Later { // a Pi 4's, which needs no bootcode.bin: it has its own inside
		names = append(names, "start4.elf", "fixup4.dat", "start4cd.elf", "fixup4cd.dat")
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(p.packageRoot(firmwarePackage), "usr/lib/raspi-firmware", name))
		if err != nil {
			return fmt.Errorf("the firmware: %w", err)
		}
		if err := c.addFile(name, b); err != nil {
			return err
		}
	}
	starts := slices.Clone(configTxt)
	if p.options.Later {
		starts = append(starts, laterTxt...)
	}
	if err := c.addFile("config.txt", starts); err != nil {
		return err
	}
	return c.addFile("README.txt", readmeTxt)
}

// shopFolder is where the shop's files are on the card; [shop] catalogue begins
// with it.
const shopFolder = "shop"

// addOwnerFiles adds what is the owner's: settings, and the shop's files.
func (p *builder) addOwnerFiles(c *bootPartition) error {
	settings, err := os.ReadFile(p.options.Config)
	if err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	if err := c.addFile("bramble.toml", settings); err != nil {
		return err
	}
	if p.options.Shop == "" {
		return nil
	}
	return filepath.WalkDir(p.options.Shop, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reading the shop's folder: %w", err)
		}
		if strings.HasPrefix(d.Name(), ".") && name != p.options.Shop { // what file managers and git leave
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s in the shop's folder is no plain file", name)
		}
		inside, err := filepath.Rel(p.options.Shop, name)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("reading the shop's folder: %w", err)
		}
		return c.addFile(path.Join(shopFolder, filepath.ToSlash(inside)), content)
	})
}
