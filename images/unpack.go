package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// fetchPackages downloads and unpacks every package of the lock that this card needs.
func (b *builder) fetchPackages(ctx context.Context) error {
	store, err := b.options.withCache()
	if err != nil {
		return err
	}
	b.lock.Packages = slices.DeleteFunc(b.lock.Packages, func(pkg Package) bool {
		return pkg.Architecture != allArchitectures &&
			!slices.ContainsFunc(b.options.platforms(), func(pl platform) bool { return pl.architecture == pkg.Architecture })
	})
	for i, pkg := range b.lock.Packages {
		file, fresh, err := store.getPackage(ctx, b.tools, pkg)
		if err != nil {
			return err
		}
		from := "at hand"
		if fresh {
			from = "downloaded"
		}
		b.options.progressf("package %2d of %d, %s: %s", i+1, len(b.lock.Packages), from, pkg.Name)
		root := b.packageRoot(pkg.Architecture)
		if err := os.MkdirAll(root, 0o755); err != nil {
			return fmt.Errorf("creating a folder for %s: %w", pkg.Name, err)
		}
		if _, err := b.tools.run(ctx, "dpkg-deb", "--extract", file, root); err != nil {
			return fmt.Errorf("unpacking %s: %w", pkg.Name, err)
		}
	}
	return nil
}

// allArchitectures is the architecture of a package that suits any machine.
const allArchitectures = "all"

// packageRoot returns the folder with the unpacked packages of an architecture. Packages that
// suit any machine are with those of the first boards, which all cards have.
func (b *builder) packageRoot(architecture string) string {
	if architecture == allArchitectures {
		architecture = armv6Platform().architecture
	}
	return filepath.Join(b.work, "packages", architecture)
}
