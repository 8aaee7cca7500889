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

// card is what the boot partition will hold.
type card struct {
	stage   string // a folder
	version string
	epoch   time.Time
	layout  layout
	names   []string // of the files in stage, in the order in which they were added
	slot    int64    // bytes of one slot
	bytes   int64    // of all files, in whole clusters
}

// The two halves of a card: one is running while the other is written.
const (
	firstSlot  = "a"
	secondSlot = "b"
)

// add puts a file into the boot partition.
func (c *card) add(name string, content []byte) error {
	file := filepath.Join(c.stage, filepath.FromSlash(name))
	if err := writeFile(file, content); err != nil {
		return err
	}
	// Permissions decide over FAT's read-only mark; the umask must not.
	if err := os.Chmod(file, 0o644); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	c.names = append(c.names, name)
	c.bytes += clusters(int64(len(content)))
	return nil
}

// slot fills the first slot. The second is a folder only, for an update.
func (p *parts) slot(c *card, kernels []kernel, initrd []byte) error {
	files := map[string][]byte{
		"initrd.img":  initrd,
		"cmdline.txt": []byte(commandLine(firstSlot, p.options.Later)),
		"slot.txt":    []byte(c.version + "\n"),
	}
	for _, k := range kernels {
		from, err := k.descriptions()
		if err != nil {
			return err
		}
		from[k.file] = filepath.Join(k.root, "boot/vmlinuz-"+k.version)
		for name, file := range from {
			if files[name], err = os.ReadFile(file); err != nil {
				return fmt.Errorf("the kernel: %w", err)
			}
		}
		if k.packed {
			if files[k.file], err = pack(files[k.file]); err != nil {
				return fmt.Errorf("packing the kernel: %w", err)
			}
		}
	}
	before := c.bytes
	for name, content := range files {
		if err := c.add(path.Join(firstSlot, name), content); err != nil {
			return err
		}
	}
	c.slot = c.bytes - before
	return nil
}

// commandLine is what the kernel is told by the firmware. The last console is
// the one that programs write to.
func commandLine(slot string, later bool) string {
	words := []string{"console=tty1", "console=ttyAMA0,115200", "panic=10", "rng_core.default_quality=1000"}
	if later {
		words = append(words, processors)
	}
	return strings.Join(append(words, "bramble.slot="+slot, "bramble.watchdog=1"), " ") + "\n"
}

// processors is a word that says nothing to the kernels of later boards, which have
// four, nor to a first board's, which asks for none: aboard has its last digit be 1
// for the trial of an update.
const processors = "nr_cpus=04"

// firmwarePackage has what the graphics processor runs before there is a kernel.
const firmwarePackage = "raspi-firmware"

// firmware adds the firmware's files. With little memory for graphics, as
// config.txt asks for, it starts its small form (cd); the usual one is there
// for who changes that.
func (p *parts) firmware(c *card) error {
	names := []string{"bootcode.bin", "start.elf", "fixup.dat", "start_cd.elf", "fixup_cd.dat"}
	if p.options.Later { // a Pi 4's, which needs no bootcode.bin: it has its own inside
		names = append(names, "start4.elf", "fixup4.dat", "start4cd.elf", "fixup4cd.dat")
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(p.root(firmwarePackage), "usr/lib/raspi-firmware", name))
		if err != nil {
			return fmt.Errorf("the firmware: %w", err)
		}
		if err := c.add(name, b); err != nil {
			return err
		}
	}
	starts := slices.Clone(configTxt)
	if p.options.Later {
		starts = append(starts, laterTxt...)
	}
	if err := c.add("config.txt", starts); err != nil {
		return err
	}
	return c.add("README.txt", readmeTxt)
}

// shopFolder is where the shop's files are on the card; [shop] catalogue begins
// with it.
const shopFolder = "shop"

// owner adds what is the owner's: settings, and the shop's files.
func (p *parts) owner(c *card) error {
	settings, err := os.ReadFile(p.options.Config)
	if err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	if err := c.add("bramble.toml", settings); err != nil {
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
		return c.add(path.Join(shopFolder, filepath.ToSlash(inside)), content)
	})
}
