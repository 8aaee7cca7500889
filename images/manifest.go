package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// manifestName is the file that lists the card's content.
const manifestName = "MANIFEST.txt"

// addManifest adds the list of packages, Go modules and files, and their licences.
func (b *builder) addManifest(ctx context.Context, c *bootPartition) error {
	modules, texts, err := b.moduleLicences(ctx)
	if err != nil {
		return err
	}
	if err := c.addFile("licences/go.txt", []byte(texts)); err != nil {
		return err
	}
	if err := b.addPackageLicences(c); err != nil {
		return err
	}
	if err := b.addCommonLicences(c); err != nil {
		return err
	}
	return c.addFile(manifestName, []byte(b.formatManifest(c, modules)))
}

func (b *builder) formatManifest(c *bootPartition, modules string) string {
	var out strings.Builder
	fmt.Fprintf(&out, `What is on this card of Bramble %s.

Debian packages (suite %s, index of %s)
name | version | architecture | source | licence | SHA-256 | path on a mirror
`, c.version, b.lock.Suite, b.lock.Dated.Format(time.DateOnly))
	for _, pkg := range b.lock.Packages {
		fmt.Fprintf(&out, "%s | %s | %s | %s | %s | %s | %s\n",
			pkg.Name, pkg.Version, pkg.Architecture, pkg.Source, licenceOfPackage(pkg.Name), pkg.SHA256, pkg.Path)
	}
	fmt.Fprintf(&out, "\nGo modules of the program (built by %s)\nmodule | version | licence | hash as in go.sum\n%s", b.binary.golang, modules)
	out.WriteString("\nFiles of the boot partition\nSHA-256 | bytes | name\n")
	for _, name := range slices.Sorted(slices.Values(c.names)) {
		content, err := os.ReadFile(filepath.Join(c.stage, filepath.FromSlash(name)))
		if err != nil {
			continue // it was written a moment ago
		}
		if name == "bramble.toml" { // a guessed key could be tried against its hash
			fmt.Fprintf(&out, "- | %d | %s\n", len(content), name)
			continue
		}
		fmt.Fprintf(&out, "%s | %d | %s\n", hashBytes(content), len(content), name)
	}
	fmt.Fprintf(&out, "\nInside initrd.img: %s | %d | bin/bramble\n", hashBytes(b.binary.content), len(b.binary.content))
	return out.String()
}
