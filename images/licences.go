package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
)

// addPackageLicences adds the copyright file of each Debian package.
func (b *builder) addPackageLicences(c *bootPartition) error {
	added := map[string]string{} // text by package name
	for _, pkg := range b.lock.Packages {
		content, err := os.ReadFile(filepath.Join(b.packageRoot(pkg.Architecture), "usr/share/doc", pkg.Name, "copyright"))
		if err != nil {
			return fmt.Errorf("the licence of %s: %w", pkg.Name, err)
		}
		name, text := "licences/"+pkg.Name+".txt", string(content)
		switch other, found := added[pkg.Name]; { // for another architecture, mostly with the same text
		case found && other == text:
			continue
		case found:
			name = "licences/" + pkg.Name + "_" + pkg.Architecture + ".txt"
		default:
			added[pkg.Name] = text
		}
		if err := c.addFile(name, content); err != nil {
			return err
		}
	}
	return nil
}

// licencesPackage contains the texts that other packages' licences refer to.
const licencesPackage = "base-files"

// addCommonLicences adds those texts.
func (b *builder) addCommonLicences(c *bootPartition) error {
	folder := filepath.Join(b.packageRoot(armv6Platform().architecture), "usr/share/common-licenses")
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

// licenceOfPackage returns a package's licences in SPDX form, as its copyright file has
// them. The full text is on the card.
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

// moduleLicences returns a line per Go module, and the texts of their licences, from the
// module cache. The text of a module that is not in the cache is empty.
func (b *builder) moduleLicences(ctx context.Context) (lines, texts string, err error) {
	var l, full strings.Builder
	cache, root := "", ""
	if b.tools.at["go"] != "" {
		out, err := b.tools.runWithEnv(ctx, os.Environ(), "go", "env", "GOMODCACHE", "GOROOT")
		if err != nil {
			return "", "", fmt.Errorf("finding Go's folders: %w", err)
		}
		cache, root, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	}
	golang := &debug.Module{Path: "std", Version: b.binary.golang, Sum: "-"}
	for _, m := range append([]*debug.Module{golang}, b.binary.modules...) {
		folder := filepath.Join(cache, escapePath(m.Path)+"@"+escapePath(m.Version))
		if m == golang {
			folder = root
		}
		text := licenceText(folder)
		fmt.Fprintf(&l, "%s | %s | %s | %s\n", m.Path, m.Version, licenceOfText(text), m.Sum)
		fmt.Fprintf(&full, "=== %s %s\n\n%s\n\n", m.Path, m.Version, strings.TrimSpace(text))
	}
	return l.String(), full.String(), nil
}

// escapePath escapes capital letters like the module cache: "!" and the small letter.
func escapePath(p string) string {
	return regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(p, func(s string) string { return "!" + strings.ToLower(s) })
}

// licenceText returns the text of a module's licence, "" if it is not found.
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

// licenceOfText returns a licence in SPDX form, by a phrase that only it has.
func licenceOfText(text string) string {
	words := strings.Join(strings.Fields(text), " ")
	for _, l := range []struct{ phrase, licence string }{
		{"Mozilla Public License Version 2.0", "MPL-2.0"},
		{"Mozilla Public License, version 2.0", "MPL-2.0"},
		{"Apache License Version 2.0", "Apache-2.0"},
		{"Neither the name", "BSD-3-Clause"},
		{"Redistributions in binary form", "BSD-2-Clause"},
		{"Permission is hereby granted, free of charge", "MIT"},
		{"Permission to use, copy, modify, and/or distribute", "ISC"},
	} {
		if strings.Contains(words, l.phrase) {
			return l.licence
		}
	}
	return "see its source"
}
