package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

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
	binary  goProgram
}

func (b *builder) gatherFiles(ctx context.Context) (bootPartition, error) {
	c := bootPartition{stage: filepath.Join(b.work, "boot"), version: b.binary.version, epoch: b.lock.Dated, layout: b.options.cardLayout()}
	var kernels []kernelPackage
	for _, p := range b.options.platforms() {
		k, err := b.findKernel(p)
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
