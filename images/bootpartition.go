package images

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bramble/images/cardinit"
	"bramble/images/release"
)

// configTxt is the firmware's configuration.
//
//go:embed files/config.txt
var configTxt []byte

// laterTxt follows it on a card for later boards too.
//
//go:embed files/later.txt
var laterTxt []byte

// readmeTxt is for a person who looks at the card on a laptop.
//
//go:embed files/README.txt
var readmeTxt []byte

// bootPartition is the content of the boot partition, as it is collected.
type bootPartition struct {
	stage   string // a folder
	version string
	epoch   time.Time
	layout  cardLayout
	names   []string // of the files in stage, in the order of addFile
	slot    int64    // size of one slot, in bytes of whole clusters
	bytes   int64    // of all files, in whole clusters
}

// The two slots of a card for A/B updates: one runs while the other is written.
const (
	firstSlot  = "a"
	secondSlot = "b"
)

func (b *bootPartition) addFile(name string, content []byte) error {
	file := filepath.Join(b.stage, filepath.FromSlash(name))
	if err := writeFile(file, content); err != nil {
		return err
	}
	b.names = append(b.names, name)
	b.bytes += roundToClusters(int64(len(content)))
	return nil
}

// addSlot fills the first slot. The second stays empty until an update.
func (b *builder) addSlot(c *bootPartition, kernels []kernelPackage, initrd []byte) error {
	files := map[string][]byte{
		"initrd.img":  initrd,
		"cmdline.txt": []byte(kernelCmdline(firstSlot, b.options.Later)),
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
	if b.options.UpdateKey != nil {
		r, err := release.New(files)
		s := r.Statement(b.binary.released)
		signed, failed := s.Sign(b.options.UpdateKey)
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("signing the update: %w", err)
		}
		files[cardinit.SignatureFile] = []byte(signed)
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

// kernelCmdline returns the kernel parameters in a slot's cmdline.txt. Programs write to
// the last console.
func kernelCmdline(slot string, later bool) string {
	params := []string{"console=tty1", "console=ttyAMA0,115200", "panic=10", "rng_core.default_quality=1000"}
	if later {
		params = append(params, cardinit.AllCPUsParam)
	}
	return strings.Join(append(params, "bramble.slot="+slot, "bramble.watchdog=1"), " ") + "\n"
}

// firmwarePackage has the firmware, which the graphics processor runs before the kernel.
const firmwarePackage = "raspi-firmware"

// addFirmware adds the firmware's files. With as little memory for graphics as
// config.txt sets, the firmware starts its small form (cd); the usual one is there for
// a person who changes that.
func (b *builder) addFirmware(c *bootPartition) error {
	names := []string{"bootcode.bin", "start.elf", "fixup.dat", "start_cd.elf", "fixup_cd.dat"}
	if b.options.Later { // a Pi 4 has its boot loader inside and needs no bootcode.bin
		names = append(names, "start4.elf", "fixup4.dat", "start4cd.elf", "fixup4cd.dat")
	}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(b.packageRoot(allArchitectures), "usr/lib/raspi-firmware", name))
		if err != nil {
			return fmt.Errorf("the firmware: %w", err)
		}
		if err := c.addFile(name, content); err != nil {
			return err
		}
	}
	config := slices.Clone(configTxt)
	if b.options.Later {
		config = append(config, laterTxt...)
	}
	if err := c.addFile("config.txt", config); err != nil {
		return err
	}
	return c.addFile("README.txt", readmeTxt)
}

// shopFolder holds the shop's files on the card; [shop] catalogue begins with it.
const shopFolder = "shop"

// addOwnerFiles adds the owner's files: the settings and the shop.
func (b *builder) addOwnerFiles(c *bootPartition) error {
	settings, err := os.ReadFile(b.options.Config)
	if err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	if err := c.addFile("bramble.toml", settings); err != nil {
		return err
	}
	if b.options.Shop == "" {
		return nil
	}
	shop := os.DirFS(b.options.Shop)
	return fs.WalkDir(shop, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("reading the shop's folder: %w", err)
		case strings.HasPrefix(d.Name(), ".") && name != "." && d.IsDir(): // left by file managers and git
			return fs.SkipDir
		case strings.HasPrefix(d.Name(), "."), d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s in the shop's folder is not a regular file", name)
		}
		content, err := fs.ReadFile(shop, name)
		if err != nil {
			return fmt.Errorf("reading the shop's folder: %w", err)
		}
		return c.addFile(path.Join(shopFolder, name), content)
	})
}
