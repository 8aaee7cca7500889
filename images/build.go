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

// Options say what goes onto the card, and where its parts come from.
type Options struct {
	Config     string // the rack's bramble.toml, checked by the caller
	Shop       string // folder of catalogue, pictures and templates; "" = none
	Out        string // the image; written beside and renamed
	Manifest   string // file for the list of what is inside; "" = on the card only
	Later      bool   // for Pi 2, 3, 4 and Zero 2 too
	Binary     string // Bramble for ARMv6; "" = built from the source in the current folder
	DHCPScript []byte // what udhcpc calls

	PackageSource
	// Progress is told one line a step, of at most 72 bytes.
	Progress func(line string)
}

// BuildResult says what was made.
type BuildResult struct {
	Bytes   int64  // of the image
	SHA256  string // of the image, hex
	Version string // of Bramble inside
}

// ErrMissingTools is what errors.Is finds when the machine lacks a program.
var ErrMissingTools = errors.New("tools are missing")

// Build makes the image. Nothing is left behind if it fails.
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
		return BuildResult{}, fmt.Errorf("making a folder to work in: %w", err)
	}
	defer os.RemoveAll(work)
	tools.epoch, tools.home = lock.Dated, work

	parts := builder{lock: lock, tools: tools, work: work, options: o}
	if err := parts.fetchPackages(ctx); err != nil {
		return BuildResult{}, err
	}
	if err := parts.loadProgram(ctx); err != nil {
		return BuildResult{}, err
	}
	card, err := parts.gatherFiles(ctx)
	if err != nil {
		return BuildResult{}, err
	}
	return card.writeImage(ctx, tools, o)
}

// builder are what a card is made of, as they are gathered.
type builder struct {
	lock    Lock
	tools   toolbox
	work    string // a folder of its own
	options Options
	roots   map[string]string // unpacked packages: a folder each, by rootOf
	binary  goProgram
}

// fetchPackages has every package of the lock that this card needs at hand, unpacked.
func (p *builder) fetchPackages(ctx context.Context) error {
	store, err := p.options.openStore()
	if err != nil {
		return err
	}
	p.roots = map[string]string{}
	p.lock.Packages = slices.DeleteFunc(p.lock.Packages, func(pkg Package) bool {
		return pkg.Architecture != allArchitectures &&
			!slices.ContainsFunc(p.options.platforms(), func(g platform) bool { return g.architecture == pkg.Architecture })
	})
	for i, pkg := range p.lock.Packages {
		file, fresh, err := store.get(ctx, p.tools, pkg)
		if err != nil {
			return err
		}
		from := "at hand"
		if fresh {
			from = "downloaded"
		}
		p.options.progressf("package %2d of %d, %s: %s", i+1, len(p.lock.Packages), from, pkg.Name)
		root := filepath.Join(p.work, "packages", rootName(pkg.Name, pkg.Architecture))
		if err := os.MkdirAll(root, 0o755); err != nil {
			return fmt.Errorf("making a folder for %s: %w", pkg.Name, err)
		}
		if _, err := p.tools.run(ctx, "dpkg-deb", "--extract", file, root); err != nil {
			return fmt.Errorf("unpacking %s: %w", pkg.Name, err)
		}
		p.roots[rootName(pkg.Name, pkg.Architecture)] = root
	}
	return nil
}

// allArchitectures is what a package says that is for any machine.
const allArchitectures = "all"

// rootName names the folder of an unpacked package.
func rootName(name, architecture string) string { return name + "_" + architecture }

// packageRoot is the folder of a package that all cards have.
func (p *builder) packageRoot(name string) string {
	if root, found := p.roots[rootName(name, allArchitectures)]; found {
		return root
	}
	return p.roots[rootName(name, armv6Platform().architecture)]
}

func (o Options) progressf(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// gatherFiles gathers the files of the boot partition.
func (p *builder) gatherFiles(ctx context.Context) (bootPartition, error) {
	c := bootPartition{stage: filepath.Join(p.work, "boot"), version: p.binary.version, epoch: p.lock.Dated, layout: p.options.cardLayout()}
	var kernels []kernelPackage
	for _, g := range p.options.platforms() {
		k, err := p.findKernel(g)
		if err != nil {
			return bootPartition{}, err
		}
		p.options.progressf("start-up file system, with %d modules of Linux %s", len(k.modules), k.version)
		kernels = append(kernels, k)
	}
	initrd, err := p.makeInitrd(ctx, kernels)
	if err != nil {
		return bootPartition{}, err
	}
	if err := p.addSlot(&c, kernels, initrd); err != nil {
		return bootPartition{}, err
	}
	if err := p.addFirmware(&c); err != nil {
		return bootPartition{}, err
	}
	if err := p.addOwnerFiles(&c); err != nil {
		return bootPartition{}, err
	}
	if err := p.addLicences(ctx, &c); err != nil {
		return bootPartition{}, err
	}
	return c, nil
}

// formatDay is how dates are shown in lists: no reader needs the hour.
func formatDay(t time.Time) string { return t.UTC().Format(time.DateOnly) }
