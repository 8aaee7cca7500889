package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A lock pins these packages, the kernels of all platforms, and the libraries of the
// file system's tools.
const fileSystemTools = "e2fsprogs"

func cardPackages() []string {
	return []string{licencesPackage, "busybox-static", "ca-certificates", fileSystemTools, firmwarePackage, "kexec-tools"}
}

// cardComponents are the components of the mirror that have them.
const cardComponents = "main non-free-firmware"

// debianKeyring holds the keys with which Debian signs its archive.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// defaultSuite is the last Debian suite whose armel packages are frozen, so that pinned
// versions stay available.
const defaultSuite = "bookworm"

// Relock resolves the packages again from a mirror's index, after checking its
// signature with Debian's keys, and writes the lock file that the options name.
func Relock(ctx context.Context, s PackageSource, progress func(line string)) error {
	if s.Lock == "" {
		return errors.New("name the file to write with --lock")
	}
	s.Suite = cmp.Or(s.Suite, defaultSuite)
	t, err := findTools(tool{aptGet, "apt"})
	if err != nil {
		return err
	}
	if _, err := os.Stat(debianKeyring); err != nil {
		return fmt.Errorf("%w: Debian's keys; run: sudo apt-get install debian-archive-keyring", ErrMissingTools)
	}
	work, err := os.MkdirTemp("", "bramble-relock-")
	if err != nil {
		return fmt.Errorf("creating a temporary folder: %w", err)
	}
	defer os.RemoveAll(work)
	mirrors, err := s.listMirrors(ctx, t)
	if err != nil {
		return err
	}
	var failed error
	for _, m := range mirrors {
		var l Lock
		if l, failed = resolveLock(ctx, t, m, s.Suite, work); failed == nil {
			progress(fmt.Sprintf("%d packages of Debian %s, index of %s", len(l.Packages), l.Suite, l.Dated.Format(time.DateOnly)))
			if err := os.WriteFile(s.Lock, []byte(l.String()), 0o644); err != nil {
				return fmt.Errorf("writing the list of packages: %w", err)
			}
			return nil
		}
	}
	return failed
}

// resolveLock makes a lock from the packages of one mirror. apt reads the mirror's index into a
// folder, and checks its signature.
func resolveLock(ctx context.Context, t toolbox, mirror, suite, folder string) (Lock, error) {
	known := map[string]packageIndex{}
	for _, pl := range allPlatforms() {
		known[pl.architecture] = packageIndex{}
	}
	sources := filepath.Join(folder, "sources.list")
	source := fmt.Sprintf("deb [arch=%s signed-by=%s] %s %s %s\n", strings.Join(slices.Sorted(maps.Keys(known)), ","), debianKeyring, mirror, suite, cardComponents)
	if err := writeFile(sources, []byte(source)); err != nil {
		return Lock{}, err
	}
	args := []string{"update", "--error-on=any"}
	for _, option := range []string{"Dir::Etc::SourceList=" + sources, "Dir::Etc::SourceParts=-", "Dir::State=" + folder, "Dir::Cache=" + folder,
		"Acquire::AllowInsecureRepositories=false", "Acquire::GzipIndexes=false", "Acquire::Languages=none", asRoot} {
		args = append(args, "-o", option)
	}
	if _, err := t.runWithEnv(ctx, append(os.Environ(), "LC_ALL=C"), aptGet, args...); err != nil {
		return Lock{}, fmt.Errorf("the index of %s: %w", suite, err)
	}
	for architecture, index := range known {
		err := readParagraphs(folder, "*_binary-"+architecture+"_Packages", func(p map[string]string) { index[p["Package"]] = p })
		if err != nil {
			return Lock{}, err
		}
	}
	date := ""
	if err := readParagraphs(folder, "*_InRelease", func(p map[string]string) { date = cmp.Or(date, p["Date"]) }); err != nil {
		return Lock{}, err
	}
	dated, err := time.Parse("Mon, 02 Jan 2006 15:04:05 MST", date)
	if err != nil {
		return Lock{}, fmt.Errorf("the index has no date: %w", err)
	}
	return choosePackages(known, suite, dated.UTC())
}

// readParagraphs reads those of apt's lists whose names match a pattern.
func readParagraphs(folder, pattern string, add func(map[string]string)) error {
	files, err := filepath.Glob(filepath.Join(folder, "lists", pattern))
	for _, file := range files {
		text, failed := os.ReadFile(file)
		for p := range parseParagraphs(string(text)) {
			add(p)
		}
		err = errors.Join(err, failed)
	}
	return err
}

// packageIndex holds the packages of one architecture: their fields, by name.
type packageIndex map[string]map[string]string

// choosePackages picks a card's packages out of the known ones, which are by
// architecture.
func choosePackages(known map[string]packageIndex, suite string, dated time.Time) (Lock, error) {
	l := Lock{Suite: suite, Dated: dated}
	for _, pl := range allPlatforms() {
		all := known[pl.architecture]
		kernel := parseDependencies(all[pl.metaPackage]["Depends"])
		if len(kernel) == 0 {
			return Lock{}, fmt.Errorf("no %s for %s in Debian %s", pl.metaPackage, pl.architecture, suite)
		}
		names := append([]string{kernel[0]}, pl.packages...)
		if pl.architecture == armv6Platform().architecture {
			names = append(append(names, cardPackages()...), parseDependencies(all[fileSystemTools]["Pre-Depends"])...)
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			p, err := all.pickPackage(name)
			if err != nil {
				return Lock{}, fmt.Errorf("in Debian %s for %s: %w", suite, pl.architecture, err)
			}
			l.Packages = append(l.Packages, p)
		}
	}
	slices.SortFunc(l.Packages, comparePackages)
	return ParseLock(l.String()) // the same rules as for a file
}

// pickPackage returns a package in the form of a lock.
func (i packageIndex) pickPackage(name string) (Package, error) {
	p := i[name]
	if p == nil {
		return Package{}, fmt.Errorf("there is no %s", name)
	}
	size, err := strconv.ParseInt(p["Size"], 10, 64)
	if err != nil {
		return Package{}, fmt.Errorf("the index has no size for %s: %w", name, err)
	}
	source, _, _ := strings.Cut(cmp.Or(p["Source"], name), " ")
	return Package{
		Name: name, Version: p["Version"], Architecture: p["Architecture"], Source: source,
		Bytes: size, SHA256: p["SHA256"], Path: p["Filename"],
	}, nil
}

// parseDependencies returns the names in a field such as "libc6 (>= 2.34), libss2 | x".
func parseDependencies(field string) []string {
	var names []string
	for one := range strings.SplitSeq(field, ",") {
		if words := strings.Fields(one); len(words) > 0 {
			names = append(names, words[0])
		}
	}
	return names
}
