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
	store, err := b.options.openStore()
	if err != nil {
		return err
	}
	b.roots = map[string]string{}
	b.lock.Packages = slices.DeleteFunc(b.lock.Packages, func(pkg Package) bool {
		return pkg.Architecture != allArchitectures &&
			!slices.ContainsFunc(b.options.platforms(), func(pl platform) bool { return pl.architecture == pkg.Architecture })
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

func rootName(name, architecture string) string { return name + "_" + architecture }

// packageRoot returns the folder of a package that all cards have.
func (b *builder) packageRoot(name string) string {
	if root, found := b.roots[rootName(name, allArchitectures)]; found {
		return root
	}
	return b.roots[rootName(name, armv6Platform().architecture)]
}
