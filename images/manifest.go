package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"
)

// manifestName is the list of what is on the card.
const manifestName = "MANIFEST.txt"

// addLicences adds the list of what is on the card, and the licences that must go
// with it.
func (p *builder) addLicences(ctx context.Context, c *bootPartition) error {
	modules, texts, err := p.moduleLicences(ctx)
	if err != nil {
		return err
	}
	if err := c.addFile("licences/go.txt", []byte(texts)); err != nil {
		return err
	}
	have := map[string]string{}
	for _, pkg := range p.lock.Packages {
		text, err := os.ReadFile(filepath.Join(p.roots[rootName(pkg.Name, pkg.Architecture)], "usr/share/doc", pkg.Name, "copyright"))
		if err != nil {
			return fmt.Errorf("the licence of %s: %w", pkg.Name, err)
		}
		name := "licences/" + pkg.Name + ".txt"
		switch other, found := have[name]; { // for another architecture, of one source mostly
		case found && other == string(text):
			continue
		case found:
			name = "licences/" + rootName(pkg.Name, pkg.Architecture) + ".txt"
		}
		have[name] = string(text)
		if err := c.addFile(name, text); err != nil {
			return err
		}
	}
	if err := p.commonLicences(c); err != nil {
		return err
	}
	return c.addFile(manifestName, []byte(p.formatManifest(c, modules)))
}

// licencesPackage has the texts that other packages' licences refer to.
const licencesPackage = "base-files"

// commonLicences adds those texts.
func (p *builder) commonLicences(c *bootPartition) error {
	folder := filepath.Join(p.packageRoot(licencesPackage), "usr/share/common-licenses")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("the common licences: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() { // a link names the newest version
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return fmt.Errorf("the common licences: %w", err)
		}
		if err := c.addFile("licences/common/"+e.Name()+".txt", text); err != nil {
			return err
		}
	}
	return nil
}

// formatManifest lists packages, Go modules and files.
func (p *builder) formatManifest(c *bootPartition, modules string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `What is on this card of Bramble %s.

Debian packages (suite %s, index of %s)
name | version | architecture | source | licence | SHA-256 | path on a mirror
`, c.version, p.lock.Suite, formatDay(p.lock.Dated))
	for _, pkg := range p.lock.Packages {
		fmt.Fprintf(&b, "%s | %s | %s | %s | %s | %s | %s\n",
			pkg.Name, pkg.Version, pkg.Architecture, pkg.Source, licenceOfPackage(pkg.Name), pkg.SHA256, pkg.Path)
	}
	fmt.Fprintf(&b, "\nGo modules of the program (built by %s)\nmodule | version | licence | hash as in go.sum\n%s", p.binary.golang, modules)
	b.WriteString("\nFiles of the boot partition\nSHA-256 | bytes | name\n")
	names := slices.Clone(c.names)
	slices.Sort(names)
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(c.stage, filepath.FromSlash(name)))
		if err != nil {
			continue // it was written a moment ago
		}
		if name == "bramble.toml" { // its hash would let a guessed key be tried
			fmt.Fprintf(&b, "- | %d | %s\n", len(content), name)
			continue
		}
		fmt.Fprintf(&b, "%s | %d | %s\n", hashBytes(content), len(content), name)
	}
	fmt.Fprintf(&b, "\nInside initrd.img: %s | %d | bin/bramble\n", hashBytes(p.binary.content), len(p.binary.content))
	return b.String()
}

// licenceOfPackage names a package's licences as SPDX does; the full text is on
// the card. Read from the packages' own copyright files.
func licenceOfPackage(name string) string {
	for _, l := range []struct{ prefix, licence string }{
		{kernelPrefix, "GPL-2.0-only WITH Linux-syscall-note"},
		{firmwarePackage, "LicenseRef-Broadcom-RaspberryPi"},
		{licencesPackage, "GPL-2.0-or-later"},
		{"busybox", "GPL-2.0-only"},
		{"ca-certificates", "MPL-2.0 AND GPL-2.0-or-later"},
		{"e2fsprogs", "GPL-2.0-only AND LGPL-2.0-only"},
		{"kexec-tools", "GPL-2.0-only"},
		{"libext2fs", "LGPL-2.0-only"},
		{"libcom-err", "MIT"},
		{"libss", "MIT"},
		{"libblkid", "LGPL-2.1-or-later"},
		{"libuuid", "BSD-3-Clause"},
		{"libc6", "LGPL-2.1-or-later"},
		{"libxen", "GPL-2.0-only AND LGPL-2.1-only"},
		{"zlib1g", "Zlib"},
	} {
		if strings.HasPrefix(name, l.prefix) {
			return l.licence
		}
	}
	return "see licences/" + name + ".txt"
}

// moduleLicences is a line for each Go module, and their licences' texts, out
// of the module cache. A module that is not in it is said to be missing.
func (p *builder) moduleLicences(ctx context.Context) (lines, texts string, err error) {
	var l, full strings.Builder
	cache, root := "", ""
	if p.tools.at["go"] != "" {
		out, err := p.tools.runWithEnv(ctx, os.Environ(), "go", "env", "GOMODCACHE", "GOROOT")
		if err != nil {
			return "", "", fmt.Errorf("asking for Go's folders: %w", err)
		}
		cache, root, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	}
	folders := map[string]string{}
	for _, m := range p.binary.modules[1:] {
		folders[m.Path] = filepath.Join(cache, escapePath(m.Path)+"@"+escapePath(m.Version))
	}
	golang := &debug.Module{Path: "std", Version: p.binary.golang, Sum: "-"}
	folders[golang.Path] = root
	for _, m := range append([]*debug.Module{golang}, p.binary.modules[1:]...) {
		text := licenceText(folders[m.Path])
		fmt.Fprintf(&l, "%s | %s | %s | %s\n", m.Path, m.Version, licenceOfText(text), m.Sum)
		fmt.Fprintf(&full, "=== %s %s\n\n%s\n\n", m.Path, m.Version, strings.TrimSpace(text))
	}
	return l.String(), full.String(), nil
}

// escapePath writes capitals as the module cache does: "!" and the small letter.
func escapePath(p string) string {
	var b strings.Builder
	for _, r := range p {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// licenceText is the text of a module's licence, "" if there is none at hand.
func licenceText(folder string) string {
	if folder == "" {
		return ""
	}
	for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING", "License"} {
		if b, err := os.ReadFile(filepath.Join(folder, name)); err == nil {
			return string(b)
		}
	}
	return ""
}

// licenceOfText names a licence by what only it says, as SPDX does.
func licenceOfText(text string) string {
	words := strings.Join(strings.Fields(text), " ")
	for _, l := range []struct{ says, licence string }{
		{"Mozilla Public License Version 2.0", "MPL-2.0"},
		{"Mozilla Public License, version 2.0", "MPL-2.0"},
		{"Apache License Version 2.0", "Apache-2.0"},
		{"Neither the name", "BSD-3-Clause"},
		{"Redistributions in binary form", "BSD-2-Clause"},
		{"Permission is hereby granted, free of charge", "MIT"},
		{"Permission to use, copy, modify, and/or distribute", "ISC"},
	} {
		if strings.Contains(words, l.says) {
			return l.licence
		}
	}
	return "see its source"
}
