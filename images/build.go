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

	Source
	// Progress is told one line a step, of at most 72 bytes.
	Progress func(line string)
}

// Report says what was made.
type Report struct {
	Bytes   int64  // of the image
	SHA256  string // of the image, hex
	Version string // of Bramble inside
}

// ErrMissingTools is what errors.Is finds when the machine lacks a program.
var ErrMissingTools = errors.New("tools are missing")

// Build makes the image. Nothing is left behind if it fails.
func Build(ctx context.Context, o Options) (Report, error) {
	tools, err := findTools(buildTools(o)...)
	if err != nil {
		return Report{}, err
	}
	lock, err := o.readLock()
	if err != nil {
		return Report{}, err
	}
	work, err := os.MkdirTemp("", "bramble-image-")
	if err != nil {
		return Report{}, fmt.Errorf("making a folder to work in: %w", err)
	}
	defer os.RemoveAll(work)
	tools.epoch, tools.home = lock.Dated, work

	parts := parts{lock: lock, tools: tools, work: work, options: o}
	if err := parts.fetch(ctx); err != nil {
		return Report{}, err
	}
	if err := parts.bramble(ctx); err != nil {
		return Report{}, err
	}
	card, err := parts.card(ctx)
	if err != nil {
		return Report{}, err
	}
	return card.write(ctx, tools, o)
}

// parts are what a card is made of, as they are gathered.
type parts struct {
	lock    Lock
	tools   tools
	work    string // a folder of its own
	options Options
	roots   map[string]string // unpacked packages: a folder each, by rootOf
	binary  program
}

// fetch has every package of the lock that this card needs at hand, unpacked.
func (p *parts) fetch(ctx context.Context) error {
	store, err := p.options.store()
	if err != nil {
		return err
	}
	p.roots = map[string]string{}
	p.lock.Packages = slices.DeleteFunc(p.lock.Packages, func(pkg Package) bool {
		return pkg.Architecture != allArchitectures &&
			!slices.ContainsFunc(p.options.generations(), func(g generation) bool { return g.architecture == pkg.Architecture })
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
		p.options.say("package %2d of %d, %s: %s", i+1, len(p.lock.Packages), from, pkg.Name)
		root := filepath.Join(p.work, "packages", rootOf(pkg.Name, pkg.Architecture))
		if err := os.MkdirAll(root, 0o755); err != nil {
			return fmt.Errorf("making a folder for %s: %w", pkg.Name, err)
		}
		if _, err := p.tools.run(ctx, "dpkg-deb", "--extract", file, root); err != nil {
			return fmt.Errorf("unpacking %s: %w", pkg.Name, err)
		}
		p.roots[rootOf(pkg.Name, pkg.Architecture)] = root
	}
	return nil
}

// allArchitectures is what a package says that is for any machine.
const allArchitectures = "all"

// rootOf names the folder of an unpacked package.
func rootOf(name, architecture string) string { return name + "_" + architecture }

// root is the folder of a package that all cards have.
func (p *parts) root(name string) string {
	if root, found := p.roots[rootOf(name, allArchitectures)]; found {
		return root
	}
	return p.roots[rootOf(name, firstBoards().architecture)]
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// card gathers the files of the boot partition.
func (p *parts) card(ctx context.Context) (card, error) {
	c := card{stage: filepath.Join(p.work, "boot"), version: p.binary.version, epoch: p.lock.Dated, layout: p.options.layout()}
	var kernels []kernel
	for _, g := range p.options.generations() {
		k, err := p.kernel(g)
		if err != nil {
			return card{}, err
		}
		p.options.say("start-up file system, with %d modules of Linux %s", len(k.modules), k.version)
		kernels = append(kernels, k)
	}
	initrd, err := p.initrd(ctx, kernels)
	if err != nil {
		return card{}, err
	}
	if err := p.slot(&c, kernels, initrd); err != nil {
		return card{}, err
	}
	if err := p.firmware(&c); err != nil {
		return card{}, err
	}
	if err := p.owner(&c); err != nil {
		return card{}, err
	}
	if err := p.papers(ctx, &c); err != nil {
		return card{}, err
	}
	return c, nil
}

// day is how dates are shown in lists: no reader needs the hour.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
