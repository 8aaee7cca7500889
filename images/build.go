package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Options specify what goes onto the card, and where its parts come from.
type Options struct {
	Config     string // the rack's bramble.toml, checked by the caller
	Shop       string // folder of catalogue, pictures and templates; "" = none
	Out        string // the image; it is written beside this name and renamed
	Manifest   string // file for the list of what is inside; "" = on the card only
	Later      bool   // for Pi 2, 3, 4 and Zero 2 too
	Binary     string // Bramble for ARMv6; "" = built from the source in the current folder
	DHCPScript []byte // the script that udhcpc calls

	PackageSource
	// Progress receives one line per step, of at most 72 bytes. nil: nobody reads them.
	Progress func(line string)
}

// BuildResult describes the image.
type BuildResult struct {
	Bytes   int64
	SHA256  string // hex
	Version string // of Bramble inside
}

// ErrMissingTools matches the error of a machine that lacks a program.
var ErrMissingTools = errors.New("tools are missing")

// Build builds the image. It leaves nothing behind if it fails.
func Build(ctx context.Context, o Options) (BuildResult, error) {
	tools, err := findTools(buildTools(o)...)
	if err != nil {
		return BuildResult{}, err
	}
	lock, err := o.readLock()
	if err != nil {
		return BuildResult{}, err
	}
	work, err := os.MkdirTemp("", "bramble-image-")
	if err != nil {
		return BuildResult{}, fmt.Errorf("creating a temporary folder: %w", err)
	}
	defer os.RemoveAll(work)
	tools.epoch, tools.home = lock.Dated, work

	b := builder{lock: lock, tools: tools, work: work, options: o}
	if err := b.fetchPackages(ctx); err != nil {
		return BuildResult{}, err
	}
	if err := b.loadProgram(ctx); err != nil {
		return BuildResult{}, err
	}
	boot, err := b.gatherFiles(ctx)
	if err != nil {
		return BuildResult{}, err
	}
	return boot.writeImage(ctx, tools, o)
}

// builder gathers the parts of a card.
type builder struct {
	lock    Lock
	tools   toolbox
	work    string // a temporary folder
	options Options
	roots   map[string]string // the folders of the unpacked packages, by rootName
	binary  goProgram
}

// fetchPackages downloads and unpacks every package of the lock that this card needs.
func (b *builder) fetchPackages(ctx context.Context) error {
	store, err := b.options.openStore()
	if err != nil {
		return err
	}
	b.roots = map[string]string{}
	b.lock.Packages = slices.DeleteFunc(b.lock.Packages, func(pkg Package) bool {
		return pkg.Architecture != allArchitectures &&
			!slices.ContainsFunc(b.options.platforms(), func(g platform) bool { return g.architecture == pkg.Architecture })
	})
	for i, pkg := range b.lock.Packages {
		file, fresh, err := store.get(ctx, b.tools, pkg)
		if err != nil {
			return err
		}
		from := "at hand"
		if fresh {
			from = "downloaded"
		}
		b.options.progressf("package %2d of %d, %s: %s", i+1, len(b.lock.Packages), from, pkg.Name)
		root := filepath.Join(b.work, "packages", rootName(pkg.Name, pkg.Architecture))
		if err := os.MkdirAll(root, 0o755); err != nil {
			return fmt.Errorf("creating a folder for %s: %w", pkg.Name, err)
		}
		if _, err := b.tools.run(ctx, "dpkg-deb", "--extract", file, root); err != nil {
			return fmt.Errorf("unpacking %s: %w", pkg.Name, err)
		}
		b.roots[rootName(pkg.Name, pkg.Architecture)] = root
	}
	return nil
}

// allArchitectures is the architecture of a package that suits any machine.
const allArchitectures = "all"

// rootName returns the name of an unpacked package's folder.
func rootName(name, architecture string) string { return name + "_" + architecture }

// packageRoot returns the folder of a package that all cards have.
func (b *builder) packageRoot(name string) string {
	if root, found := b.roots[rootName(name, allArchitectures)]; found {
		return root
	}
	return b.roots[rootName(name, armv6Platform().architecture)]
}

func (o Options) progressf(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// gatherFiles collects the files of the boot partition.
func (b *builder) gatherFiles(ctx context.Context) (bootPartition, error) {
	c := bootPartition{stage: filepath.Join(b.work, "boot"), version: b.binary.version, epoch: b.lock.Dated, layout: b.options.cardLayout()}
	var kernels []kernelPackage
	for _, g := range b.options.platforms() {
		k, err := b.findKernel(g)
		if err != nil {
			return bootPartition{}, err
		}
		b.options.progressf("start-up file system, with %d modules of Linux %s", len(k.modules), k.version)
		kernels = append(kernels, k)
	}
	initrd, err := b.makeInitrd(ctx, kernels)
	if err != nil {
		return bootPartition{}, err
	}
	if err := b.addSlot(&c, kernels, initrd); err != nil {
		return bootPartition{}, err
	}
	if err := b.addFirmware(&c); err != nil {
		return bootPartition{}, err
	}
	if err := b.addOwnerFiles(&c); err != nil {
		return bootPartition{}, err
	}
	if err := b.addManifest(ctx, &c); err != nil {
		return bootPartition{}, err
	}
	return c, nil
}

// formatDay formats a date for a list, where no reader needs the hour.
func formatDay(t time.Time) string { return t.UTC().Format(time.DateOnly) }
