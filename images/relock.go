package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// cardComponents returns the components of the mirror that have them.
func cardComponents() []string { return []string{"main", "non-free-firmware"} }

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
	t, err := findTools(relockTools()...)
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
			progress(fmt.Sprintf("%d packages of Debian %s, index of %s", len(l.Packages), l.Suite, formatDay(l.Dated)))
			if err := os.WriteFile(s.Lock, []byte(l.String()), 0o644); err != nil {
				return fmt.Errorf("writing the list of packages: %w", err)
			}
			return nil
		}
	}
	return failed
}

// resolveLock makes a lock from the packages of one mirror.
func resolveLock(ctx context.Context, t toolbox, mirror, suite, work string) (Lock, error) {
	signed := filepath.Join(work, "InRelease")
	if err := downloadFile(ctx, t, mirror+"/dists/"+suite+"/InRelease", signed, ""); err != nil {
		return Lock{}, fmt.Errorf("the index of %s: %w", suite, err)
	}
	text, err := t.run(ctx, "gpgv", "--quiet", "--keyring", debianKeyring, "--output", "-", signed)
	if err != nil {
		return Lock{}, fmt.Errorf("the index of %s is not signed by Debian: %w", suite, err)
	}
	release, err := parseRelease(string(text))
	if err != nil {
		return Lock{}, err
	}
	lists := suiteIndex{mirror + "/dists/" + suite, release, work}
	known := map[string]packageIndex{}
	for _, pl := range allPlatforms() {
		known[pl.architecture] = packageIndex{}
		components := cardComponents()
		if pl.architecture != armv6Platform().architecture {
			components = components[:1] // one package of firmware serves all of them
		}
		for _, component := range components {
			if err := lists.readList(ctx, t, component, pl.architecture, known[pl.architecture]); err != nil {
				return Lock{}, err
			}
		}
	}
	return choosePackages(known, suite, release.dated)
}

// packageIndex holds the packages of one architecture: their fields, by name.
type packageIndex map[string]map[string]string

// suiteIndex is the signed index of a suite on a mirror.
type suiteIndex struct {
	url     string
	release debianRelease
	work    string // folder for its lists
}

// readList adds the packages of one component for an architecture to into.
func (s suiteIndex) readList(ctx context.Context, t toolbox, component, architecture string, into packageIndex) error {
	name := component + "/binary-" + architecture + "/Packages.xz"
	sum := s.release.sums[name]
	if sum == "" {
		return fmt.Errorf("no %s for %s in %s", component, architecture, s.url)
	}
	file := filepath.Join(s.work, component+"-"+architecture+".xz")
	if err := downloadFile(ctx, t, s.url+"/"+name, file, sum); err != nil {
		return fmt.Errorf("the list of %s for %s: %w", component, architecture, err)
	}
	list, err := t.run(ctx, "xz", "--decompress", "--stdout", file)
	if err != nil {
		return fmt.Errorf("the list of %s for %s: %w", component, architecture, err)
	}
	for p := range parseParagraphs(string(list)) {
		into[p["Package"]] = p
	}
	return nil
}

// debianRelease is the content of a mirror's signed index.
type debianRelease struct {
	dated time.Time
	sums  map[string]string // SHA-256 by the name of the list
}

func parseRelease(text string) (debianRelease, error) {
	for p := range parseParagraphs(text) {
		dated, err := time.Parse("Mon, 02 Jan 2006 15:04:05 MST", p["Date"])
		if err != nil {
			return debianRelease{}, fmt.Errorf("the index has no date: %w", err)
		}
		r := debianRelease{dated.UTC(), map[string]string{}}
		for line := range strings.Lines(p["SHA256"]) {
			if words := strings.Fields(line); len(words) == 3 && matchesPattern("[0-9a-f]{64}", words[0]) {
				r.sums[words[2]] = words[0]
			}
		}
		return r, nil
	}
	return debianRelease{}, errors.New("the index is empty")
}

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
